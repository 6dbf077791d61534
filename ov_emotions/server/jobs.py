"""Requests as the batcher sees them: texts, their sizes, and what has become of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Truncated = list[bool | None]
Scores = tuple[NDArray[np.float32], Truncated]

_CHARACTERS_PER_TOKEN = 4
_SPECIAL_TOKENS = 3


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
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    truncated: Truncated = field(default_factory=list)

    @property
    def waiting_tokens(self) -> int:
        """Estimated tokens of the texts that were not handed out yet."""
        return int(self.ends[-1] - (self.ends[self.taken - 1] if self.taken else 0))

    def take(self, tokens: int) -> range:
        """Hand out the next texts that fit, at least one.

        :param tokens: for which there is room.
        :return: their positions.
        """
        start = self.taken
        before = int(self.ends[start - 1]) if start else 0
        stop = int(np.searchsorted(self.ends, before + tokens, side="right"))
        self.taken = max(stop, start + 1)
        return range(start, self.taken)


Part = tuple[Job, range]


def token_ends(texts: Sequence[str]) -> NDArray[np.int64]:
    """Estimate the tokens of texts from their characters.

    :param texts: raw texts.
    :return: int64, shape (texts,): running sum.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.cumsum(lengths // _CHARACTERS_PER_TOKEN + _SPECIAL_TOKENS)
