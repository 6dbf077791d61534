"""What figures are: the classes that evaluations and studies write as JSON."""

from __future__ import annotations

from typing import Any

from ov_emotions.metrics import Count, LabelF1, Share
from ov_emotions.schema import Schema


class SplitScores(Schema, frozen=True, omit_defaults=True):
    """A model's decisions on one split, scored.

    What stands after `intervals_95` is there where it was asked for: by label the interval of F1,
    what a label's misses were given instead, the correlation of the labels' probabilities, the
    worst errors; and of text-to-text models how many outputs could not be read.
    """

    rows: Count
    weighted_f1: Share
    macro_f1: Share
    micro_f1: Share
    samples_f1: Share
    exact_match: Share
    labels: dict[str, LabelF1]
    intervals_95: dict[str, tuple[float, float]]
    label_intervals_95: dict[str, tuple[float, float]] | None = None
    confusion: dict[str, Any] | None = None
    correlation: list[list[float | None]] | None = None
    worst: list[dict[str, Any]] | None = None
    outputs: dict[str, Any] | None = None


class Result(Schema, frozen=True, omit_defaults=True):
    """A model on some splits.

    `weights_sha256` is None where it is not known, of a served model say; `backend` is openvino,
    torch or server.
    """

    model: str
    weights_sha256: str | None
    weights: str
    inference_precision: str
    thresholds: dict[str, float]
    splits: dict[str, SplitScores]
    backend: str | None = None
    provenance: dict[str, Any] | None = None


class Interval(Schema, frozen=True):
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Readings(Schema, frozen=True):
    """A model on one split's texts as they are, and stripped to what a recogniser writes.

    Both are weighted F1 at thresholds that were fitted to texts as written. `difference` is
    stripped minus as written, paired by row; `largest_change` the largest change of a probability.
    """

    split: str
    rows: Count
    as_written: Interval
    as_recognised: Interval
    difference: Interval
    largest_change: Share
