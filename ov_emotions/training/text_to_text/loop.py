"""The text-to-text training loop: schedule, evaluation by writing, early stopping, resume."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import get_linear_schedule_with_warmup

from ov_emotions.errors import TrainingError
from ov_emotions.files import atomic_path, write_json
from ov_emotions.metrics import Scores
from ov_emotions.training.batches import collate, epoch_batches
from ov_emotions.training.device import Device
from ov_emotions.training.text_to_text.config import Text2TextConfig
from ov_emotions.training.text_to_text.targets import OutputCounts

logger = logging.getLogger(__name__)

STATE_NAME = "state.pt"
IGNORED = -100
"""The target id that the cross-entropy leaves out: padding."""
_SAVE_EVERY_SECONDS = 120.0
_MEAN_OVER = 100


@dataclass(frozen=True)
class Pairs:
    """Tokenised training rows.

    :param sources: ids of prefix and text, per row.
    :param targets: ids of what is to be written, per row, the end token included.
    """

    sources: list[NDArray[np.int32]]
    targets: list[NDArray[np.int32]]


@dataclass
class RunState:
    """How far a run is; part of the resume state."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float = -1.0
    since_best: int = 0
    finished: bool = False
    losses: list[float] = field(default_factory=list)
    """Of the latest steps; their mean is what is reported."""
    history: list[dict[str, Any]] = field(default_factory=list)


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


class Text2TextTrainer:
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

    def __init__(
        self,
        model: Any,
        config: Text2TextConfig,
        pairs: Pairs,
        pad_id: int,
        device: Device,
        evaluate: Callable[[], tuple[Scores, OutputCounts]],
        report: Callable[[int, int, str], None],
        data_hash: str,
    ) -> None:
        self.model = model
        self.config = config
        self.pairs = pairs
        self.pad_id = pad_id
        self.device = device
        self.evaluate = evaluate
        self.report = report
        self.data_hash = data_hash
        self.steps_per_epoch = len(self._batches(0))
        self.total_steps = self.steps_per_epoch * config.epochs
        self.optimizer = make_optimizer(model, config)
        schedule: Any = get_linear_schedule_with_warmup  # it lacks annotations
        self.scheduler = schedule(
            self.optimizer, math.ceil(config.warmup * self.total_steps), self.total_steps
        )
        self.state = RunState()

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        return epoch_batches(self.pairs.sources, self.config.batch_size, self.config.seed, epoch)

    def _save_state(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "state": self.state.__dict__,
            "config": json.dumps(self.config.to_dict(), sort_keys=True),
            "data": self.data_hash,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        with atomic_path(self.config.output / STATE_NAME) as path:
            torch.save(state, path)

    def resume(self) -> bool:
        """Continue from the saved state, if there is one.

        :return: whether there was.
        :raises TrainingError: if it belongs to a run with other settings or data, or is damaged.
        """
        path = self.config.output / STATE_NAME
        if not path.is_file():
            return False
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            same_config = state["config"] == json.dumps(self.config.to_dict(), sort_keys=True)
            same_data = state["data"] == self.data_hash
        except Exception as error:  # torch raises many kinds for a damaged file
            raise TrainingError(f"{path} cannot be read ({error}); delete it to start") from error
        if not same_config:
            raise TrainingError(
                f"{path} belongs to a run with other settings; choose another output folder"
            )
        if not same_data:
            raise TrainingError(
                f"{path} belongs to a run on other data than {self.config.data} now holds; "
                "choose another output folder"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.state = RunState(**state["state"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        return True

    def _step(self, rows: NDArray[np.int64]) -> float:
        where = self.device.torch_device
        source = collate(self.pairs.sources, rows, self.pad_id)
        target = collate(self.pairs.targets, rows, IGNORED)
        with self.device.context():
            loss = self.model(
                input_ids=source.input_ids.to(where),
                attention_mask=source.attention_mask.to(where),
                labels=target.input_ids.to(where),
            ).loss
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {self.state.step}; lower the learning rate"
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _evaluate_and_keep(
        self, mean_loss: float, save: Callable[[Scores, OutputCounts], None]
    ) -> bool:
        """Score; keep the weights if they are the best so far. Return whether to stop."""
        scores, counts = self.evaluate()
        state = self.state
        state.history.append(
            {
                "epoch": state.epoch,
                "step": state.step,
                "loss": round(mean_loss, 5),
                "weighted_f1": round(scores.weighted_f1, 5),
                "macro_f1": round(scores.macro_f1, 5),
                "unparseable_share": round(counts.unparseable_share, 5),
            }
        )
        logger.info("%s", state.history[-1])
        write_json(self.config.output / "history.json", state.history)
        if scores.weighted_f1 > state.best:
            state.best, state.since_best = scores.weighted_f1, 0
            save(scores, counts)
            return False
        state.since_best += 1
        return state.since_best >= self.config.patience

    def run(self, save: Callable[[Scores, OutputCounts], None]) -> None:
        """Train to the end, or until the selection part stops improving.

        :param save: called with the scores on the selection part and the counts of outputs
            whenever the model in its present state is the best so far.
        """
        config, state = self.config, self.state
        last_saved = time.monotonic()
        self.model.train()
        every = math.ceil(self.steps_per_epoch / config.evaluations_per_epoch)
        note = ""
        while state.epoch < config.epochs and not state.finished:
            batches = self._batches(state.epoch)
            for rows in batches[state.batch :]:
                state.losses = [*state.losses[1 - _MEAN_OVER :], self._step(rows)]
                state.batch += 1
                state.step += 1
                recent = float(np.mean(state.losses))
                self.report(state.step, self.total_steps, f"loss {recent:.4f}{note}")
                if state.batch % every == 0 or state.batch == len(batches):
                    state.finished = self._evaluate_and_keep(recent, save)
                    note = f"  F1 {state.history[-1]['weighted_f1']:.4f}"
                    if state.finished:
                        break
                if time.monotonic() - last_saved > _SAVE_EVERY_SECONDS:
                    self._save_state()
                    last_saved = time.monotonic()
            state.epoch += 1
            state.batch = 0
            self._save_state()
        state.finished = True
        self._save_state()
