"""Whether a server is live, ready, the right model, really answering, and how fast.

A server can be ready and fail at every inference, so that only an answer proves that it works.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ov_emotions.bundle import Bundle
from ov_emotions.client.caller import connect
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.probes import PROBES
from ov_emotions.client.session import ServerSession
from ov_emotions.client.url import parse_model_url
from ov_emotions.errors import OvEmotionsError

_AGAIN = 0.05
"""Two answers to one text differ this much at most, in INT8 and in batches of other shapes."""

_BATCH = 64


@dataclass(frozen=True)
class CheckStep:
    """One thing that was looked at.

    :param name: what.
    :param ok: whether it is as it should be; None if it could not be looked at.
    :param detail: what was found, in words.
    """

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class Speed:
    """How fast a server answered, seen from here: network and client included.

    :param requests: single texts, one after the other.
    :param p50_ms: milliseconds that half of them took at most; the next ones in the same way.
    :param texts_per_second: of one call with `batch` texts.
    """

    requests: int
    p50_ms: float
    p90_ms: float
    max_ms: float
    texts_per_second: float
    batch: int

    def __str__(self) -> str:
        return (
            f"one text: p50 {self.p50_ms:.1f} ms, p90 {self.p90_ms:.1f} ms, slowest "
            f"{self.max_ms:.1f} ms of {self.requests}; {self.batch} texts at once: "
            f"{self.texts_per_second:,.0f} a second"
        )


@dataclass(frozen=True)
class CheckReport:
    """What was found out about a server.

    :param url: that was checked.
    :param steps: in the order they were taken.
    :param speed: None if it did not answer.
    """

    url: str
    steps: tuple[CheckStep, ...]
    speed: Speed | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is as it should be."""
        return all(step.ok for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"ok": self.ok, **asdict(self)}


async def check_server(
    url: str,
    *,
    expected: Bundle | None = None,
    metadata_url: str | None = None,
    options: ServerOptions | None = None,
    requests: int = 20,
) -> CheckReport:
    """Look at a server step by step; a step that fails is reported, not raised.

    :raises InputError: if the URL or an option is wrong.
    :raises MissingExtraError: if the client's libraries are not installed.
    """
    options = options or ServerOptions()
    transport = connect(parse_model_url(url), options)
    limit = options.timeout
    try:
        steps = [await _look("live", transport.health("live", limit))]
        if steps[0].ok:
            steps += [
                await _look("ready", transport.health("ready", limit)),
                await _look("server", transport.server(limit)),
                await _look("model ready", transport.health("model", limit)),
            ]
    finally:
        await transport.close()
    rest = ["model", "inference", "speed"]
    speed = None
    if steps[0].ok:
        session = None
        try:
            session = await ServerSession.open(
                url, expected=expected, metadata_url=metadata_url, options=options
            )
            steps.append(CheckStep(rest.pop(0), True, _told(session)))
            steps.append(await _infer(session, compared=expected is not None))
            rest.pop(0)
            if steps[-1].ok:
                speed = await _time(session, requests)
                steps.append(CheckStep(rest.pop(0), True, str(speed)))
        except OvEmotionsError as error:
            steps.append(CheckStep(rest.pop(0), False, str(error)))
        finally:
            if session is not None:
                await session.close()
    untried = [CheckStep(name, None, "not tried") for name in rest]
    return CheckReport(url, (*steps, *untried), speed)


async def _look(name: str, request: Awaitable[bool | str]) -> CheckStep:
    start = time.perf_counter()
    try:
        found = await request
    except OvEmotionsError as error:
        return CheckStep(name, False, str(error))
    took = f"{1000 * (time.perf_counter() - start):.1f} ms"
    if isinstance(found, str):
        return CheckStep(name, True, found)
    return CheckStep(name, found, f"yes, {took}" if found else "no, says the server")


def _told(session: ServerSession) -> str:
    facts, signature = session.served.facts, session.served.signature
    return (
        f"{facts.name}, takes {signature.takes}, {len(facts.labels)} labels "
        f"({', '.join(facts.labels)}), {facts.normalizer}, {facts.max_length} tokens; "
        f"{session.served.proof or 'not compared with a bundle'}"
    )


async def _infer(session: ServerSession, *, compared: bool) -> CheckStep:
    texts = list(PROBES[:4])
    first, again = await session.scores(texts), await session.scores(texts)
    if np.abs(first.scores - again.scores).max() > _AGAIN:
        return CheckStep("inference", False, "the same texts got other probabilities the next time")
    best = int(first.scores[0].argmax())
    told = f"«{texts[0]}»: {first.facts.labels[best]} {first.scores[0][best]:.2f}"
    if not compared:
        return CheckStep("inference", True, told)
    found = await session.probe()
    if not found.wrong:
        told += f"; the bundle here differs by {found.difference:.4f}"
        return CheckStep("inference", True, told)
    told += f"; but the bundle here differs by {found.difference:.3f}: {found.wrong[0]}"
    return CheckStep("inference", False, told)


async def _time(session: ServerSession, requests: int) -> Speed:
    times = []
    for i in range(requests):
        start = time.perf_counter()
        await session.scores([PROBES[i % len(PROBES)]])
        times.append(1000 * (time.perf_counter() - start))
    batch = [PROBES[i % len(PROBES)] for i in range(_BATCH)]
    start = time.perf_counter()
    await session.scores(batch)
    took = time.perf_counter() - start
    p50, p90 = np.percentile(times, [50, 90])
    return Speed(requests, float(p50), float(p90), max(times), _BATCH / took, _BATCH)
