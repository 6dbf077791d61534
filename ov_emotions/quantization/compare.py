"""A candidate's answers beside the reference's: scores, differences, flips, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.metrics import (
    bootstrap_intervals,
    expected_calibration_error,
    label_intervals,
    paired_differences,
    score,
)
from ov_emotions.thresholds import apply_thresholds

_CHANGES = 10


@dataclass(frozen=True)
class Answers:
    """What a candidate says.

    :param probabilities: by split, float32, shape (rows, labels).
    :param refitted: thresholds fitted on its own probabilities, float32, shape (labels,).
    """

    probabilities: dict[str, NDArray[np.float32]]
    refitted: NDArray[np.float32]


def compare(
    data: LabelledTexts,
    split: str,
    answers: Answers,
    reference: Answers,
    frozen: NDArray[np.float32],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Score a candidate on a split and hold it against the reference.

    :param data: the split's rows.
    :param split: its name.
    :param answers: of the candidate.
    :param reference: of the model that it is compared with, fp32.
    :param frozen: thresholds that were fitted on the fp32 model, float32, shape (labels,).
    :param samples: bootstrap resamples.
    :param seed: of the resampling.
    :return: plain values for JSON: `frozen` and `refitted` with scores, intervals, paired
        differences and flips, `ece`, `ece_labels` and `largest_changes`.
    """
    labels = data.label_set.labels
    ours, theirs = answers.probabilities[split], reference.probabilities[split]
    errors = expected_calibration_error(ours, data.targets)
    pairs = {
        "frozen": (frozen, frozen),
        "refitted": (answers.refitted, reference.refitted),
    }
    known = {label: e for label, e in zip(labels, errors, strict=True) if not np.isnan(e)}
    return {
        "rows": len(data),
        **{
            name: _scoring(
                data,
                apply_thresholds(ours, mine),
                apply_thresholds(theirs, other),
                samples,
                seed,
            )
            for name, (mine, other) in pairs.items()
        },
        "ece": round(float(np.mean(list(known.values()))), 6),
        "ece_labels": {label: round(float(e), 6) for label, e in known.items()},
        "largest_changes": largest_changes(data, ours, theirs),
    }


def _scoring(
    data: LabelledTexts,
    predicted: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    labels = data.label_set.labels
    scores = score(data.targets, predicted, labels).to_dict()
    flipped = predicted != reference
    return {
        **{key: scores[key] for key in ("weighted_f1", "macro_f1", "labels")},
        "intervals_95": {
            **_lists(bootstrap_intervals(data.targets, predicted, samples, seed)),
            "labels": _lists(label_intervals(data.targets, predicted, labels, samples, seed)),
        },
        "difference": paired_differences(data.targets, reference, predicted, samples, seed),
        "flipped": round(float(flipped.mean()), 6),
        "flipped_rows": round(float(flipped.any(axis=1).mean()), 6),
    }


def _lists(intervals: dict[str, tuple[float, float]]) -> dict[str, list[float]]:
    """Give intervals as JSON gives them back."""
    return {name: list(interval) for name, interval in intervals.items()}


def largest_changes(
    data: LabelledTexts,
    probabilities: NDArray[np.float32],
    reference: NDArray[np.float32],
    count: int = _CHANGES,
) -> list[dict[str, Any]]:
    """List the rows whose probabilities moved most, each with the label that moved.

    :param data: the rows.
    :param probabilities: float32, shape (rows, labels).
    :param reference: the same of the model that they are compared with.
    :param count: rows at most.
    :return: `row` (counted from 0 within the split), `text`, `label`, `reference`, `candidate`.
    """
    moved = np.abs(probabilities - reference)
    order = np.argsort(-moved.max(axis=1), kind="stable")[:count]
    changes = []
    for row in order:
        if not moved[row].any():
            break
        label = int(moved[row].argmax())
        changes.append(
            {
                "row": int(row),
                "text": data.texts[row],
                "label": data.label_set.labels[label],
                "reference": round(float(reference[row, label]), 4),
                "candidate": round(float(probabilities[row, label]), 4),
            }
        )
    return changes
