"""Compiled models of one shape, for texts that come one by one.

A model of any shape prepares its layers anew whenever the shape changes, which takes up to as long
as the inference of a short text, ten times as long for a new shape, and keeps some MB of each. So
single texts are padded to a few widths; and a classifier that is asked for them again and again
compiles the model for those. That happens in a thread beside the calls, which go on with the model
of any shape meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from ov_emotions.backends.openvino import OpenVINOBackend
from ov_emotions.errors import OvEmotionsError

_LOGGER = logging.getLogger(__name__)

WIDTHS = (16, 32, 64)
"""Tokens: most utterances have fewer than the second."""

# Texts of a width after which more are likely to come.
_PAID = 32


class SingleTextBackends:
    """Makes the models of single texts, and says which text is for which.

    :param max_length: tokens that the model takes at most.
    :param make: compiles the model for one text of so many tokens.
    """

    def __init__(self, max_length: int, make: Callable[[int], OpenVINOBackend]) -> None:
        self._to_come = {width: _PAID for width in WIDTHS if width <= max_length}
        self._make = make
        self._made: dict[int, OpenVINOBackend] = {}
        self._closed = False
        self._lock = threading.Lock()

    def take(self, tokens: int) -> tuple[OpenVINOBackend | None, int] | None:
        """Say what a text is padded to, and what runs it.

        :param tokens: of the text.
        :return: its model, None until that is made, and the width; None for a long text.
        """
        for width in self._to_come:
            if tokens <= width:
                made = self._made.get(width)
                if made is None:
                    self._count(width)
                return made, width
        return None

    def make_now(self) -> None:
        """Make all models, whatever has come."""
        for width, left in list(self._to_come.items()):
            if left > 0:
                self._to_come[width] = 0
                self._compile(width)

    def close(self) -> None:
        """Let go of the models, and make none any more."""
        with self._lock:
            self._closed = True
            for made in self._made.values():
                made.close()

    def _count(self, width: int) -> None:
        with self._lock:
            self._to_come[width] -= 1
            pays = self._to_come[width] == 0 and not self._closed
        if pays:
            name = f"ov_emotions compiles for {width} tokens"
            with suppress(RuntimeError):  # no thread is started any more when the process ends
                threading.Thread(target=self._compile, args=(width,), name=name).start()

    def _compile(self, width: int) -> None:
        try:
            made = self._make(width)
        except OvEmotionsError as error:
            _LOGGER.warning("texts of up to %d tokens stay with the other model: %s", width, error)
            return
        with self._lock:
            if self._closed:
                made.close()
            else:
                self._made[width] = made
