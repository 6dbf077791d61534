"""A second compiled model for long lists: a stream for every thread.

One stream of all threads answers a single text soonest, and loses time in every layer while its
threads wait for each other. Streams of one thread each wait for nobody, but take longer for one
text. So a classifier keeps both, and compiles this one when long lists have come that take about as
long as that: a program that classifies texts one by one never has its memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ov_emotions.backends.openvino import OpenVINOBackend
from ov_emotions.errors import OvEmotionsError

_LOGGER = logging.getLogger(__name__)

# In batches a thread: a list that keeps all streams busy, lists that together pay for compiling it,
# and a list that is long enough for whole batches; those of a shorter one are halved, so that the
# streams end together.
_LONG = 2
_PAID = 4
_VERY_LONG = 8


class BulkBackend:
    """Makes the second model, and says which lists are for it.

    :param threads: streams of the model, which have a thread each.
    :param batch_tokens: tokens of its batches at most.
    :param make: compiles it.
    """

    def __init__(
        self, threads: int, batch_tokens: int, make: Callable[[], OpenVINOBackend]
    ) -> None:
        self._batch_tokens = batch_tokens
        self._share = batch_tokens * threads
        self._to_come = _PAID * self._share
        self._make: Callable[[], OpenVINOBackend] | None = make
        self._made: OpenVINOBackend | None = None
        self._lock = threading.Lock()

    def take(self, tokens: int) -> tuple[OpenVINOBackend, int] | None:
        """Give the model to a list.

        :param tokens: of the list.
        :return: the model, and tokens of a batch at most; None for a short list, before the model
            pays, while another thread compiles it, and where there is no room for a second one.
        """
        if tokens < _LONG * self._share:
            return None
        if self._made is None and self._lock.acquire(blocking=False):
            try:
                self._to_come -= tokens
                if self._to_come <= 0:
                    self._make_once()
            finally:
                self._lock.release()
        if self._made is None:
            return None
        whole = tokens >= _VERY_LONG * self._share
        return self._made, self._batch_tokens if whole else max(1, self._batch_tokens // 2)

    def make_now(self) -> None:
        """Make the model, whatever has come."""
        with self._lock:
            self._make_once()

    def close(self) -> None:
        """Let go of the model, and make none any more."""
        with self._lock:
            self._make = None
            if self._made is not None:
                self._made.close()

    def _make_once(self) -> None:
        make, self._make = self._make, None
        if make is not None:
            try:
                self._made = make()
            except OvEmotionsError as error:
                _LOGGER.warning("long lists go without a model of their own: %s", error)
