"""The two kinds of load: closed loops, and arrivals at a fixed rate.

A closed loop waits for an answer before it asks again, so that a slow server slows its clients
down and is asked less. Arrivals at a fixed rate do not wait: each request has a time at which it is
to be sent, and its latency counts from that time even where it was sent later. A load that only
counts from the sending leaves out what users wait for ("coordinated omission": G. Tene, How NOT to
Measure Latency, 2013; B. Schroeder et al., Open Versus Closed: A Cautionary Tale, NSDI 2006).
"""

from __future__ import annotations

import asyncio
import itertools
import re
import selectors
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import ServerError

T = TypeVar("T")

Send = Callable[[int], Awaitable[None]]
"""Makes the request of a number, and raises ServerError where it fails."""

NOT_SENT = "not sent"
"""The kind of error of an arrival for which there was no room: too many were under way."""

_KINDS = (
    (r"did not answer within", "timeout"),
    (r"cannot be reached", "unreachable"),
    (r"broke the connection|does not speak HTTP", "broken connection"),
    (r"cannot answer now \((\w+)\)", "unavailable {}"),
    (r"refused the request \((\w+)\)", "refused {}"),
)


@dataclass(frozen=True)
class Limits:
    """What ends one step.

    :param requests: that are sent at most.
    :param in_flight: arrivals that may be under way; further ones are not sent, and counted.
    """

    seconds: float = 1.0
    requests: int = 20_000
    in_flight: int = 256


@dataclass(frozen=True)
class Run:
    """What one step of load saw.

    :param latencies: float64, shape (answered,): seconds from the time at which a request was to be
        sent to its answer.
    :param errors: failed requests by kind.
    :param seconds: from the start to the last answer.
    :param cpu_seconds: that this process computed meanwhile.
    :param lateness: float64: seconds by which arrivals were sent later than they were to be; empty
        for a closed loop.
    """

    latencies: NDArray[np.float64]
    errors: Mapping[str, int]
    seconds: float
    cpu_seconds: float
    lateness: NDArray[np.float64]


@dataclass
class _Recorder:
    start: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)
    latencies: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    async def record(self, request: Awaitable[None], since: float) -> None:
        try:
            await request
        except ServerError as error:
            self.errors[error_kind(error)] += 1
        else:
            self.latencies.append(time.perf_counter() - since)

    def run(self) -> Run:
        return Run(
            np.array(self.latencies),
            dict(self.errors),
            max(time.perf_counter() - self.start, 1e-9),
            time.process_time() - self.cpu,
            np.array(self.lateness),
        )


async def closed_loop(send: Send, clients: int, limits: Limits) -> Run:
    """Let clients ask, each again as soon as it was answered.

    :param limits: when they stop; what is under way then is waited for and counted.
    """
    recorder = _Recorder()
    numbers = iter(range(limits.requests))
    end = recorder.start + limits.seconds

    async def client() -> None:
        while (since := time.perf_counter()) < end:
            number = next(numbers, None)
            if number is None:
                return
            await recorder.record(send(number), since)

    await asyncio.gather(*(client() for _ in range(clients)))
    return recorder.run()


async def open_loop(send: Send, rate: float, limits: Limits) -> Run:
    """Let requests arrive evenly, whether those before were answered or not.

    :param rate: arrivals a second.
    :param limits: for how long; what is under way then is waited for and counted.
    :return: what was seen; latencies count from the time of arrival.
    """
    recorder = _Recorder()
    under_way: set[asyncio.Task[None]] = set()
    for number in itertools.takewhile(
        lambda n: n < limits.requests and n / rate < limits.seconds, itertools.count()
    ):
        arrival = recorder.start + number / rate
        # Also where it is late already: answers shall be read meanwhile.
        await asyncio.sleep(max(arrival - time.perf_counter(), 0))
        if len(under_way) >= limits.in_flight:
            recorder.errors[NOT_SENT] += 1
            continue
        recorder.lateness.append(time.perf_counter() - arrival)
        task = asyncio.ensure_future(recorder.record(send(number), arrival))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return recorder.run()


def error_kind(error: ServerError) -> str:
    """Put a failure into a kind, for counting.

    :return: `timeout`, `unreachable`, `refused 400` and so on; `wrong answer` for what was answered
        and makes no sense.
    """
    for pattern, kind in _KINDS:
        if found := re.search(pattern, str(error)):
            return kind.format(*found.groups())
    return "wrong answer"


def run_precisely(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop that wakes up in time.

    The default loop sleeps in whole milliseconds (epoll), as long as an inference takes; select
    keeps to microseconds.
    """

    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)
