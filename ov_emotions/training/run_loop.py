"""What every run goes through, whatever it learns: steps, evaluations, the best kept, resume."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from ov_emotions.errors import TrainingError
from ov_emotions.metrics import Scores
from ov_emotions.training.averaging import WeightAverage
from ov_emotions.training.device import Device
from ov_emotions.training.processes import Processes
from ov_emotions.training.state import STATE_NAME, Progress, read_state, write_state
from ov_emotions.training.tracking import Tracker, write_history

logger = logging.getLogger(__name__)

_NOT_OF_THE_MODEL = ("teacher_cache", "track", "tracking_uri", "experiment", "run_name")
"""Settings that may change when a run goes on: they do not touch what it learns."""
_SAVE_EVERY_SECONDS = 120.0
_MEAN_OVER = 100

Batch = TypeVar("Batch")
"""The rows of one step."""
Found = TypeVar("Found")
"""What an evaluation finds beside the scores, for the best weights to be kept with."""


class RunConfig(Protocol):
    """The settings that the course of any run depends on; `TrainConfig` describes them."""

    @property
    def data(self) -> Path:
        """The prepared folder."""

    @property
    def output(self) -> Path:
        """The folder of the run."""

    @property
    def epochs(self) -> int:
        """Passes over the training rows at most."""

    @property
    def evaluations_per_epoch(self) -> int:
        """How often the selection part is scored."""

    @property
    def patience(self) -> int:
        """Evaluations without progress before the run stops."""

    @property
    def max_grad_norm(self) -> float:
        """What gradients are clipped to."""

    @property
    def seed(self) -> int:
        """Of the run."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""


@dataclass(frozen=True)
class Evaluation(Generic[Found]):
    """How good the model in its present state is on the selection part.

    :param scores: there.
    :param value: what the best weights have most of.
    :param found: what is kept with them.
    :param also: further numbers for the history.
    """

    scores: Scores
    value: float
    found: Found
    also: Mapping[str, float] = field(default_factory=dict)


class RunLoop(ABC, Generic[Batch, Found]):
    """One run. A kind of run says what its batches are, how it learns from one, how it is scored.

    `_batches` is asked once while this is made: a kind sets what it reads from before.

    :param model: what is trained, on the device.
    :param config: how.
    :param device: where.
    :param optimizer: of its parameters.
    :param make_scheduler: given the number of steps, makes what moves the optimizer's rates.
    :param report: called after each step with the step, the number of steps, and a line, for a
        progress bar.
    :param data_hash: of the prepared data; a saved state of other data is not gone on with.
    :param processes: that share the run.
    :param tracker: is told of every evaluation.
    :param ema: averages the weights, where that is wanted.
    """

    def __init__(
        self,
        model: nn.Module,
        config: RunConfig,
        device: Device,
        optimizer: torch.optim.Optimizer,
        make_scheduler: Callable[[int], torch.optim.lr_scheduler.LRScheduler],
        report: Callable[[int, int, str], None],
        data_hash: str,
        processes: Processes,
        tracker: Tracker,
        ema: WeightAverage | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.optimizer = optimizer
        self.report = report
        self.data_hash = data_hash
        self.processes = processes
        self.tracker = tracker
        self.ema = ema
        self.steps_per_epoch = len(self._batches(0))
        self.total_steps = self.steps_per_epoch * config.epochs
        self.scheduler = make_scheduler(self.total_steps)
        self.scaler = device.scaler()
        self.progress = Progress()

    @abstractmethod
    def _batches(self, epoch: int) -> Sequence[Batch]:
        """Return the rows of each step of an epoch, the same whenever it is asked."""

    @abstractmethod
    def _backward(self, batch: Batch) -> float:
        """Add up the gradients of a step; return its loss, over all processes."""

    @abstractmethod
    def _evaluate(self) -> Evaluation[Found]:
        """Score the model in its present state."""

    def _identity(self) -> str:
        """Say what a saved state must agree with, but for the data."""
        settings = self.config.to_dict()
        kept = {k: v for k, v in settings.items() if k not in _NOT_OF_THE_MODEL}
        return json.dumps(kept, sort_keys=True)

    def _save_state(self) -> None:
        if not self.processes.main:
            return
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.weights if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": self.progress.__dict__,
            "config": self._identity(),
            "data": self.data_hash,
            "processes": self.processes.count,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        write_state(self.config.output / STATE_NAME, state)

    def resume(self) -> bool:
        """Continue from the saved state, if there is one.

        :return: whether there was.
        :raises TrainingError: if it belongs to a run with other settings or data, or is damaged.
        """
        path = self.config.output / STATE_NAME
        if not path.is_file():
            return False
        state = read_state(path)
        for key, here, what in (
            ("config", self._identity(), "with other settings"),
            ("data", self.data_hash, f"on other data than {self.config.data} now holds"),
            ("processes", self.processes.count, f"of {state.get('processes')} processes"),
        ):
            if state.get(key) != here:
                raise TrainingError(f"{path} belongs to a run {what}; choose another output folder")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        if self.ema is not None:
            self.ema.load(state["ema"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        logger.info("resumed at step %d of %d", self.progress.step, self.total_steps)
        return True

    def _step(self, batch: Batch) -> float:
        self.processes.seed_step(self.config.seed, self.progress.step)
        value = self._backward(batch)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {self.progress.step}; lower the learning rate"
            )
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _evaluate_and_keep(self, mean_loss: float, save: Callable[[Scores, Found], None]) -> bool:
        """Score; keep the weights if they are the best so far. Return whether to stop."""
        with self.ema.applied() if self.ema else contextlib.nullcontext():
            evaluation = self._evaluate()
            scores = evaluation.scores
            latest = {
                "epoch": self.progress.epoch,
                "step": self.progress.step,
                "loss": round(mean_loss, 5),
                "weighted_f1": round(scores.weighted_f1, 5),
                "macro_f1": round(scores.macro_f1, 5),
                **{name: round(number, 5) for name, number in evaluation.also.items()},
            }
            self.progress.history.append(latest)
            logger.info("%s", latest)
            if self.processes.main:
                write_history(self.config.output, self.progress.history)
                self.tracker.evaluated(latest)
            if evaluation.value > self.progress.best:
                self.progress.best, self.progress.since_best = evaluation.value, 0
                if self.processes.main:
                    save(scores, evaluation.found)
                return False
        self.progress.since_best += 1
        return self.progress.since_best >= self.config.patience

    def run(self, save: Callable[[Scores, Found], None]) -> None:
        """Train to the end, or until validation stops improving; nothing if it has ended.

        :param save: called with the scores on the selection part, and what was found beside them,
            whenever the model in its present state is the best so far.
        """
        if not self.progress.finished:
            with self.tracker.tracked():
                self._run(save)

    def _run(self, save: Callable[[Scores, Found], None]) -> None:
        config, progress = self.config, self.progress
        last_saved = time.monotonic()
        self.model.train()
        every = math.ceil(self.steps_per_epoch / config.evaluations_per_epoch)
        note = ""
        while progress.epoch < config.epochs and not progress.finished:
            batches = self._batches(progress.epoch)
            for batch in batches[progress.batch :]:
                progress.losses = [*progress.losses[1 - _MEAN_OVER :], self._step(batch)]
                progress.batch += 1
                progress.step += 1
                if self.ema:
                    self.ema.update(progress.step)
                recent = float(np.mean(progress.losses))
                self.report(progress.step, self.total_steps, f"loss {recent:.4f}{note}")
                if progress.batch % every == 0 or progress.batch == len(batches):
                    progress.finished = self._evaluate_and_keep(recent, save)
                    latest = progress.history[-1]
                    note = f"  F1 {latest['weighted_f1']:.4f}/{latest['macro_f1']:.4f}"
                    if progress.finished:
                        break
                if time.monotonic() - last_saved > _SAVE_EVERY_SECONDS:
                    self._save_state()
                    last_saved = time.monotonic()
            progress.epoch += 1
            progress.batch = 0
            if progress.epoch < config.epochs and not progress.finished:
                self._save_state()
        progress.finished = True
        self._save_state()
