"""Concurrent requests share inferences, and only what can be answered in time is taken.

A thread takes what waits, up to a budget of tokens, and calls the classifier once for all of it.
While it computes, the next batch gathers; so a lone client is served at once and a crowd in
batches. Where the last batch had company, the thread waits a little for those who were just
answered to ask again. Of a crowd, a second thread computes the next batch beside the first, each on
cores of its own: neither waits for the other, nor for answers to be written.

Requests are served in order of their deadlines, and a large one is computed in parts until it is
done: large ones that took turns would all be late together. Small ones go into the batches of a
large one only as long as every large one still meets its deadline.

A request is taken if what waits before it and itself fit into the time it has, at the rate that
full batches had lately. Else it is refused at once, with the time after which it would fit.

Tokens are estimated from characters: to count them would be to tokenise twice. The rate is in the
same estimated tokens, so an error of the estimate cancels out.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.server.answers import RefusedError

_LOGGER = logging.getLogger(__name__)

Truncated = list[bool | None]
Scores = tuple[NDArray[np.float32], Truncated]
Score = Callable[[Sequence[str]], tuple[NDArray[np.float32], Sequence[bool | None]]]

_CHARACTERS_PER_TOKEN = 4
_SPECIAL_TOKENS = 3

_MEMORY = 5.0
"""Seconds of computing after which an old rate counts for 1/e."""
_FULL = 0.5
"""A batch of this part of the budget tells what full batches make; smaller ones are slower."""
_COLD = 2
"""Batches at the start that tell nothing: models are compiled as the first texts come."""
_FRESH = 10.0
"""Seconds for which a rate is believed; later an idle server tries what it takes to be too much."""
_KEPT = 0.9
"""The part of the time until its deadline that a request may be planned to need."""
_HOPELESS = 1.2
"""A request is given up if it would be ready after this many times the time that is left."""


@dataclass(frozen=True)
class BatchReport:
    """What one inference was.

    :param requests: that it computed, or parts of.
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


class Rate:
    """Estimated tokens a second, learnt from batches.

    :param known: what another batcher of the same kind of model had learnt; 0 for nothing.
    """

    def __init__(self, tokens: int, known: float = 0.0) -> None:
        self.value = known
        self.learnt = time.monotonic()
        self._full = _FULL * tokens
        self._cold = 0 if known else _COLD
        self._tokens = self._seconds = 0.0

    def learn(self, tokens: int, seconds: float) -> None:
        """Hear of a batch."""
        if self._cold > 0:
            self._cold -= 1
            return
        seconds = max(seconds, 1e-6)
        if tokens >= self._full:
            kept = math.exp(-seconds / _MEMORY)
            self._tokens = kept * self._tokens + tokens
            self._seconds = kept * self._seconds + seconds
            self.value = self._tokens / self._seconds
            self.learnt = time.monotonic()
        elif not self._seconds:
            self.value = max(self.value, tokens / seconds)


@dataclass(eq=False)
class Job:
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
    scored: int = 0
    parts: dict[int, tuple[NDArray[np.float32], Sequence[bool | None]]] = field(
        default_factory=dict
    )

    @property
    def waiting_tokens(self) -> int:
        """Estimated tokens of the texts that were not handed out yet."""
        return int(self.ends[-1] - (self.ends[self.taken - 1] if self.taken else 0))

    def take(self, tokens: int) -> range:
        """Hand out the next texts that fit, at least one."""
        start = self.taken
        before = int(self.ends[start - 1]) if start else 0
        stop = int(np.searchsorted(self.ends, before + tokens, side="right"))
        self.taken = max(stop, start + 1)
        return range(start, self.taken)

    def keep(
        self, rows: range, scores: NDArray[np.float32], truncated: Sequence[bool | None]
    ) -> Scores | None:
        """Take the scores of some texts; gives those of all once they are there.

        Of parts that are computed side by side, a later one may be done first.
        """
        self.parts[rows.start] = scores, truncated
        self.scored += len(rows)
        if self.scored < len(self.texts):
            return None
        parts = [self.parts[start] for start in sorted(self.parts)]
        whole = scores if len(parts) == 1 else np.concatenate([one for one, _ in parts])
        return whole, [told for _, some in parts for told in some]


Part = tuple[Job, range]


def token_ends(texts: Sequence[str]) -> NDArray[np.int64]:
    """Estimate the tokens of texts from their characters.

    :return: int64, shape (texts,): running sum.
    """
    if len(texts) == 1:  # most requests; arrays of one take longer than all else that is done here
        return np.array([len(texts[0]) // _CHARACTERS_PER_TOKEN + _SPECIAL_TOKENS])
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.cumsum(lengths // _CHARACTERS_PER_TOKEN + _SPECIAL_TOKENS)


class Batcher:
    """Merges the requests of any number of event loops into batches for one classifier.

    :param score: gives probabilities, float32 of shape (texts, labels), and whether each text was
        truncated; with all cores.
    :param report: hears of every batch, one at a time.
    :param rate: estimated tokens a second, where they are known; 0 to learn them.
    :param beside: does what `score` does with a part of the cores, so that `sides` batches run side
        by side.
    :param sides: batches at a time, where there is work for them.
    """

    def __init__(
        self,
        score: Score,
        limits: BatchLimits,
        report: Callable[[BatchReport], None] | None = None,
        rate: float = 0.0,
        beside: Score | None = None,
        sides: int = 1,
    ) -> None:
        self._score, self._beside = score, beside or score
        self._limits = limits
        self._report = report
        self._jobs: list[Job] = []  # the earliest deadline first
        self._tokens = 0
        self._computing = 0.0  # tokens of the batches under way that were left at `_since`
        self._since = 0.0
        self._busy = 0  # batches under way
        self._ended = 0.0
        self._company = 1
        self._rate = Rate(limits.tokens, rate)
        self._stopping = False
        self._wanted = math.inf  # jobs for which the thread wants to be woken; inf while computing
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # of the thread that forms the next batch
        self._threads = [
            threading.Thread(target=self._work, name="ov-emotions-batches", daemon=True)
            for _ in range(sides)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting_requests(self) -> int:
        """Requests in the queue."""
        return len(self._jobs)

    @property
    def waiting_tokens(self) -> int:
        """Estimated tokens in the queue."""
        return self._tokens

    @property
    def rate(self) -> float:
        """Estimated tokens a second; 0 before any are known."""
        return self._rate.value

    @property
    def stopping(self) -> bool:
        """Whether new requests are refused."""
        return self._stopping

    async def score(
        self, texts: Sequence[str], deadline: float, gone: asyncio.Future[Any] | None = None
    ) -> Scores:
        """Have texts classified together with those of others.

        :param deadline: of the event loop's clock, at which the answer is of no use any more.
        :param gone: ends the wait when it is done, by its exception.
        :return: float32, shape (texts, labels); and whether each text was truncated.
        :raises RefusedError: 429 if there is no answer in time because of others, 413 if there
            would be none without others, 503 if the server is stopping, 504 at the deadline.
        :raises OvEmotionsError: if the model fails.
        """
        loop = asyncio.get_running_loop()
        job = self._submit(texts, deadline - loop.time(), loop)
        if gone is not None:
            gone.add_done_callback(lambda done: _pass_on(done, job.result))
        alarm = loop.call_at(deadline, _give_up, job)
        try:
            return await job.result
        finally:
            alarm.cancel()
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
        end = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if end is None else max(end - time.monotonic(), 0))

    def _submit(self, texts: Sequence[str], seconds: float, loop: asyncio.AbstractEventLoop) -> Job:
        now = time.monotonic()
        job = Job(texts, token_ends(texts), now + seconds, loop, loop.create_future(), now)
        with self._changed:
            self._admit(job, now)
            if not self._jobs or self._jobs[-1].deadline <= job.deadline:
                self._jobs.append(job)
            else:
                insort(self._jobs, job, key=lambda other: other.deadline)
            self._tokens += job.waiting_tokens
            if len(self._jobs) >= self._wanted or self._tokens >= self._limits.tokens:
                self._changed.notify()
        return job

    def _admit(self, job: Job, now: float) -> None:
        if self._stopping:
            raise RefusedError(
                503, "stopping", "the server is stopping; ask another one", {"Retry-After": "5"}
            )
        own, rate, limits = job.waiting_tokens, self._rate.value, self._limits
        room = _KEPT * (job.deadline - now)
        # A server that refuses all it is asked would never learn that it is faster by now.
        doubtful = not self._jobs and now - self._rate.learnt > _FRESH
        if rate and own / rate > room and not doubtful:
            fitting = round(len(job.texts) * room * rate / own)
            raise RefusedError(
                413,
                "too_slow",
                f"{len(job.texts):,} texts take about {own / rate:.0f} s here and would not be "
                f"ready within {job.deadline - now:.3g} s; send {max(fitting, 1):,} at most",
            )
        ahead = self._tokens + self._under_way(now)
        late = (ahead + own) / rate - room if rate and ahead else 0.0  # alone it was judged above
        # One request alone always has room: its own size is limited elsewhere.
        full = self._tokens + own > limits.queue_tokens and bool(self._jobs)
        full = full or len(self._jobs) >= limits.queue_requests
        if late > 0 or full:
            if full:  # one must have been answered, or as many tokens computed as are too many
                over = max(self._tokens + own - limits.queue_tokens, ahead / (len(self._jobs) + 1))
                late = max(late, over / rate if rate else 0.0)
            seconds = max(math.ceil(late), 1)
            raise RefusedError(
                429,
                "queue_full",
                f"the server is busy: {len(self._jobs)} requests wait already; "
                f"try again in {seconds} s",
                {"Retry-After": str(seconds)},
            )

    def _under_way(self, now: float) -> float:
        """Estimate what is left of the batch that is computed."""
        return max(self._computing - self._rate.value * (now - self._since), 0.0)

    def _abandon(self, job: Job) -> None:
        """Take a job that nobody waits for any more out of the queue."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._tokens -= job.waiting_tokens

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            parts, score = taken
            self._compute(parts, score)
            with self._changed:
                self._busy -= 1
                if not self._busy:
                    self._computing = 0

    def _take(self) -> tuple[list[Part], Score] | None:
        """Wait for work, and for company where there was some; None when there is no more."""
        with self._turn, self._changed:
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
            parts = self._form()
            crowd = self._busy or self._jobs
            self._busy += 1
            return parts, self._beside if crowd else self._score

    def _wait(self, wanted: int, seconds: float | None) -> None:
        self._wanted = wanted
        self._changed.wait(seconds)
        self._wanted = math.inf

    def _form(self) -> list[Part]:
        """Take a batch out of the queue: what is due first, and small ones as long as they may."""
        now = time.monotonic()
        self._give_up_late(now)
        if not self._jobs:
            return []
        budget = room = self._limits.tokens
        parts: list[Part] = []
        if self._jobs[0].waiting_tokens > budget:
            room -= (small := self._small(now))
            for job in [job for job in self._jobs if job.waiting_tokens <= budget // 2]:
                if job.waiting_tokens <= small:
                    small -= job.waiting_tokens
                    parts.append(self._hand_out(job, budget))
            room += small
        while self._jobs and room > 0:
            job = self._jobs[0]
            before = job.waiting_tokens
            if parts and budget >= before > room:
                break  # whole in the next batch rather than in two
            parts.append(self._hand_out(job, room))
            room -= before - job.waiting_tokens
            if job.waiting_tokens:
                break
        self._company = max(len(parts), 1)
        self._computing, self._since = self._under_way(now) + budget - room, now
        return parts

    def _hand_out(self, job: Job, tokens: int) -> Part:
        before = job.waiting_tokens
        part = job.take(tokens)
        self._tokens -= before - job.waiting_tokens
        if not job.waiting_tokens:
            self._jobs.remove(job)
        return job, part

    def _small(self, now: float) -> int:
        """Say how many tokens of small requests may go before a large one: half a batch at most."""
        budget, rate = self._limits.tokens, self._rate.value
        if not rate:
            return budget // 2
        ahead, slack = 0, math.inf
        for job in self._jobs:
            ahead += job.waiting_tokens
            if job.waiting_tokens > budget // 2:
                slack = min(slack, rate * (job.deadline - now) - ahead)
        return int(min(max(slack, 0), budget // 2))

    def _give_up_late(self, now: float) -> None:
        """Drop what cannot be ready in time any more, and tell its callers now.

        That is what was taken before the rate was known, or while it was higher.
        """
        rate = 0.0 if now - self._rate.learnt > _FRESH else self._rate.value
        ahead = -self._limits.tokens  # the last batch may be late a little
        late: list[Job] = []
        for job in self._jobs:
            left, own = job.deadline - now, job.waiting_tokens
            if left <= 0 or (rate and (ahead + own) / rate > _HOPELESS * left):
                late.append(job)
            else:
                ahead += own
        for job in late:
            self._jobs.remove(job)
            self._tokens -= job.waiting_tokens
        if late:
            self._deliver([(job, _too_late(job)) for job in late])

    def _compute(self, parts: list[Part], score: Score) -> None:
        if not parts:
            return
        texts = [text for job, rows in parts for text in job.texts[rows.start : rows.stop]]
        start = time.monotonic()
        try:
            scores, truncated = score(texts)
        except Exception as error:
            if len(parts) == 1:
                _LOGGER.error("a batch of %d texts failed: %s", len(texts), error)
                self._abandon(parts[0][0])
                self._deliver([(parts[0][0], error)])
                return
            # One request shall not fail because it shared a batch with another.
            for part in parts:
                self._compute([part], score)
            return
        done: list[tuple[Job, Scores | Exception]] = []
        at = 0
        with self._changed:
            for job, rows in parts:
                end = at + len(rows)
                if (whole := job.keep(rows, scores[at:end], truncated[at:end])) is not None:
                    done.append((job, whole))
                at = end
        self._deliver(done)
        self._tell(parts, len(texts), start)

    def _tell(self, parts: list[Part], texts: int, start: float) -> None:
        tokens = sum(
            int(job.ends[rows.stop - 1] - (job.ends[rows.start - 1] if rows.start else 0))
            for job, rows in parts
        )
        waited = start - min(job.queued for job, _ in parts)
        with self._changed:
            now = time.monotonic()
            # Of batches side by side, each counts for the time since the one that ended before it.
            self._rate.learn(tokens, now - max(start, self._ended))
            self._ended = now
            if self._report is not None:
                self._report(BatchReport(len(parts), texts, tokens, now - start, waited))

    def _deliver(self, done: Sequence[tuple[Job, Scores | Exception]]) -> None:
        """Tell the callers, with one wake-up of each event loop."""
        loops = {job.loop for job, _ in done}
        for loop in loops:
            theirs = [(job, found) for job, found in done if job.loop is loop]
            try:
                loop.call_soon_threadsafe(_settle, theirs)
            except RuntimeError:  # the loop was closed, and its callers with it
                _LOGGER.debug("nobody waits for %d answers any more", len(theirs))


def _settle(done: Sequence[tuple[Job, Scores | Exception]]) -> None:
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


def _give_up(job: Job) -> None:
    if not job.result.done():
        job.result.set_exception(_too_late(job))


def _too_late(job: Job) -> RefusedError:
    where = "was being computed" if job.taken else "waited in the queue"
    return RefusedError(
        504,
        "deadline",
        f"there is no answer in time: the request still {where}; send fewer texts at once, or "
        "try again later",
        {"Retry-After": "1"},
    )
