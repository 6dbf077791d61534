"""Whether a server is live, ready, the right model, really answering, and how fast.

A server can be ready and fail at every inference, so that only an answer proves that it works.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ov_emotions.bundle import Bundle
from ov_emotions.client.call import connect
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.session import ServerSession
from ov_emotions.client.url import parse_model_url
from ov_emotions.errors import OvEmotionsError, ServerError

T = TypeVar("T")

PROBES = (
    "я так рада вас всех видеть",
    "какой ужас я очень боюсь",
    "да как вы смеете я в ярости",
    "поезд отправляется в девять часов",
)
"""Texts that are sent; whatever a model makes of them, it must make it in the same way twice."""

TOLERANCE = 0.02
"""The probes' probabilities in INT8 differ this much at most between machines and batches."""

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
    :param p50_ms: milliseconds that half of them took at most.
    :param p90_ms: milliseconds that nine of ten took at most.
    :param max_ms: milliseconds of the slowest.
    :param texts_per_second: of one call with `batch` texts.
    :param batch: texts in that call.
    """

    requests: int
    p50_ms: float
    p90_ms: float
    max_ms: float
    texts_per_second: float
    batch: int


@dataclass(frozen=True)
class CheckReport:
    """What was found out about a server.

    :param url: that was checked.
    :param steps: in the order they were taken.
    :param speed: None if it did not answer.
    """

    url: str
    steps: tuple[CheckStep, ...]
    speed: Speed | None

    @property
    def ok(self) -> bool:
        """Whether everything is as it should be."""
        return all(step.ok for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        from dataclasses import asdict

        return {"ok": self.ok, **asdict(self)}


async def check_server(
    url: str,
    *,
    bundle: Bundle | None = None,
    metadata_url: str | None = None,
    options: ServerOptions | None = None,
    requests: int = 20,
) -> CheckReport:
    """Look at a server step by step; a step that fails is reported, not raised.

    :param url: of the served model.
    :param bundle: the model that should be served; its answers are compared too.
    :param metadata_url: REST URL of the same server.
    :param options: time limits, TLS, headers.
    :param requests: single texts to time.
    :return: what was found.
    :raises InputError: if the URL or an option is wrong.
    :raises MissingExtraError: if the client's libraries are not installed.
    """
    options = options or ServerOptions()
    address = parse_model_url(url)
    transport = connect(address, options)
    limit = options.timeout
    try:
        steps = [await _look("live", lambda: transport.live(limit))]
        if steps[0].ok:
            steps += [
                await _look("ready", lambda: transport.ready(limit)),
                await _look("server", lambda: transport.server(limit)),
                await _look("model ready", lambda: transport.model_ready(limit)),
            ]
    finally:
        await transport.close()
    if not steps[0].ok:
        return CheckReport(url, (*steps, *_untried("model", "inference", "speed")), None)
    try:
        session = await ServerSession.open(
            url, bundle=bundle, metadata_url=metadata_url, options=options
        )
    except ServerError as error:
        failed = CheckStep("model", False, str(error))
        return CheckReport(url, (*steps, failed, *_untried("inference", "speed")), None)
    try:
        steps.append(CheckStep("model", True, _told(session, bundle)))
        answered = await _infer(session, bundle)
        steps.append(answered)
        speed = await _time(session, requests) if answered.ok else None
    except ServerError as error:
        steps.append(CheckStep("speed", False, str(error)))
        return CheckReport(url, tuple(steps), None)
    finally:
        await session.close()
    steps.append(_speed_step(speed))
    return CheckReport(url, tuple(steps), speed)


def _untried(*names: str) -> list[CheckStep]:
    return [CheckStep(name, None, "not tried") for name in names]


async def _look(name: str, request: Callable[[], Awaitable[bool | str]]) -> CheckStep:
    start = time.perf_counter()
    try:
        found = await request()
    except OvEmotionsError as error:
        return CheckStep(name, False, str(error))
    took = f"{1000 * (time.perf_counter() - start):.1f} ms"
    if isinstance(found, str):
        return CheckStep(name, True, found)
    return CheckStep(name, found, f"yes, {took}" if found else "no, says the server")


def _told(session: ServerSession, bundle: Bundle | None) -> str:
    facts, signature = session.facts, session.signature
    compared = "not compared with a bundle"
    if bundle is not None:
        compared = f"the same as {bundle.manifest.name} here"
    return (
        f"{facts.name}, takes {signature.takes}, {len(facts.labels)} labels "
        f"({', '.join(facts.labels)}), {facts.normalizer}, {facts.max_length} tokens; {compared}"
    )


async def _infer(session: ServerSession, bundle: Bundle | None) -> CheckStep:
    try:
        scores, _ = await session.scores(PROBES)
        again, _ = await session.scores(PROBES)
    except ServerError as error:
        return CheckStep("inference", False, str(error))
    if np.abs(scores - again).max() > TOLERANCE:
        return CheckStep("inference", False, "the same texts got other probabilities the next time")
    best = int(scores[0].argmax())
    told = f"«{PROBES[0]}»: {session.facts.labels[best]} {scores[0][best]:.2f}"
    if bundle is None:
        return CheckStep("inference", True, told)
    worst = float(np.abs(scores - _local(session, bundle)).max())
    if worst > TOLERANCE:
        return CheckStep("inference", False, f"{told}; but the bundle here differs by {worst:.3f}")
    return CheckStep("inference", True, f"{told}; the bundle here differs by {worst:.4f}")


def _local(session: ServerSession, bundle: Bundle) -> Any:
    from ov_emotions.classifier import EmotionClassifier

    takes_text = session.signature.takes == "text"
    long_texts = session.facts.long_texts if takes_text else "window"
    with EmotionClassifier(bundle, long_texts=long_texts) as classifier:
        return classifier.predict_proba(PROBES)


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


def _speed_step(speed: Speed | None) -> CheckStep:
    if speed is None:
        return _untried("speed")[0]
    return CheckStep(
        "speed",
        True,
        f"one text: p50 {speed.p50_ms:.1f} ms, p90 {speed.p90_ms:.1f} ms, slowest "
        f"{speed.max_ms:.1f} ms of {speed.requests}; {speed.batch} texts at once: "
        f"{speed.texts_per_second:,.0f} a second",
    )
