"""Targets take turns at every level of load, round after round; and the figures of it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta

from benchmarks.serving.load import Limits, Run, closed_loop, open_loop
from benchmarks.serving.target import Target
from ov_emotions.errors import InputError
from ov_emotions.quantization.timing import spread
from ov_emotions.schema import Count, check_fields

Kind = Literal["closed", "open"]
Spread = dict[str, float]

TOLERATED = 0.01
"""The share of failed requests up to which a level of load counts as one that was borne."""

_WARMING_CLIENTS = 4
"""Before arrivals at a fixed rate: enough for a few connections."""

Tell = Callable[[int, int, str], None]
"""Hears how many steps are done, of how many, and which comes now."""


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
    pooled = np.concatenate([run.latencies for run in runs])
    late = np.concatenate([run.lateness for run in runs])
    rates = [len(run.latencies) / run.seconds for run in runs]
    medians = [_milliseconds(np.median, run.latencies) for run in runs]
    told = [median for median in medians if median is not None]

    def percentile(share: int) -> float | None:
        return _milliseconds(lambda values: np.percentile(values, share), pooled)

    return Figures(
        kind=kind,
        level=level,
        requests=len(pooled),
        errors=dict(sorted(sum((Counter(run.errors) for run in runs), Counter()).items())),
        mean_ms=_milliseconds(np.mean, pooled),
        p50_ms=percentile(50),
        p90_ms=percentile(90),
        p99_ms=percentile(99),
        max_ms=_milliseconds(np.max, pooled),
        throughput=spread(rates),
        round_p50_ms=spread(told) if told else None,
        driver_cpu=round(max(run.cpu_seconds / run.seconds for run in runs), 3),
        late_p99_ms=_milliseconds(lambda values: np.percentile(values, 99), late),
        rounds={"throughput": [round(rate, 4) for rate in rates], "p50_ms": medians},
    )


def _milliseconds(of: Callable[[Any], Any], seconds: Any) -> float | None:
    return round(1000 * float(of(seconds)), 4) if len(seconds) else None


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


Positive = Annotated[float, Meta(gt=0, lt=1e9)]
Open = Annotated[int, Meta(ge=1, le=512)]
"""select() takes no more than 1,024 files, and each request may have a connection."""


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

    clients: Annotated[tuple[Open, ...], Meta(min_length=1)] = (1, 2, 4, 8, 16, 32, 64)
    rates: tuple[Positive, ...] = ()
    shares: tuple[Positive, ...] = (0.5, 0.8)
    rounds: Count = 2
    seconds: Positive = 1.0
    warm_up: Positive = 0.15
    requests: Count = 20_000
    in_flight: Open = 256
    limit: Positive = 280.0

    def __post_init__(self) -> None:
        check_fields(self, InputError)

    @property
    def steps(self) -> int:
        return self.rounds * (len(self.clients) + len(self.rates or self.shares))


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

    def __post_init__(self) -> None:
        if len({target.name for target in self.targets}) < len(self.targets):
            raise InputError("two endpoints have the same name; give them as NAME=URL")

    async def run(self) -> None:
        """Measure all of it; what there is no time for is left out and counted."""
        plan, rates, started = self.plan, {}, time.perf_counter()
        for number in range(plan.rounds):
            # Each second round the other way round, so that none always follows the same one.
            order = list(self.targets)[:: -1 if number % 2 else 1]
            for clients in plan.clients:
                for target in order:
                    await self._step(target, "closed", clients, started)
            # A target that answered nothing has no rates of arrival.
            rates = rates or {t.name: plan.rates or self._rates(t) for t in order}
            for position in range(len(plan.rates or plan.shares)):
                for target in order:
                    if position < len(rates[target.name]):
                        await self._step(target, "open", rates[target.name][position], started)
                    else:
                        self.done += 1
        self.seconds = time.perf_counter() - started

    def _rates(self, target: Target) -> tuple[float, ...]:
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
            for level in self.figures(target, "closed")[:1]:
                if told := [p50 for p50 in level.rounds["p50_ms"] if p50]:
                    found[target.name] = told
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        pairs = itertools.permutations(self.targets, 2)
        return {
            "seconds": round(self.seconds, 1),
            "steps_left_out": self.left_out,
            "targets": [self._told(target) for target in self.targets],
            "comparisons": [found for pair in pairs for found in self._compared(*pair)],
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

    def _compared(self, ours: Target, theirs: Target) -> Iterator[dict[str, Any]]:
        """Compare with what is to be compared: by the same protocol, where the other speaks it."""
        if ours.endpoint.against != theirs.endpoint.name:
            return
        spoken = {t.protocol for t in self.targets if t.endpoint.name == theirs.endpoint.name}
        if ours.protocol in spoken and ours.protocol != theirs.protocol:
            return
        others = {figures.level: figures for figures in self.figures(theirs, "closed")}
        for figures in self.figures(ours, "closed"):
            there = others.get(figures.level)
            if there is not None and (ratio := ratios(figures, there)) is not None:
                names = {"target": ours.name, "against": theirs.name}
                yield {**names, "clients": int(figures.level), **ratio}
