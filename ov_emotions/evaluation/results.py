"""What figures are: the classes that evaluations and studies write as JSON."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ov_emotions.schema import Schema

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


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
