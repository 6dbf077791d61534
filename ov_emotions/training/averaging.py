"""Weights averaged over the steps of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of a model's weights.

    :param model: whose weights; where it is trained.
    :param decay: of the average, reached as steps go by.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.weights: dict[str, Tensor] = {
            k: v.detach().clone() for k, v in model.state_dict().items()
        }

    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        # Early on the average would be mostly the start; let its memory grow with the steps.
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                if value.is_floating_point():
                    self.weights[name].lerp_(value, 1 - decay)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from saved weights."""
        for name, value in weights.items():
            self.weights[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model for the length of a block."""
        own = {k: v.detach().clone() for k, v in self._model.state_dict().items()}
        self._model.load_state_dict(self.weights)
        try:
            yield
        finally:
            self._model.load_state_dict(own)
