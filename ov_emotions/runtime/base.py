"""What a runtime offers to the classifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Batch(Protocol):
    """What one inference takes; some runtimes take kinds with more inputs than others."""

    @property
    def input_ids(self) -> NDArray[np.int64]:
        """Token ids, shape (rows, tokens), padding included."""

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by the names of the model's inputs."""


class Backend(Protocol):
    """A runtime with a model in it; safe to use from several threads at once."""

    def infer(self, batches: Iterable[Batch]) -> list[NDArray[np.float32]]:
        """Run a model on batches; several may be under way at a time.

        :param batches: read lazily, as the runtime has room for them.
        :return: per batch, in the order given, the logits: float32, shape (batch, labels).
        :raises DeviceError: if the runtime fails, or was closed.
        """

    def close(self) -> None:
        """Let go of the model; what is under way finishes first."""
