"""Scores that no row of validation had a part in, and what a change makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.metrics import score
from ov_emotions.thresholds import Fit, cross_fit, fit_thresholds

SEED = 20261122
METRICS = ("weighted_f1", "macro_f1")


def cross_fitted(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int8],
    labels: Sequence[str],
    fit: Fit = fit_thresholds,
) -> dict[str, float]:
    """Score all rows, each at thresholds that were fitted on the other folds.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape.
    :param labels: names of the columns.
    :param fit: fits thresholds.
    :return: weighted and macro F1.
    """
    predicted = cross_fit(probabilities, targets, fit, SEED)
    scores = score(targets, predicted, labels)
    return {"weighted_f1": scores.weighted_f1, "macro_f1": scores.macro_f1}


def summarize(runs: Sequence[dict[str, float]], base: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Put the runs of one row together.

    :param runs: scores and minutes of each seed.
    :param base: the base's, of the same seeds in the same order.
    :return: per metric the mean, the standard deviation over seeds, and the difference to the base
        paired by seed as mean, smallest and largest; and the mean minutes.
    """
    answer: dict[str, Any] = {}
    for name in METRICS:
        ours, theirs = (np.array([run[name] for run in taken]) for taken in (runs, base))
        difference = ours - theirs
        answer[name] = {
            "mean": round(float(ours.mean()), 5),
            "sd": round(float(ours.std(ddof=1)), 5) if len(ours) > 1 else None,
            "difference": {
                "mean": round(float(difference.mean()), 5),
                "min": round(float(difference.min()), 5),
                "max": round(float(difference.max()), 5),
            },
        }
    answer["minutes"] = round(float(np.mean([run["minutes"] for run in runs])), 2)
    return answer
