"""The measurement: targets take turns at every level of load, round after round."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from benchmarks.serving.figures import Figures, Kind, knee, peak, ratios, summarise
from benchmarks.serving.load import Limits, Run, closed_loop, open_loop
from benchmarks.serving.target import Target
from ov_emotions.errors import InputError

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
        """Steps a target takes."""
        return self.rounds * (len(self.clients) + len(self.rates or self.shares))


def _check_positive(name: str, value: float) -> None:
    if not isfinite(value) or value <= 0:
        raise InputError(f"{name} must be above 0, not {value}")


@dataclass(frozen=True)
class Comparison:
    """Two targets at one level of a closed loop.

    :param target: the one.
    :param against: the other, which is 1.
    :param clients: of the closed loop.
    :param throughput: ratio over the rounds.
    :param p50: the same of the median latency.
    """

    target: str
    against: str
    clients: int
    throughput: dict[str, float]
    p50: dict[str, float]


@dataclass(frozen=True)
class TargetResult:
    """What was found of one target."""

    target: Target
    closed: tuple[Figures, ...]
    open: tuple[Figures, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        bend = knee(self.closed)
        return {
            "name": self.target.name,
            "endpoint": self.target.endpoint.name,
            "protocol": self.target.protocol,
            "takes": self.target.takes,
            "server": self.target.server,
            "texts_per_request": max(self.target.rows),
            "knee_clients": None if bend is None else bend.level,
            "peak_throughput": peak(self.closed),
            "closed": [figures.to_dict() for figures in self.closed],
            "open": [figures.to_dict() for figures in self.open],
        }


@dataclass
class _Campaign:
    plan: Plan
    targets: Sequence[Target]
    tell: Tell
    started: float = field(default_factory=time.perf_counter)
    done: int = 0
    left_out: int = 0
    runs: dict[tuple[str, Kind, float], list[Run]] = field(default_factory=dict)
    rates: dict[str, tuple[float, ...]] = field(default_factory=dict)

    async def run(self) -> None:
        for number in range(self.plan.rounds):
            # Each second round the other way round, so that none always follows the same one.
            order = list(self.targets)[:: -1 if number % 2 else 1]
            for clients in self.plan.clients:
                for target in order:
                    await self.step(target, "closed", clients)
            for target in order if not number else ():
                self.rates[target.name] = self.choose_rates(target)
            for position in range(len(self.plan.rates or self.plan.shares)):
                for target in order:
                    rates = self.rates[target.name]
                    if position < len(rates):
                        await self.step(target, "open", rates[position])
                    else:
                        self.done += 1

    def choose_rates(self, target: Target) -> tuple[float, ...]:
        """The rates of arrival; none for a target that answered nothing."""
        if self.plan.rates:
            return self.plan.rates
        highest = peak(self.figures(target, "closed"))
        return tuple(round(share * highest, 1) for share in self.plan.shares if highest >= 1)

    async def step(self, target: Target, kind: Kind, level: float) -> None:
        self.tell(self.done, self.plan.steps * len(self.targets), target.name)
        self.done += 1
        if time.perf_counter() - self.started > self.plan.limit:
            self.left_out += 1
            return
        plan = self.plan
        limits = Limits(plan.seconds, plan.requests, plan.in_flight)
        async with target.connected() as send:
            clients = int(level) if kind == "closed" else _WARMING_CLIENTS
            await closed_loop(send, clients, Limits(plan.warm_up, plan.requests))
            if kind == "closed":
                run = await closed_loop(send, clients, limits)
            else:
                run = await open_loop(send, level, limits)
        self.runs.setdefault((target.name, kind, level), []).append(run)

    def figures(self, target: Target, kind: Kind) -> tuple[Figures, ...]:
        return tuple(
            summarise(kind, level, runs)
            for (name, found, level), runs in self.runs.items()
            if (name, found) == (target.name, kind)
        )


@dataclass(frozen=True)
class Measured:
    """All that was found.

    :param left_out: steps for which there was no time.
    :param seconds: that it took.
    """

    results: tuple[TargetResult, ...]
    comparisons: tuple[Comparison, ...]
    left_out: int
    seconds: float

    def round_latencies(self) -> dict[str, list[float]]:
        """Give the median latencies of each target's first level of load, round by round."""
        found = {}
        for result in self.results:
            told = (
                [p50 for p50 in result.closed[0].rounds["p50_ms"] if p50] if result.closed else []
            )
            if told:
                found[result.target.name] = told
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "seconds": round(self.seconds, 1),
            "steps_left_out": self.left_out,
            "targets": [result.to_dict() for result in self.results],
            "comparisons": [vars(comparison) for comparison in self.comparisons],
        }


async def measure(targets: Sequence[Target], plan: Plan, tell: Tell) -> Measured:
    """Measure targets in turns: at each level of load one after the other, round after round.

    :param targets: with names of their own.
    :param plan: what to measure.
    :param tell: hears how far it is.
    :return: what was found; a target that fails has its errors counted.
    :raises InputError: if two targets have the same name.
    """
    if len({target.name for target in targets}) < len(targets):
        raise InputError("two endpoints have the same name; give them as NAME=URL")
    campaign = _Campaign(plan, targets, tell)
    await campaign.run()
    results = tuple(
        TargetResult(target, campaign.figures(target, "closed"), campaign.figures(target, "open"))
        for target in targets
    )
    seconds = time.perf_counter() - campaign.started
    return Measured(results, tuple(_compare(results)), campaign.left_out, seconds)


def _compare(results: Sequence[TargetResult]) -> list[Comparison]:
    found = []
    for result, other in itertools.permutations(results, 2):
        ours, theirs = result.target, other.target
        if ours.endpoint.against != theirs.endpoint.name or not _comparable(ours, theirs, results):
            continue
        others = {figures.level: figures for figures in other.closed}
        for figures in result.closed:
            there = others.get(figures.level)
            ratio = None if there is None else ratios(figures, there)
            if ratio is not None:
                found.append(Comparison(ours.name, theirs.name, int(figures.level), **ratio))
    return found


def _comparable(ours: Target, theirs: Target, results: Sequence[TargetResult]) -> bool:
    """By the same protocol, where the other endpoint speaks it."""
    protocols = {
        r.target.protocol for r in results if r.target.endpoint.name == theirs.endpoint.name
    }
    return ours.protocol not in protocols or ours.protocol == theirs.protocol
