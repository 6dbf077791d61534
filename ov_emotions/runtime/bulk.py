"""A second compiled model, for lists: packed rows, and a stream for every thread.

One stream of all threads answers a single text soonest, and loses time in every layer while its
threads wait for each other. Streams of one thread each wait for nobody, but take longer for one
text. And rows that hold several texts of a list have next to no padding, and so few shapes that the
runtime soon knows them all. So a classifier keeps both models, and compiles this one when lists
have come that take about as long as that: a program that classifies texts one by one never has its
memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from ov_emotions.runtime.lazy import LazyBackend
from ov_emotions.runtime.openvino import OpenVINOBackend
from ov_emotions.runtime.runner import Runner

# In batches a thread: lists that together pay for compiling it.
_PAID = 8
# Of a model that is not packed, in batches a thread as well: a list that keeps all streams busy,
# and one that is long enough for whole batches; those of a shorter one are halved, so that the
# streams end together.
_LONG = 2
_VERY_LONG = 8


class BulkModel(NamedTuple):
    """The second model.

    :param backend: with a stream a thread.
    :param packed: whether it takes packed rows.
    """

    backend: OpenVINOBackend
    packed: bool

    def close(self) -> None:
        """Let go of it."""
        self.backend.close()


class BulkBackend:
    """Makes the second model, and says which lists are for it.

    :param threads: streams of the model, which have a thread each.
    :param batch_tokens: tokens of its batches at most.
    :param make: compiles it, or finds that there is no use in it and returns None.
    :param few_shapes: pad batches that are not packed to one of few shapes.
    """

    def __init__(
        self,
        threads: int,
        batch_tokens: int,
        make: Callable[[], BulkModel | None],
        *,
        few_shapes: bool = False,
    ) -> None:
        self._threads = threads
        self._batch_tokens = batch_tokens
        self._few_shapes = few_shapes
        self._share = batch_tokens * threads
        self._to_come = _PAID * self._share
        self._model = LazyBackend("lists", make)
        self._lock = threading.Lock()

    def take(self, tokens: int) -> Runner | None:
        """Give the model to a list.

        :param tokens: of the list, of which there are several windows.
        :return: what runs it; None before the model pays, while another thread compiles it, where
            it cannot be made, and for a short list if it is not packed.
        """
        if self._model.made is None:
            self._count(tokens)
        if self._model.made is None:
            return None
        backend, packed = self._model.made
        if packed:
            return Runner(backend, self._batch_tokens, packed_streams=self._threads)
        if tokens < _LONG * self._share:
            return None
        whole = tokens >= _VERY_LONG * self._share
        batch_tokens = self._batch_tokens if whole else max(1, self._batch_tokens // 2)
        return Runner(backend, batch_tokens, few_shapes=self._few_shapes)

    def make_now(self) -> None:
        """Make the model, whatever has come."""
        self._model.make_now()

    def close(self) -> None:
        """Let go of the model, and make none any more."""
        self._model.close()

    def _count(self, tokens: int) -> None:
        with self._lock:
            before, self._to_come = self._to_come, self._to_come - tokens
        if before > 0 >= self._to_come:
            # A list that pays alone waits for the model; short ones need not.
            if tokens >= _PAID * self._share:
                self._model.make_now()
            else:
                self._model.make_beside()
