"""A candidate's answers beside the reference's: scores, differences, flips, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.evaluation.results import Interval
from ov_emotions.metrics import (
    LabelF1,
    bootstrap_intervals,
    expected_calibration_error,
    label_intervals,
    paired_differences,
    score,
)
from ov_emotions.quantization.study_schema import Change, Difference, Intervals, Quality, Scoring

_CHANGES = 10


@dataclass(frozen=True)
class Answers:
    """What a candidate says about a split.

    :param probabilities: float32, shape (rows, labels).
    :param frozen: bool, same shape: decisions at the reference's thresholds.
    :param refitted: bool, same shape: at thresholds fitted on its own probabilities of other rows.
    """

    probabilities: NDArray[np.float32]
    frozen: NDArray[np.bool_]
    refitted: NDArray[np.bool_]


def compare(
    data: LabelledTexts,
    ours: Answers,
    reference: Answers,
    *,
    samples: int,
    seed: int,
    folds: int = 0,
) -> Quality:
    """Score a candidate on a split and hold it against the reference, fp32.

    :param samples: of the bootstrap.
    :param folds: in which `refitted` was cross-fitted; 0 where it was fitted on another split.
    """
    labels = data.label_set.labels
    errors = expected_calibration_error(ours.probabilities, data.targets)
    known = {label: e for label, e in zip(labels, errors, strict=True) if not np.isnan(e)}
    return Quality(
        rows=len(data),
        frozen=_scoring(data, ours.frozen, reference.frozen, samples, seed),
        refitted=_scoring(data, ours.refitted, reference.refitted, samples, seed),
        ece=round(float(np.mean(list(known.values()))), 6),
        ece_labels={label: round(float(e), 6) for label, e in known.items()},
        largest_changes=largest_changes(data, ours.probabilities, reference.probabilities),
        cross_fitted=folds,
    )


def _scoring(
    data: LabelledTexts,
    predicted: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    samples: int,
    seed: int,
) -> Scoring:
    labels = data.label_set.labels
    scores = score(data.targets, predicted, labels).to_dict()
    paired = paired_differences(data.targets, reference, predicted, samples, seed)
    flipped = predicted != reference
    return Scoring(
        weighted_f1=scores["weighted_f1"],
        macro_f1=scores["macro_f1"],
        labels={label: LabelF1(**entry) for label, entry in scores["labels"].items()},
        intervals_95=Intervals(
            **bootstrap_intervals(data.targets, predicted, samples, seed),
            labels=label_intervals(data.targets, predicted, labels, samples, seed),
        ),
        difference=Difference(**{name: Interval(**entry) for name, entry in paired.items()}),
        flipped=round(float(flipped.mean()), 6),
        flipped_rows=round(float(flipped.any(axis=1).mean()), 6),
    )


def largest_changes(
    data: LabelledTexts,
    probabilities: NDArray[np.float32],
    reference: NDArray[np.float32],
    count: int = _CHANGES,
) -> tuple[Change, ...]:
    """List the rows whose probabilities moved most, each with the label that moved."""
    moved = np.abs(probabilities - reference)
    order = np.argsort(-moved.max(axis=1), kind="stable")[:count]
    return tuple(
        Change(
            row=int(row),
            text=data.texts[row],
            label=data.label_set.labels[label := int(moved[row].argmax())],
            reference=round(float(reference[row, label]), 4),
            candidate=round(float(probabilities[row, label]), 4),
        )
        for row in order
        if moved[row].any()
    )
