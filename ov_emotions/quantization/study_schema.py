"""What study.json holds: written by the study, read by the verdict and by every page.

    study = read_study(Path("quantize/reports/emotions-ru-small/study.json"))
    for candidate in study.candidates:
        if quality := study.on_choice(candidate):
            print(candidate.id, quality.refitted.difference.weighted_f1)

The classes follow the JSON key by key; properties give what follows from it. Fields with a default
may be absent or null: studies of before the field was there stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from ov_emotions.errors import DataError
from ov_emotions.evaluation.results import Interval, Readings
from ov_emotions.metrics import Count, LabelF1, Share
from ov_emotions.schema import Schema, from_builtins, read_json

SCHEMA = 1
KIND = "ov-emotions study"

Name = Annotated[str, Meta(min_length=1, pattern=r"\S")]
Cost = Annotated[float, Meta(ge=0)]


class Spread(Schema, frozen=True):
    """A figure over the rounds of one run: 0 <= min <= median <= max."""

    median: Cost
    min: Cost
    max: Cost

    def __post_init__(self) -> None:
        if not self.min <= self.median <= self.max:
            raise ValueError(
                f"must have min <= median <= max, not {self.min:g}, {self.median:g} and "
                f"{self.max:g}"
            )

    @property
    def around_one(self) -> bool:
        """Whether a ratio is not told from 1."""
        return self.min <= 1 <= self.max

    def overlaps(self, other: Spread) -> bool:
        """Tell whether two spreads share a value, so that they cannot be told apart."""
        return self.min <= other.max and other.min <= self.max


class Intervals(Schema, frozen=True):
    """95 % bootstrap intervals, low and high; `labels` may lack some."""

    weighted_f1: tuple[float, float]
    macro_f1: tuple[float, float]
    labels: dict[str, tuple[float, float]] = field(default_factory=dict)


class Difference(Schema, frozen=True):
    """F1 minus the reference's, paired by row."""

    weighted_f1: Interval
    macro_f1: Interval


class Scoring(Schema, frozen=True):
    """Decisions of one candidate on one split at one way of thresholds.

    `flipped` is the share of label decisions that differ from the reference's, `flipped_rows` that
    of rows with such a decision. `labels` holds the labels that the split annotates.
    """

    weighted_f1: Share
    macro_f1: Share
    labels: dict[str, LabelF1]
    intervals_95: Intervals
    difference: Difference
    flipped: Share
    flipped_rows: Share

    @property
    def weighted(self) -> Interval:
        low, high = self.intervals_95.weighted_f1
        return Interval(value=self.weighted_f1, low=low, high=high)

    @property
    def macro(self) -> Interval:
        low, high = self.intervals_95.macro_f1
        return Interval(value=self.macro_f1, low=low, high=high)


class Change(Schema, frozen=True):
    """A text whose probability of a label differs much between reference and candidate."""

    row: Count
    text: str
    label: str
    reference: Share
    candidate: Share


class Quality(Schema, frozen=True):
    """A candidate on one split.

    `frozen` is at the reference's thresholds, `refitted` at thresholds fitted to the candidate
    itself; where one label a text is predicted, both are the label of the highest probability.
    `ece` is the expected calibration error. `cross_fitted` is the number of folds where the
    thresholds of `refitted` were fitted on the split's other folds, and 0 where they were fitted
    on a split of their own.
    """

    rows: Count
    frozen: Scoring
    refitted: Scoring
    ece: Share | None = None
    ece_labels: dict[str, Share] | None = None
    largest_changes: tuple[Change, ...] | None = None
    cross_fitted: Count = 0

    @property
    def change(self) -> Interval:
        """Of weighted F1 to the reference, at thresholds of its own."""
        return self.refitted.difference.weighted_f1


class _Rates(Schema, frozen=True):
    """Spreads that are divided by, or drawn by their logarithm."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            spread = getattr(self, name)
            if spread is not None and not spread.min:
                raise ValueError(f"{name}.min must be greater than 0")


class Latency(_Rates, frozen=True):
    """Milliseconds that one text takes."""

    p50_ms: Spread
    p90_ms: Spread | None = None
    p99_ms: Spread | None = None


class Throughput(_Rates, frozen=True):
    """Texts a second when many are classified in one call."""

    texts_per_second: Spread


class Ratios(_Rates, frozen=True):
    """How many times as fast as the reference a candidate is, round by round."""

    p50: Spread | None = None
    throughput: Spread | None = None


class Start(Schema, frozen=True):
    """What a fresh process pays: seconds, milliseconds, megabytes."""

    load_s: Spread | None = None
    first_inference_ms: Spread | None = None
    rss_mb: Spread | None = None


class Candidate(Schema, frozen=True):
    """One model at one inference precision in one runtime.

    `recipe` and `quantization` (free facts about how it was made) are None for torch; `quality`
    is by split, and None where nothing was scored.
    """

    id: Name
    runtime: Literal["openvino", "torch-cpu", "torch-cuda"]
    weights: Name
    precision: Name
    status: Literal["ok", "failed"]
    recipe: str | None = None
    description: str | None = ""
    error: str | None = None
    quantization: dict[str, Any] | None = None
    size_bytes: Count | None = None
    quality: dict[str, Quality] | None = None
    start: Start | None = None
    latency: Latency | None = None
    throughput: Throughput | None = None
    ratios: Ratios | None = None
    rounds: tuple[dict[str, float], ...] | None = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def quantized(self) -> bool:
        return self.weights.startswith("int")

    @property
    def shippable(self) -> bool:
        """Whether it is an OpenVINO model, and not one that stands there for comparison."""
        return self.runtime == "openvino"

    @property
    def timed(self) -> bool:
        return self.latency is not None and self.throughput is not None


class Model(Schema, frozen=True):
    """What was quantized."""

    name: Name
    labels: tuple[Name, ...]
    checkpoint: str | None = ""
    weights_sha256: str | None = ""
    label_names_ru: dict[str, str] | None = None
    parameters: Count | None = None
    random_weights: bool | None = False
    task: Literal["multi_label", "single_label"] = "multi_label"
    normalizer: str | None = None


class Split(Schema, frozen=True):
    """Rows of a split, as far as they were counted."""

    rows: Count | None = None


class Data(Schema, frozen=True):
    """Which rows did what.

    `choice_split` decides; `final_split` confirms, or is None. `thresholds_split` is what the
    thresholds of the bundles were fitted on.
    """

    choice_split: Name
    final_split: Name | None = None
    thresholds_split: str | None = ""
    calibration_split: str | None = ""
    splits: dict[str, Split] | None = None
    manifest_sha256: str | None = ""
    seed: int | None = None

    @property
    def rows(self) -> dict[str, int]:
        return {name: s.rows for name, s in (self.splits or {}).items() if s.rows is not None}


class Noise(Schema, frozen=True):
    """Whether the machine was quiet enough for the timings to mean something."""

    noisy: bool
    sentence: str | None = ""
    spread: float | None = None
    limit: float | None = None
    stolen: float | None = None


class Step(Schema, frozen=True):
    """What a step of the study cost."""

    step: str
    seconds: float
    peak_memory_mb: float | None = None


class Absent(Schema, frozen=True):
    """A candidate that the study did without."""

    id: Name
    why: str


class Study(Schema, frozen=True):
    """A study as a whole.

    `settings` are free facts, of which `max_drop` is weighted F1 that a shipped candidate may
    lose. `reference` is the id that the others are compared with. `parity` tells how far the fp32
    IR is from the original model: the largest difference of a logit, by length group.
    """

    schema: int
    kind: str
    model: Model
    data: Data
    settings: dict[str, Any]
    reference: Name
    candidates: tuple[Candidate, ...]
    command: str | None = ""
    created: str | None = ""
    machine: dict[str, Any] | None = None
    versions: dict[str, Any] | None = None
    noise: Noise | None = None
    not_measured: tuple[Absent, ...] | None = None
    steps: tuple[Step, ...] | None = None
    readings: Readings | None = None
    parity: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        ids = [candidate.id for candidate in self.candidates]
        if double := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"candidates holds the id {min(double)!r} twice")
        if self.reference not in ids:
            raise ValueError(f"reference is {self.reference!r}, which is not among the candidates")
        drop = self.settings.get("max_drop")
        if isinstance(drop, bool) or not isinstance(drop, int | float) or drop < 0:
            raise ValueError(f"settings.max_drop must be a number that is not negative, not {drop}")

    @property
    def max_drop(self) -> float:
        return float(self.settings["max_drop"])

    @property
    def noisy(self) -> bool:
        return self.noise is not None and self.noise.noisy

    def candidate(self, id_: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.id == id_)

    def on(self, candidate: Candidate, split: str | None) -> Quality | None:
        """Return a candidate's quality on a split; None where accuracy means nothing."""
        if self.model.random_weights or not candidate.ok or split is None:
            return None
        return (candidate.quality or {}).get(split)

    def on_choice(self, candidate: Candidate) -> Quality | None:
        return self.on(candidate, self.data.choice_split)

    def on_final(self, candidate: Candidate) -> Quality | None:
        return self.on(candidate, self.data.final_split)


def read_study(path: Path | str) -> Study:
    """Read study JSON.

    :raises DataError: if it cannot be read, is no study, or is newer than this library.
    """
    return parse_study(read_json(Path(path), dict[str, Any], DataError), str(path))


def parse_study(value: object, where: str = "the study") -> Study:
    """Check what `json.loads` gave of study JSON, which messages call `where`.

    :raises DataError: if it is no study, or a part is missing or of the wrong kind.
    """
    if not isinstance(value, Mapping) or value.get("kind") != KIND:
        raise DataError(f'{where} is not a quantization study: its "kind" must be "{KIND}"')
    schema = value.get("schema")
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        remedy = "upgrade ov-emotions" if newer else "make the study again"
        raise DataError(
            f"{where} has schema {schema}, and this library reads schema {SCHEMA}: {remedy}"
        )
    return from_builtins(value, Study, where, DataError)
