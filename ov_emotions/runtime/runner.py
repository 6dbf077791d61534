"""Which compiled model runs a list of texts, and how the list is laid out for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ov_emotions.encoding import EncodedTexts
from ov_emotions.runtime.base import Backend, Batch


class Runner(NamedTuple):
    """A compiled model and its batches.

    :param backend: the model.
    :param batch_tokens: tokens of a batch at most, padding included.
    :param width: of the batch, where the model takes single texts of one width.
    :param few_shapes: pad on, to one of few shapes.
    :param packed_streams: the streams of a model that takes packed rows; None for others.
    """

    backend: Backend
    batch_tokens: int
    width: int | None = None
    few_shapes: bool = False
    packed_streams: int | None = None

    def arrange(self, encoded: EncodedTexts) -> tuple[list[NDArray[np.int64]], Iterator[Batch]]:
        """Lay texts out.

        :param encoded: the texts.
        :return: window positions per batch, and the batches, which are made as they are read.
        """
        if self.packed_streams is not None:
            from ov_emotions.runtime.packing import Packing  # single texts need none

            packing = Packing(encoded, self.batch_tokens, self.packed_streams)
            return packing.groups, packing.batches()
        groups = encoded.groups(self.batch_tokens)
        return groups, encoded.batches(groups, few_shapes=self.few_shapes, width=self.width)


def in_order(
    groups: Sequence[NDArray[np.int64]], logits: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Put what came out of batches in the order of the windows.

    :param groups: window positions per batch, as `Runner.arrange` gave them.
    :param logits: per batch; rows beyond its windows are padding.
    :return: float32, shape (windows, labels).
    """
    parts = [part[: len(rows)] for part, rows in zip(logits, groups, strict=True)]
    found = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(found) == 1:
        return found  # after an inference every step here finds a cold cache
    windows = np.empty_like(found)
    windows[np.concatenate(groups)] = found
    return windows
