"""Ratios between peers, round by round, and whether they reach what was set as a goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.peers.plan import LARGE
from ov_emotions.quantization.timing import spread

Rounds = Mapping[str, Sequence[Mapping[str, float]]]
Figure = Mapping[str, float]
"""Median, min and max over the rounds."""

OURS, EARLIER, LIMIT = "EmotionClassifier INT8", "earlier projects' path", "bare IR INT8 (limit)"
RATE = "texts_per_second"


@dataclass(frozen=True)
class Goal:
    """A figure that is held against a bound.

    :param bound: to be reached by the median.
    :param least: whether the bound is the least that will do; else it is the most.
    :param unit: behind the number.
    """

    name: str
    figure: Figure
    bound: float
    least: bool
    unit: str = ""

    @property
    def reached(self) -> bool:
        median = self.figure["median"]
        return median >= self.bound if self.least else median < self.bound

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "reached": self.reached}


def ratio(rounds: Rounds, name: str, other: str, key: str = RATE) -> dict[str, float]:
    """Divide one peer's figure by another's, round by round: median, min and max."""
    pairs = zip(rounds[name], rounds[other], strict=True)
    return spread([mine[key] / theirs[key] for mine, theirs in pairs])


def best_peer(rounds: Rounds, candidates: Sequence[str]) -> str:
    """Name the peer that does most texts a second, by the median of its rounds."""
    measured = [name for name in candidates if rounds.get(name)]
    return max(measured, key=lambda name: spread([r[RATE] for r in rounds[name]])["median"])


def model_goals(model: str, rounds: Rounds, peers: Sequence[str]) -> list[Goal]:
    """Hold a model's figures against those of its goals whose peers were all measured.

    :param peers: the names among which the best peer is.
    """
    ours = rounds.get(OURS)
    if not ours:
        return []
    over: list[tuple[str, str, float]] = []
    if model == LARGE:
        over.append(("the earlier projects' path", EARLIER, 12.0))
        if any(rounds.get(name) for name in peers):
            best = best_peer(rounds, peers)
            over.append((f"the best peer ({best})", best, 1.5))
    over.append(("the bare IR's", LIMIT, 0.9))
    goals = [
        Goal(f"throughput over {told}", ratio(rounds, OURS, other), bound, True, "×")
        for told, other, bound in over
        if rounds.get(other)
    ]
    if limit := rounds.get(LIMIT):
        later = spread([a["p50_ms"] - b["p50_ms"] for a, b in zip(ours, limit, strict=True)])
        goals.append(Goal("one text, p50 over the bare IR's", later, 0.3, False, " ms"))
    figure = spread([r["p99_ms"] / r["p50_ms"] for r in ours])
    return [*goals, Goal("one text, p99 over p50", figure, 2.0, False, "×")]


def start_goals(starts: Mapping[str, Figure]) -> list[Goal]:
    """Hold what `measure_starts` found of the shipped model against the goals."""
    return [
        Goal(name, starts[key], bound, False, unit)
        for name, key, bound, unit in (
            ("process start to first prediction, warm cache", "cold_start_s", 1.0, " s"),
            ("import ov_emotions", "import_package_ms", 150.0, " ms"),
            ("from ov_emotions import EmotionClassifier", "import_classifier_ms", 150.0, " ms"),
        )
    ]


def memory_goal(megabytes: Sequence[float]) -> Goal:
    """Hold the memory of a stream against its goal: how much more the most is than the first.

    :param megabytes: resident, at equal steps; the first after the stream has warmed up.
    :return: the goal, in percent.
    """
    figure = spread([round(100 * (max(megabytes) / megabytes[0] - 1), 2)])
    return Goal("growth of resident memory over a stream", figure, 5.0, False, " %")


def macs_per_token(config: Mapping[str, int], length: float) -> float:
    """Count the multiply-adds of an encoder for one token of a text.

    :param config: `hidden_size`, `intermediate_size` and `num_hidden_layers`.
    :param length: tokens of the text, which attention has to look at.
    :return: of the four projections, the two layers of the feed-forward part, and the two products
        of attention; embeddings are looked up, and the head is too small to count.
    """
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layer = 4.0 * hidden * hidden + 2.0 * hidden * inner + 2.0 * length * hidden
    return config["num_hidden_layers"] * layer


def macs_per_text(config: Mapping[str, int], lengths: Sequence[int]) -> float:
    """Average the multiply-adds of texts of so many tokens."""
    return sum(n * macs_per_token(config, n) for n in lengths) / len(lengths)


def utilisation(
    rounds: Sequence[Mapping[str, float]], macs: Sequence[float], rates: Sequence[float]
) -> dict[str, float]:
    """Say which part of the machine's matrix rate a peer turns into answers.

    :param macs: multiply-adds a text, of each round's texts.
    :param rates: multiply-adds a second in one large product, measured in each round.
    """
    triples = zip(rounds, macs, rates, strict=False)
    return spread([one[RATE] * m / rate for one, m, rate in triples])
