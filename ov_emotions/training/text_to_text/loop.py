"""The loop of a text-to-text run: cross-entropy of the target texts, evaluation by writing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ov_emotions.training.batches import collate, epoch_batches
from ov_emotions.training.device import Device
from ov_emotions.training.optimizer import make_scheduler
from ov_emotions.training.processes import Processes
from ov_emotions.training.run_loop import Evaluation, RunLoop
from ov_emotions.training.text_to_text.config import Text2TextConfig
from ov_emotions.training.text_to_text.targets import OutputCounts
from ov_emotions.training.tracking import Tracker

IGNORED = -100
"""The target id that the cross-entropy leaves out: padding."""


@dataclass(frozen=True)
class Pairs:
    """Tokenised training rows.

    :param sources: ids of prefix and text, per row.
    :param targets: ids of what is to be written, per row, the end token included.
    """

    sources: list[NDArray[np.int32]]
    targets: list[NDArray[np.int32]]


def make_optimizer(model: nn.Module, config: Text2TextConfig) -> torch.optim.Optimizer:
    """Make the optimizer, without decay on vectors (norms).

    :param model: whose parameters are trained.
    :param config: names the optimizer and its rates.
    :return: AdamW, or Adafactor (Shazeer and Stern, 2018).
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


class Text2TextTrainer(RunLoop[NDArray[np.int64], OutputCounts]):
    """One run over tokenised pairs.

    :param model: what is trained, on the device.
    :param config: how.
    :param pairs: the training rows.
    :param pad_id: of the source padding.
    :param device: where the model is.
    :param evaluate: scores the model in its present state on the selection part.
    :param report: called after each step with the step, the number of steps, and a line.
    :param data_hash: of the prepared data; a saved state of other data is not gone on with.
    """

    config: Text2TextConfig

    def __init__(
        self,
        model: Any,
        config: Text2TextConfig,
        pairs: Pairs,
        pad_id: int,
        device: Device,
        evaluate: Callable[[], Evaluation[OutputCounts]],
        report: Callable[[int, int, str], None],
        data_hash: str,
    ) -> None:
        self.config = config
        self.pairs = pairs
        self.pad_id = pad_id
        self.evaluate = evaluate
        optimizer = make_optimizer(model, config)
        super().__init__(
            model,
            config,
            device,
            optimizer,
            lambda steps: make_scheduler(optimizer, steps, config.warmup, "linear"),
            report,
            data_hash,
            Processes(config.device),
            Tracker(),
        )

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        return epoch_batches(self.pairs.sources, self.config.batch_size, self.config.seed, epoch)

    def _backward(self, rows: NDArray[np.int64]) -> float:
        where = self.device.torch_device
        source = collate(self.pairs.sources, rows, self.pad_id)
        target = collate(self.pairs.targets, rows, IGNORED)
        with self.device.context():
            loss = self.model(
                input_ids=source.input_ids.to(where),
                attention_mask=source.attention_mask.to(where),
                labels=target.input_ids.to(where),
            ).loss
        self.scaler.scale(loss).backward()
        return float(loss.detach())

    def _evaluate(self) -> Evaluation[OutputCounts]:
        return self.evaluate()
