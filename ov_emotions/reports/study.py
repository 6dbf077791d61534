"""What a quantization study holds: frozen, checked, and with every number finite.

`ov_emotions.reports.reading` makes a `Study` of the JSON; everything else in this room reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds of one run: min <= median <= max."""

    median: float
    min: float
    max: float

    def overlaps(self, other: Spread) -> bool:
        """Tell whether two spreads share a value, so that they cannot be told apart."""
        return self.min <= other.max and other.min <= self.max


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelF1:
    """One label's scores; the interval is that of F1, and None where it was not computed."""

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Scoring:
    """Decisions of one candidate on one split at one set of thresholds.

    :param weighted_f1: with its own interval.
    :param macro_f1: with its own interval.
    :param labels: per label that the split annotates.
    :param difference: weighted F1 minus the reference's, paired by row.
    :param macro_difference: the same of macro F1.
    :param flipped: share of label decisions that differ from the reference's.
    :param flipped_rows: share of rows with a decision that differs.
    """

    weighted_f1: Interval
    macro_f1: Interval
    labels: Mapping[str, LabelF1]
    difference: Interval
    macro_difference: Interval
    flipped: float
    flipped_rows: float


@dataclass(frozen=True)
class Change:
    """A text whose probability of a label changed much.

    :param reference: the reference's probability.
    :param candidate: the candidate's.
    """

    row: int
    text: str
    label: str
    reference: float
    candidate: float


@dataclass(frozen=True)
class Quality:
    """A candidate on one split.

    :param frozen: at the reference's thresholds.
    :param refitted: at thresholds fitted to the candidate itself.
    :param ece: expected calibration error, 0 to 1.
    """

    rows: int
    frozen: Scoring
    refitted: Scoring
    ece: float | None
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Latency:
    """Milliseconds that one text takes."""

    p50: Spread
    p90: Spread | None
    p99: Spread | None


@dataclass(frozen=True)
class Start:
    """What a fresh process pays: seconds, milliseconds, megabytes."""

    load_s: Spread | None
    first_inference_ms: Spread | None
    rss_mb: Spread | None


@dataclass(frozen=True)
class Candidate:
    """One model at one precision in one runtime.

    :param runtime: openvino, torch-cpu or torch-cuda.
    :param quantization: free facts about how it was made; None if it was not quantized.
    :param quality: by split.
    :param throughput: texts a second.
    :param p50_ratio: how many times as fast as the reference, round by round, for one text.
    :param throughput_ratio: the same for many texts.
    """

    id: str
    recipe: str | None
    runtime: str
    description: str
    weights: str
    precision: str
    ok: bool
    error: str | None
    quantization: Mapping[str, Any] | None
    size_bytes: int | None
    quality: Mapping[str, Quality]
    start: Start | None
    latency: Latency | None
    throughput: Spread | None
    p50_ratio: Spread | None
    throughput_ratio: Spread | None

    @property
    def quantized(self) -> bool:
        """Whether its weights are integers."""
        return self.weights.startswith("int")

    @property
    def shippable(self) -> bool:
        """Whether it is an OpenVINO model, and not one that stands there for comparison."""
        return self.runtime == "openvino"


@dataclass(frozen=True)
class Model:
    """What was quantized."""

    name: str
    checkpoint: str
    weights_sha256: str
    labels: tuple[str, ...]
    label_names_ru: Mapping[str, str]
    parameters: int | None
    random_weights: bool


@dataclass(frozen=True)
class Data:
    """Which rows did what; `rows` is by split, as far as it is known."""

    choice_split: str
    final_split: str | None
    thresholds_split: str
    calibration_split: str
    rows: Mapping[str, int]
    manifest_sha256: str
    seed: int | None


@dataclass(frozen=True)
class Noise:
    """Whether the machine was quiet enough for the timings to mean something."""

    noisy: bool
    sentence: str


@dataclass(frozen=True)
class Step:
    """What a step of the study cost."""

    name: str
    seconds: float
    peak_memory_mb: float | None


@dataclass(frozen=True)
class Study:
    """A study as a whole.

    :param max_drop: how much weighted F1 a shipped candidate may lose.
    :param reference: id of the candidate that the others are compared with.
    :param not_measured: ids of candidates that the study did without, and why.
    """

    command: str
    created: str
    model: Model
    data: Data
    settings: Mapping[str, Any]
    max_drop: float
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    noise: Noise | None
    reference: str
    candidates: tuple[Candidate, ...]
    steps: tuple[Step, ...]
    not_measured: tuple[tuple[str, str], ...] = ()

    def candidate(self, id_: str) -> Candidate:
        """Find a candidate by its id, which exists."""
        return next(candidate for candidate in self.candidates if candidate.id == id_)

    def on_choice(self, candidate: Candidate) -> Quality | None:
        """Return a candidate's quality on the split that decides, if accuracy means anything."""
        if self.model.random_weights or not candidate.ok:
            return None
        return candidate.quality.get(self.data.choice_split)

    def on_final(self, candidate: Candidate) -> Quality | None:
        """Return a candidate's quality on the final split, if there is one."""
        if self.model.random_weights or not candidate.ok or self.data.final_split is None:
            return None
        return candidate.quality.get(self.data.final_split)

    @property
    def noisy(self) -> bool:
        """Whether the timings are too noisy to tell candidates apart."""
        return self.noise is not None and self.noise.noisy
