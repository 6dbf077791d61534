"""Targets take turns at every level of load, round after round; and the figures of it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Literal

import numpy as np

from benchmarks.serving.load import Limits, Run, closed_loop, open_loop
from benchmarks.serving.target import Target
from ov_emotions.errors import InputError
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
        errors = sum(self.errors.values())
        return errors / max(errors + self.requests, 1)

    @property
    def power(self) -> float:
        """Kleinrock's power: throughput over mean latency; 0 where too much failed."""
        if self.mean_ms is None or self.failed > TOLERATED:
            return 0.0
        return self.throughput["median"] / self.mean_ms


def summarise(kind: Kind, level: float, runs: Sequence[Run]) -> Figures:
    """Put the rounds of one level of load together, at least one."""
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

    :return: of equal ones the lowest; None if too much failed at every level.
    """
    borne = [figures for figures in closed if figures.power > 0]
    return max(borne, key=lambda figures: (figures.power, -figures.level), default=None)


def peak(closed: Sequence[Figures]) -> float:
    """Find the most answers a second of closed loops; 0 if too much failed at every level."""
    return max((f.throughput["median"] for f in closed if f.power > 0), default=0.0)


def ratios(ours: Figures, theirs: Figures) -> dict[str, Spread] | None:
    """Compare two targets at the same level of load, round by round; theirs is 1.

    :return: `throughput` and `p50` as ratios with their spread; None where a round has no answers.
    """
    found = {}
    for name, key in (("throughput", "throughput"), ("p50", "p50_ms")):
        pairs = list(zip(ours.rounds[key], theirs.rounds[key], strict=False))
        if not pairs or not all(mine and other for mine, other in pairs):
            return None
        found[name] = spread([mine / other for mine, other in pairs if mine and other])
    return found


Tell = Callable[[int, int, str], None]
"""Hears how many steps are done, of how many, and which comes now."""


_WARMING_CLIENTS = 4
"""Before arrivals at a fixed rate: enough for a few connections."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long at most.

    :param clients: of the closed loops: one level of load each.
    :param rates: arrivals a second, one level each; where there are none, `shares` says.
    :param shares: arrivals a second as shares of the highest throughput that the closed loops of
        the first round reached, each target's own.
    :param rounds: how often the targets take turns at everything.
    :param seconds: for which each level is kept up in a round.
    :param warm_up: seconds of the same load before each step, which are not counted: connections
        are made, and a model that others pushed out of the processor's caches comes back.
    :param requests: sent at most in such a step.
    :param in_flight: arrivals that may be under way at a time.
    :param limit: seconds after which no step is begun; what is left out is told.
    :raises InputError: if a value makes no sense.
    """

    clients: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    rates: tuple[float, ...] = ()
    shares: tuple[float, ...] = (0.5, 0.8)
    rounds: int = 2
    seconds: float = 1.0
    warm_up: float = 0.15
    requests: int = 20_000
    in_flight: int = 256
    limit: float = 280.0

    def __post_init__(self) -> None:
        for name in ("rounds", "requests", "in_flight"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("seconds", "warm_up", "limit"):
            _check_positive(name, getattr(self, name))
        for name in ("clients", "rates", "shares"):
            for value in getattr(self, name):
                _check_positive(name, value)
        if not self.clients:
            raise InputError("clients must name at least one level of load")
        if max(*self.clients, self.in_flight) > 512:
            # select() takes no more than 1,024 files, and each request may have a connection.
            raise InputError("clients and in_flight may be 512 at most")

    @property
    def steps(self) -> int:
        return self.rounds * (len(self.clients) + len(self.rates or self.shares))


def _check_positive(name: str, value: float) -> None:
    if not isfinite(value) or value <= 0:
        raise InputError(f"{name} must be above 0, not {value}")


@dataclass
class Campaign:
    """Targets with names of their own that take turns at each level of load, round after round.

    A target that fails has its errors counted.

    :raises InputError: if two targets have the same name.
    """

    plan: Plan
    targets: Sequence[Target]
    tell: Tell
    done: int = 0
    left_out: int = 0
    seconds: float = 0.0
    runs: dict[tuple[str, Kind, float], list[Run]] = field(default_factory=dict)
    rates: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({target.name for target in self.targets}) < len(self.targets):
            raise InputError("two endpoints have the same name; give them as NAME=URL")

    async def run(self) -> None:
        """Measure all of it; what there is no time for is left out and counted."""
        started = time.perf_counter()
        for number in range(self.plan.rounds):
            # Each second round the other way round, so that none always follows the same one.
            order = list(self.targets)[:: -1 if number % 2 else 1]
            for clients in self.plan.clients:
                for target in order:
                    await self._step(target, "closed", clients, started)
            for target in order if not number else ():
                self.rates[target.name] = self._choose_rates(target)
            for position in range(len(self.plan.rates or self.plan.shares)):
                for target in order:
                    rates = self.rates[target.name]
                    if position < len(rates):
                        await self._step(target, "open", rates[position], started)
                    else:
                        self.done += 1
        self.seconds = time.perf_counter() - started

    def _choose_rates(self, target: Target) -> tuple[float, ...]:
        """Choose the rates of arrival; none for a target that answered nothing."""
        if self.plan.rates:
            return self.plan.rates
        highest = peak(self.figures(target, "closed"))
        return tuple(round(share * highest, 1) for share in self.plan.shares if highest >= 1)

    async def _step(self, target: Target, kind: Kind, level: float, started: float) -> None:
        plan = self.plan
        self.tell(self.done, plan.steps * len(self.targets), target.name)
        self.done += 1
        if time.perf_counter() - started > plan.limit:
            self.left_out += 1
            return
        limits = Limits(plan.seconds, plan.requests, plan.in_flight)
        async with target.connected() as send:
            clients = int(level) if kind == "closed" else _WARMING_CLIENTS
            await closed_loop(send, clients, Limits(plan.warm_up, plan.requests))
            if kind == "closed":
                run = await closed_loop(send, clients, limits)
            else:
                run = await open_loop(send, level, limits)
        self.runs.setdefault((target.name, kind, level), []).append(run)

    def figures(self, target: Target, kind: Kind) -> list[Figures]:
        """Give a target's levels of load."""
        return [
            summarise(kind, level, runs)
            for (name, found, level), runs in self.runs.items()
            if (name, found) == (target.name, kind)
        ]

    def round_latencies(self) -> dict[str, list[float]]:
        """Give the median latencies of each target's first level of load, round by round."""
        found = {}
        for target in self.targets:
            first = self.figures(target, "closed")[:1]
            if told := [p50 for level in first for p50 in level.rounds["p50_ms"] if p50]:
                found[target.name] = told
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "seconds": round(self.seconds, 1),
            "steps_left_out": self.left_out,
            "targets": [self._told(target) for target in self.targets],
            "comparisons": [
                found
                for ours, theirs in itertools.permutations(self.targets, 2)
                if ours.endpoint.against == theirs.endpoint.name and self._comparable(ours, theirs)
                for found in self._compared(ours, theirs)
            ],
        }

    def _told(self, target: Target) -> dict[str, Any]:
        closed = self.figures(target, "closed")
        bend = knee(closed)
        return {
            "name": target.name,
            "endpoint": target.endpoint.name,
            "protocol": target.protocol,
            "takes": target.takes,
            "server": target.server,
            "texts_per_request": max(target.rows),
            "knee_clients": None if bend is None else bend.level,
            "peak_throughput": peak(closed),
            "closed": [asdict(figures) for figures in closed],
            "open": [asdict(figures) for figures in self.figures(target, "open")],
        }

    def _comparable(self, ours: Target, theirs: Target) -> bool:
        """Compare by the same protocol, where the other endpoint speaks it."""
        spoken = {t.protocol for t in self.targets if t.endpoint.name == theirs.endpoint.name}
        return ours.protocol not in spoken or ours.protocol == theirs.protocol

    def _compared(self, ours: Target, theirs: Target) -> Iterator[dict[str, Any]]:
        others = {figures.level: figures for figures in self.figures(theirs, "closed")}
        for figures in self.figures(ours, "closed"):
            there = others.get(figures.level)
            ratio = None if there is None else ratios(figures, there)
            if ratio is not None:
                names = {"target": ours.name, "against": theirs.name}
                yield {**names, "clients": int(figures.level), **ratio}
