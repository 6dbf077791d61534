"""Concurrent requests share inferences.

One thread takes what waits, up to a budget of tokens, and calls the classifier once for all of it.
While it computes, the next batch gathers; so a lone client is served at once and a crowd in
batches. Where the last batch had company, the thread waits a little for those who were just
answered to ask again. A request larger than the budget is computed in parts, and goes to the back
of the queue after each, so that it cannot hold up small ones.

Tokens are estimated from characters: to count them would be to tokenise twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.server.refusal import RefusedError

_LOGGER = logging.getLogger(__name__)

Truncated = list[bool | None]
Scores = tuple[NDArray[np.float32], Truncated]
Score = Callable[[Sequence[str]], tuple[NDArray[np.float32], Sequence[bool | None]]]

_CHARACTERS_PER_TOKEN = 4
_SPECIAL_TOKENS = 3
_SMOOTHING = 0.2
_MAX_RETRY_AFTER = 60


@dataclass(frozen=True)
class BatchReport:
    """What one inference was.

    :param requests: that it computed, or parts of.
    :param texts: in it.
    :param tokens: in it, estimated.
    :param seconds: that it took.
    :param waited: seconds that the request that waited longest had waited.
    """

    requests: int
    texts: int
    tokens: int
    seconds: float
    waited: float


@dataclass(frozen=True)
class BatchLimits:
    """Sizes and times of a `Batcher`.

    :param tokens: of a batch, about.
    :param wait: seconds that a batch waits for company at most.
    :param queue_tokens: that may wait, about.
    :param queue_requests: that may wait.
    """

    tokens: int
    wait: float
    queue_tokens: int
    queue_requests: int


@dataclass(eq=False)
class _Job:
    """A request in the queue.

    :param ends: int64, shape (texts,): running sum of the texts' estimated tokens.
    :param taken: texts that were computed or are being computed.
    """

    texts: Sequence[str]
    ends: NDArray[np.int64]
    deadline: float
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Scores]
    queued: float
    taken: int = 0
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    truncated: Truncated = field(default_factory=list)

    @property
    def waiting_tokens(self) -> int:
        return int(self.ends[-1] - (self.ends[self.taken - 1] if self.taken else 0))

    def take(self, tokens: int) -> range:
        """Hand out the next texts that fit, at least one."""
        start = self.taken
        before = int(self.ends[start - 1]) if start else 0
        stop = int(np.searchsorted(self.ends, before + tokens, side="right"))
        self.taken = max(stop, start + 1)
        return range(start, self.taken)


_Part = tuple[_Job, range]


class Batcher:
    """Merges the requests of any number of event loops into batches for one classifier.

    :param score: gives probabilities, float32 of shape (texts, labels), and whether each text was
        truncated; called in one thread only.
    :param limits: sizes and times.
    :param report: hears of every batch, in that thread.
    """

    def __init__(
        self, score: Score, limits: BatchLimits, report: Callable[[BatchReport], None] | None = None
    ) -> None:
        self._score = score
        self._limits = limits
        self._report = report
        self._jobs: deque[_Job] = deque()
        self._tokens = 0
        self._company = 1
        self._rate = 0.0
        self._stopping = False
        self._wanted = math.inf  # jobs for which the thread wants to be woken; inf while computing
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="ov-emotions-batches", daemon=True)
        self._thread.start()

    @property
    def waiting_requests(self) -> int:
        """Requests in the queue."""
        return len(self._jobs)

    @property
    def waiting_tokens(self) -> int:
        """Estimated tokens in the queue."""
        return self._tokens

    @property
    def stopping(self) -> bool:
        """Whether new requests are refused."""
        return self._stopping

    async def score(
        self, texts: Sequence[str], deadline: float, gone: asyncio.Future[Any] | None = None
    ) -> Scores:
        """Have texts classified together with those of others.

        :param texts: raw texts.
        :param deadline: of the event loop's clock, at which the answer is of no use any more.
        :param gone: ends the wait when it is done, by its exception.
        :return: float32, shape (texts, labels); and whether each text was truncated.
        :raises RefusedError: 429 if the queue is full, 503 if the server is stopping, 504 at the
            deadline.
        :raises OvEmotionsError: if the model fails.
        """
        loop = asyncio.get_running_loop()
        job = self._submit(texts, deadline - loop.time(), loop)
        if gone is not None:
            gone.add_done_callback(lambda done: _pass_on(done, job.result))
        try:
            async with asyncio.timeout_at(deadline):
                return await job.result
        except TimeoutError:
            raise _too_late(job) from None
        finally:
            if job.taken < len(texts):
                self._abandon(job)

    def drain(self) -> None:
        """Refuse new requests; those in the queue are computed."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def close(self, timeout: float | None = None) -> None:
        """Refuse new requests, compute those in the queue, and end.

        :param timeout: seconds to wait for that; None for as long as it takes.
        """
        self.drain()
        self._thread.join(timeout)

    def _submit(
        self, texts: Sequence[str], seconds: float, loop: asyncio.AbstractEventLoop
    ) -> _Job:
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        now = time.monotonic()
        job = _Job(
            texts,
            np.cumsum(lengths // _CHARACTERS_PER_TOKEN + _SPECIAL_TOKENS),
            now + seconds,
            loop,
            loop.create_future(),
            now,
        )
        with self._changed:
            self._admit(job)
            self._jobs.append(job)
            self._tokens += job.waiting_tokens
            if len(self._jobs) >= self._wanted or self._tokens >= self._limits.tokens:
                self._changed.notify()
        return job

    def _admit(self, job: _Job) -> None:
        if self._stopping:
            raise RefusedError(
                503, "stopping", "the server is stopping; ask another one", {"Retry-After": "5"}
            )
        limits = self._limits
        # One request alone always has room: its own size is limited elsewhere.
        full = self._tokens + job.waiting_tokens > limits.queue_tokens and self._jobs
        if full or len(self._jobs) >= limits.queue_requests:
            seconds = self._seconds_ahead()
            raise RefusedError(
                429,
                "queue_full",
                f"the server is busy: {len(self._jobs)} requests wait already; "
                f"try again in {seconds} s",
                {"Retry-After": str(seconds)},
            )

    def _seconds_ahead(self) -> int:
        seconds = self._tokens / self._rate if self._rate else 1.0
        return min(max(math.ceil(seconds), 1), _MAX_RETRY_AFTER)

    def _abandon(self, job: _Job) -> None:
        """Take a job that nobody waits for any more out of the queue."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._tokens -= job.waiting_tokens

    def _work(self) -> None:
        while (parts := self._take()) is not None:
            self._compute(parts)

    def _take(self) -> list[_Part] | None:
        """Wait for work, and for company where there was some; None when there is no more."""
        with self._changed:
            while not self._jobs:
                if self._stopping:
                    return None
                self._wait(1, None)
            end = self._jobs[0].queued + self._limits.wait
            while (
                0 < len(self._jobs) < self._company
                and self._tokens < self._limits.tokens
                and not self._stopping
                and (left := end - time.monotonic()) > 0
            ):
                self._wait(self._company, left)
            return self._form()

    def _wait(self, wanted: int, seconds: float | None) -> None:
        self._wanted = wanted
        self._changed.wait(seconds)
        self._wanted = math.inf

    def _form(self) -> list[_Part]:
        parts: list[_Part] = []
        unfinished: list[_Job] = []
        room = self._limits.tokens
        now = time.monotonic()
        while self._jobs and room > 0:
            job = self._jobs[0]
            if job.deadline <= now:
                self._jobs.popleft()  # its caller is told by its own clock
                self._tokens -= job.waiting_tokens
                continue
            before = job.waiting_tokens
            if parts and before > room and before <= self._limits.tokens:
                break  # whole in the next batch rather than in two
            part = job.take(room)
            self._jobs.popleft()
            taken = before - job.waiting_tokens
            self._tokens -= taken
            room -= taken
            parts.append((job, part))
            if job.taken < len(job.texts):
                unfinished.append(job)
        self._jobs.extend(unfinished)
        self._company = max(len(parts), 1)
        return parts

    def _compute(self, parts: list[_Part]) -> None:
        if not parts:
            return
        texts = [text for job, rows in parts for text in job.texts[rows.start : rows.stop]]
        start = time.monotonic()
        try:
            scores, truncated = self._score(texts)
        except Exception as error:
            if len(parts) == 1:
                _LOGGER.error("a batch of %d texts failed: %s", len(texts), error)
                self._deliver([(parts[0][0], error)])
                return
            # One request shall not fail because it shared a batch with another.
            for part in parts:
                self._compute([part])
            return
        seconds = time.monotonic() - start
        done: list[tuple[_Job, Scores | Exception]] = []
        at = 0
        for job, rows in parts:
            job.scores.append(scores[at : at + len(rows)])
            job.truncated.extend(truncated[at : at + len(rows)])
            at += len(rows)
            if len(job.truncated) == len(job.texts):
                whole = job.scores[0] if len(job.scores) == 1 else np.concatenate(job.scores)
                done.append((job, (whole, job.truncated)))
        self._deliver(done)
        self._tell(parts, len(texts), start, seconds)

    def _tell(self, parts: list[_Part], texts: int, start: float, seconds: float) -> None:
        tokens = sum(
            int(job.ends[rows.stop - 1] - (job.ends[rows.start - 1] if rows.start else 0))
            for job, rows in parts
        )
        rate = tokens / max(seconds, 1e-6)
        self._rate = rate if not self._rate else self._rate + _SMOOTHING * (rate - self._rate)
        if self._report is not None:
            waited = start - min(job.queued for job, _ in parts)
            self._report(BatchReport(len(parts), texts, tokens, seconds, waited))

    def _deliver(self, done: list[tuple[_Job, Scores | Exception]]) -> None:
        """Tell the callers, with one wake-up of each event loop."""
        loops = {job.loop for job, _ in done}
        for loop in loops:
            theirs = [(job, found) for job, found in done if job.loop is loop]
            try:
                loop.call_soon_threadsafe(_settle, theirs)
            except RuntimeError:  # the loop was closed, and its callers with it
                _LOGGER.debug("nobody waits for %d answers any more", len(theirs))


def _settle(done: list[tuple[_Job, Scores | Exception]]) -> None:
    for job, found in done:
        if job.result.done():
            continue  # gone, or too late
        if isinstance(found, Exception):
            job.result.set_exception(found)
        else:
            job.result.set_result(found)


def _pass_on(done: asyncio.Future[Any], result: asyncio.Future[Scores]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None and not result.done():
        result.set_exception(error)


def _too_late(job: _Job) -> RefusedError:
    where = "was being computed" if job.taken else "waited in the queue"
    return RefusedError(
        504,
        "deadline",
        f"there was no answer in time: the request still {where}; send fewer texts at once, or "
        "try again later",
        {"Retry-After": "1"},
    )
