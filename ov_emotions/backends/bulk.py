"""A second compiled model for long lists: a stream for every thread.

One stream of all threads answers a single text soonest, and loses time in every layer while its
threads wait for each other. Streams of one thread each wait for nobody, but take longer for one
text. So a classifier keeps both, and compiles this one when the first long list comes: a program
that classifies texts one by one never has its memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ov_emotions.backends.openvino import OpenVINOBackend
from ov_emotions.errors import OvEmotionsError

_LOGGER = logging.getLogger(__name__)

_BATCHES_A_THREAD = 6
"""A list of fewer leaves streams idle at its end, and is over before the model is compiled."""


class BulkBackend:
    """Makes the second model, and says which lists are for it.

    :param threads: streams of the model, which have a thread each.
    :param batch_tokens: tokens of its batches at most.
    :param make: compiles it.
    """

    def __init__(
        self, threads: int, batch_tokens: int, make: Callable[[], OpenVINOBackend]
    ) -> None:
        self.batch_tokens = batch_tokens
        self.long_tokens = _BATCHES_A_THREAD * batch_tokens * threads
        """Tokens of a list that is long."""
        self._make: Callable[[], OpenVINOBackend] | None = make
        self._made: OpenVINOBackend | None = None
        self._lock = threading.Lock()

    def take(self, tokens: int) -> OpenVINOBackend | None:
        """Give the model to a list.

        :param tokens: of the list.
        :return: the model; None for a short list, while another thread compiles the model, and
            where there is no room for a second one.
        """
        if tokens < self.long_tokens:
            return None
        if self._made is None and self._lock.acquire(blocking=False):
            try:
                make, self._make = self._make, None
                if make is not None:
                    self._made = make()
            except OvEmotionsError as error:
                _LOGGER.warning("long lists go without a model of their own: %s", error)
            finally:
                self._lock.release()
        return self._made

    def close(self) -> None:
        """Let go of the model, and make none any more."""
        with self._lock:
            self._make = None
            if self._made is not None:
                self._made.close()
