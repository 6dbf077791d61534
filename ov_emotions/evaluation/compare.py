"""Two models on the same rows: which is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ov_emotions.errors import DataError
from ov_emotions.evaluation.run import BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED, Scored
from ov_emotions.metrics import paired_comparison


def compare_scored(
    reference: Sequence[Scored],
    other: Sequence[Scored],
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> dict[str, dict[str, Any]]:
    """Compare decisions by the paired bootstrap, split by split.

    :param reference: what is compared with.
    :param other: on the same splits.
    :param samples: resamples with replacement.
    :param seed: of the resampling.
    :return: by split what `metrics.paired_comparison` gives.
    :raises DataError: if the splits, their rows or labels differ.
    """
    answer = {}
    if [a.name for a in reference] != [b.name for b in other]:
        raise DataError("the two models were scored on different splits")
    for a, b in zip(reference, other, strict=True):
        same = a.data.texts == b.data.texts and np.array_equal(a.data.targets, b.data.targets)
        if not same or a.data.label_set.labels != b.data.label_set.labels:
            raise DataError(f"the two models were scored on different rows of {a.name}")
        answer[a.name] = paired_comparison(
            a.data.targets,
            a.predicted,
            b.predicted,
            a.data.label_set.labels,
            samples=samples,
            seed=seed,
        )
    return answer
