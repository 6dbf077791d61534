"""What a prediction is, how it is decided, and what callers may give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import InputError
from ov_emotions.manifest import is_threshold, threshold_array
from ov_emotions.schema import Task
from ov_emotions.thresholds import apply_thresholds

Texts = list[str] | tuple[str, ...]
Thresholds = Mapping[str, float] | float
"""Probabilities in (0, 1): by label, or one for all labels."""

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one text.

    :param labels: those whose probability reaches its threshold, the most probable first; empty if
        none does, which is not the same as neutral.
    :param scores: the probability of every label, the most probable first.
    :param truncated: whether a part of the text was left out because it was too long; None where
        only the server knows.
    """

    labels: tuple[str, ...]
    scores: Mapping[str, float] = field(hash=False)
    truncated: bool | None = False

    def to_dict(self, *, rounded: bool = False) -> dict[str, Any]:
        """Return plain values for JSON: `labels`, `scores` and `truncated`.

        :param rounded: whether scores have 6 digits behind the point at most, for text files.
        """
        if rounded:
            scores = {label: round(float(one), _DIGITS) for label, one in self.scores.items()}
        else:
            scores = dict(self.scores)
        return {"labels": list(self.labels), "scores": scores, "truncated": self.truncated}


def decide(
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    probabilities: NDArray[np.float32],
    truncated: Sequence[bool | None],
    task: Task = "multi_label",
) -> list[Prediction]:
    """Turn probabilities, float32, shape (texts, labels), into predictions.

    :param labels: in the order of the columns.
    :param thresholds: by label; those of a single-label model may be left out.
    """
    present = apply_thresholds(probabilities, threshold_array(labels, thresholds), task)
    return rank(labels, present, probabilities, truncated)


def rank(
    labels: Sequence[str],
    present: NDArray[np.bool_],
    scores: NDArray[np.float32],
    truncated: Sequence[bool | None],
) -> list[Prediction]:
    """Put what was found into predictions, the highest score first.

    :param labels: in the order of the columns.
    :param present: bool, shape (texts, labels): which labels the predictions have.
    :param scores: float32, same shape.
    """
    columns = range(len(labels))
    predictions = []
    rows = zip(present.tolist(), scores.tolist(), truncated, strict=True)
    for there, values, cut in rows:
        # Stable in reverse too: of equal scores the first label comes first.
        best = sorted(columns, key=values.__getitem__, reverse=True)
        predictions.append(
            Prediction(
                labels=tuple(labels[i] for i in best if there[i]),
                scores={labels[i]: values[i] for i in best},
                truncated=cut,
            )
        )
    return predictions


def merge_thresholds(
    ours: Mapping[str, float],
    given: Thresholds | None,
    labels: Sequence[str] | None = None,
) -> dict[str, float]:
    """Put a caller's thresholds in the place of the model's.

    :param labels: of the model; None where `ours` has all of them.
    :return: all, in the order of the labels.
    :raises InputError: if one names no label of the model or is no threshold.
    """
    labels = tuple(ours) if labels is None else labels
    if isinstance(given, int | float | np.number) and not isinstance(given, bool):
        given = dict.fromkeys(labels, given)
    elif given is not None and not isinstance(given, Mapping):
        raise InputError(
            "thresholds must map labels to probabilities, or be one number for all, not be a "
            f"{kind(given)}"
        )
    merged = dict(ours)
    for label, value in (given or {}).items():
        if label not in labels:
            raise InputError(
                f"thresholds name {label!r}, which the model lacks; it has {', '.join(labels)}"
            )
        if not is_threshold(value):
            raise InputError(f"the threshold of {label} must lie in (0, 1), not be {value!r}")
        merged[label] = float(value)
    return {label: merged[label] for label in labels if label in merged}


def kind(value: object) -> str:
    """Name the type of a value for a message."""
    if isinstance(value, float) and value != value:
        return "float (NaN, a missing value)"
    return type(value).__name__


def not_a_text(position: int, value: object) -> InputError:
    """Make the error for an item that should be a text."""
    return InputError(f"the item at position {position} is a {kind(value)}, not a text (str)")


def as_texts(texts: Any) -> Sequence[str]:
    """Check what a caller gave as several texts: a list, tuple, array or column.

    :raises InputError: if it is nothing of the kind, or an item is not a text.
    """
    if not isinstance(texts, list | tuple):
        # What Arrow, polars, pandas and numpy call it.
        ways = (getattr(texts, name, None) for name in ("to_pylist", "to_list", "tolist"))
        listed = next((way() for way in ways if callable(way)), texts)
        if isinstance(listed, Iterator):
            raise InputError("an iterator cannot be classified at once; use stream(), or a list")
        if isinstance(listed, str | bytes | bytearray) or not isinstance(listed, Sequence):
            raise InputError(f"a list of texts is expected, not a {kind(texts)}")
        texts = listed
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise not_a_text(position, text)
    checked: Sequence[str] = texts
    return checked
