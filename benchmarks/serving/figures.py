"""Figures out of what was seen: percentiles, spreads over rounds, the knee, ratios."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.serving.load import Run
from ov_emotions.quantization.timing import spread

Kind = Literal["closed", "open"]
Spread = dict[str, float]

TOLERATED = 0.01
"""The share of failed requests up to which a level of load counts as one that was borne."""


@dataclass(frozen=True)
class Figures:
    """One level of load on one target, all rounds together.

    :param kind: closed loops, or arrivals at a fixed rate.
    :param level: clients, or arrivals a second.
    :param requests: answered.
    :param errors: failed requests by kind.
    :param p50_ms: half of the answers came within these milliseconds; all rounds pooled, as are the
        other percentiles. None where nothing was answered.
    :param throughput: answers a second, over the rounds.
    :param round_p50_ms: the median latency in milliseconds, over the rounds.
    :param driver_cpu: cores that this driver kept busy, the largest of the rounds.
    :param late_p99_ms: by how much arrivals were sent late; None for closed loops.
    :param rounds: throughput and median latency round by round, for ratios.
    """

    kind: Kind
    level: float
    requests: int
    errors: dict[str, int]
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    throughput: Spread
    round_p50_ms: Spread | None
    driver_cpu: float
    late_p99_ms: float | None
    rounds: dict[str, list[float | None]]

    @property
    def failed(self) -> float:
        """The share of requests that failed."""
        errors = sum(self.errors.values())
        return errors / max(errors + self.requests, 1)

    @property
    def power(self) -> float:
        """Kleinrock's power: throughput over mean latency; 0 where too much failed."""
        if self.mean_ms is None or self.failed > TOLERATED:
            return 0.0
        return self.throughput["median"] / self.mean_ms

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def summarise(kind: Kind, level: float, runs: Sequence[Run]) -> Figures:
    """Put the rounds of one level of load together.

    :param kind: of the load.
    :param level: of the load.
    :param runs: a round each, at least one.
    :return: the figures.
    """
    pooled = 1000 * np.concatenate([run.latencies for run in runs])
    errors: Counter[str] = Counter()
    for run in runs:
        errors.update(run.errors)
    throughput = [len(run.latencies) / run.seconds for run in runs]
    medians = [
        round(1000 * float(np.median(run.latencies)), 4) if len(run.latencies) else None
        for run in runs
    ]
    told = [median for median in medians if median is not None]
    late = np.concatenate([run.lateness for run in runs])
    mean, p50, p90, p99, largest = _latency(pooled.tolist())
    return Figures(
        kind=kind,
        level=level,
        requests=len(pooled),
        errors=dict(sorted(errors.items())),
        mean_ms=mean,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=largest,
        throughput=spread(throughput),
        round_p50_ms=spread(told) if told else None,
        driver_cpu=round(max(run.cpu_seconds / run.seconds for run in runs), 3),
        late_p99_ms=round(1000 * float(np.percentile(late, 99)), 4) if len(late) else None,
        rounds={"throughput": [round(rate, 4) for rate in throughput], "p50_ms": list(medians)},
    )


def _latency(milliseconds: Sequence[float]) -> tuple[float | None, ...]:
    if not milliseconds:
        return (None,) * 5
    found = [np.mean(milliseconds), *np.percentile(milliseconds, [50, 90, 99]), max(milliseconds)]
    return tuple(round(float(value), 4) for value in found)


def knee(closed: Sequence[Figures]) -> Figures | None:
    """Find where more load no longer pays: the level of the greatest power.

    L. Kleinrock, Power and Deterministic Rules of Thumb for Probabilistic Problems in Computer
    Communications, ICC 1979. Below it, capacity lies idle; above it, requests mostly wait.

    :param closed: the levels of a closed loop, in any order.
    :return: of equal ones the lowest; None if too much failed at every level.
    """
    borne = [figures for figures in closed if figures.power > 0]
    return max(borne, key=lambda figures: (figures.power, -figures.level), default=None)


def peak(closed: Sequence[Figures]) -> float:
    """Find the highest throughput of closed loops.

    :param closed: the levels.
    :return: answers a second; 0 if too much failed at every level.
    """
    return max((f.throughput["median"] for f in closed if f.power > 0), default=0.0)


def ratios(ours: Figures, theirs: Figures) -> dict[str, Spread] | None:
    """Compare two targets at the same level of load, round by round.

    :param ours: of the one.
    :param theirs: of the other, which is 1.
    :return: `throughput` and `p50` as ratios with their spread; None where a round has no answers.
    """
    found = {}
    for name, key in (("throughput", "throughput"), ("p50", "p50_ms")):
        pairs = list(zip(ours.rounds[key], theirs.rounds[key], strict=False))
        if not pairs or not all(mine and other for mine, other in pairs):
            return None
        found[name] = spread([mine / other for mine, other in pairs if mine and other])
    return found
