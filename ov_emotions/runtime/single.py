"""Compiled models of one shape, for texts that come one by one.

A model of any shape prepares its layers anew whenever the shape changes, which takes up to as long
as the inference of a short text, ten times as long for a new shape, and keeps some MB of each. So
single texts are padded to a few widths; and a classifier that is asked for them again and again
compiles the model for those. That happens in a thread beside the calls, which go on with the model
of any shape meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from ov_emotions.runtime.lazy import LazyBackend
from ov_emotions.runtime.openvino import OpenVINOBackend

WIDTHS = (16, 32, 48)
"""Tokens: most utterances have fewer than the second, nearly all fewer than the third."""

# Texts of a width after which more are likely to come.
_PAID = 32


class SingleTextBackends:
    """Makes the models of single texts, and says which text is for which.

    :param max_length: tokens that the model takes at most.
    :param make: compiles the model for one text of so many tokens.
    """

    def __init__(self, max_length: int, make: Callable[[int], OpenVINOBackend]) -> None:
        widths = [width for width in WIDTHS if width <= max_length]
        self._to_come = dict.fromkeys(widths, _PAID)
        self._models = {
            width: LazyBackend(f"texts of up to {width} tokens", partial(make, width))
            for width in widths
        }
        self._lock = threading.Lock()

    def take(self, tokens: int) -> tuple[OpenVINOBackend | None, int] | None:
        """Say what a text is padded to, and what runs it.

        :param tokens: of the text.
        :return: its model, None until that is made, and the width; None for a long text.
        """
        for width, model in self._models.items():
            if tokens <= width:
                made = model.made
                if made is None:
                    self._count(width)
                return made, width
        return None

    def make_now(self) -> None:
        """Make all models, whatever has come."""
        for model in self._models.values():
            model.make_now()

    def close(self) -> None:
        """Let go of the models, and make none any more."""
        for model in self._models.values():
            model.close()

    def _count(self, width: int) -> None:
        with self._lock:
            self._to_come[width] -= 1
            pays = self._to_come[width] == 0
        if pays:
            self._models[width].make_beside()
