"""The training loop: masked loss, schedule, evaluation, early stopping, resume."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ov_emotions.errors import TrainingError
from ov_emotions.metrics import Scores, score
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid
from ov_emotions.training.averaging import WeightAverage
from ov_emotions.training.batches import Examples, collate, epoch_batches
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.device import choose_device, predict_logits
from ov_emotions.training.loss import choose_loss, loss_scale, masked_loss
from ov_emotions.training.model import EmotionModel
from ov_emotions.training.optimizer import make_optimizer, make_scheduler
from ov_emotions.training.processes import Processes
from ov_emotions.training.state import (
    STATE_NAME,
    Progress,
    first_line,
    read_state,
    write_state,
)
from ov_emotions.training.tracking import Tracker, write_history

logger = logging.getLogger(__name__)

_NOT_OF_THE_MODEL = ("teacher_cache", "track", "tracking_uri", "experiment", "run_name")
"""Settings that may change when a run goes on: they do not touch what it learns."""
_COMPILER = "inductor"
_SAVE_EVERY_SECONDS = 120.0
_MEAN_OVER = 100


@contextlib.contextmanager
def _compiling(compiled: bool) -> Iterator[None]:
    """Say in a sentence what torch.compile fails at, a missing C++ compiler above all."""
    try:
        yield
    except RuntimeError as error:
        if compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise TrainingError(
                f"torch.compile does not take this model here ({first_line(error)}); it needs a "
                "C++ compiler; leave compile out"
            ) from error
        raise


class Trainer:
    """One run over tokenised examples.

    :param model: what is trained.
    :param config: how.
    :param train: the training rows.
    :param thresholds: ids and targets of the rows that thresholds are fitted on.
    :param selection: ids and targets of the rows that choose the best weights.
    :param labels: names of the outputs.
    :param report: called after each step with the step, the number of steps, and a line, for a
        progress bar.
    :param data_hash: of the prepared data; a saved state of other data is not gone on with.
    :param processes: that share the run; this one alone where it is not given.
    :param tracker: is told of every evaluation.
    """

    def __init__(
        self,
        model: EmotionModel,
        config: TrainConfig,
        train: Examples,
        thresholds: tuple[list[NDArray[np.int32]], NDArray[np.int8]],
        selection: tuple[list[NDArray[np.int32]], NDArray[np.int8]],
        labels: tuple[str, ...],
        report: Callable[[int, int, str], None] = lambda *_: None,
        data_hash: str = "",
        processes: Processes | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self.data_hash = data_hash
        self.processes = processes or Processes(config.device)
        self.tracker = tracker or Tracker()
        self.device = choose_device(self.processes.device, config.precision)
        self.model = model.to(self.device.torch_device)
        self.config = config
        self.train_examples = train
        self.threshold_rows = thresholds
        self.selection_rows = selection
        self.labels = labels
        self.report = report
        self.pad_id = int(model.config.pad_token_id or 0)
        self.steps_per_epoch = len(self._batches(0))
        self.total_steps = self.steps_per_epoch * config.epochs
        self.optimizer = make_optimizer(self.model, config)
        self.scheduler = make_scheduler(self.optimizer, self.total_steps, config)
        self.scaler = self.device.scaler()
        self.loss = choose_loss(config)
        self.wrapped = self.processes.wrap(self.model)
        self.network: Callable[..., torch.Tensor] = (
            torch.compile(self.wrapped, dynamic=True, backend=_COMPILER)
            if config.compile
            else self.wrapped
        )
        self.progress = Progress()
        self.ema = WeightAverage(self.model, config.ema_decay) if config.ema_decay else None

    def _batches(self, epoch: int) -> list[list[NDArray[np.int64]]]:
        """Return the batches of each step of an epoch."""
        config = self.config
        batches = epoch_batches(self.train_examples.ids, config.batch_size, config.seed, epoch)
        n = config.accumulation_steps
        return [batches[i : i + n] for i in range(0, len(batches), n)]

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
        return True

    def _loss(self, rows: NDArray[np.int64]) -> torch.Tensor:
        examples = self.train_examples
        where = self.device.torch_device
        batch = collate(examples.ids, rows, self.pad_id)
        targets = torch.from_numpy(examples.targets[rows]).to(where)
        weights = torch.from_numpy(examples.weights[rows]).to(where)
        row_weights = torch.from_numpy(examples.row_weights[rows]).to(where)
        teacher = (
            None if examples.teacher is None else torch.from_numpy(examples.teacher[rows]).to(where)
        )
        with self.device.context(), _compiling(self.config.compile):
            logits = self.network(batch.input_ids.to(where), batch.attention_mask.to(where))
        share = self.config.teacher_weight
        return masked_loss(logits, targets, weights, row_weights, teacher, share, self.loss)

    def _scale(self, rows: NDArray[np.int64]) -> float:
        examples = self.train_examples
        taught = examples.teacher is not None
        return loss_scale(examples.weights[rows], examples.row_weights[rows], taught)

    def _backward(self, batches: list[NDArray[np.int64]]) -> float:
        """Add up the gradients of a step; return its loss, over all processes."""
        count = self.processes.count
        if len(batches) == 1 and count == 1:
            loss = self._loss(batches[0])
            torch.autograd.backward(self.scaler.scale(loss))
            return float(loss.detach())
        whole = self._scale(np.concatenate(batches))
        value = 0.0
        for i, batch in enumerate(batches):
            rows = self.processes.share(batch)
            part = self._scale(rows) / whole if whole else 0.0
            with self.processes.local(self.wrapped, last=i + 1 == len(batches)):
                # A process without rows still takes part, with one that counts nothing.
                loss = self._loss(rows if len(rows) else batch[:1]) * part
                # The processes' gradients are averaged, and are to be added.
                torch.autograd.backward(self.scaler.scale(loss * count))
            value += float(loss.detach())
        return self.processes.sum(value)

    def _step(self, batches: list[NDArray[np.int64]]) -> float:
        self.processes.seed_step(self.config.seed, self.progress.step)
        value = self._backward(batches)
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {self.progress.step}; lower the learning rate"
            )
        return value

    def evaluate(self) -> tuple[Scores, NDArray[np.float32]]:
        """Fit thresholds on their part and score the selection part with them.

        :return: the scores, and the thresholds, float32, shape (labels,).
        """
        fit_ids, fit_targets = self.threshold_rows
        ids, targets = self.selection_rows
        every = fit_ids + ids
        mine = every[self.processes.rank :: self.processes.count]
        logits = self.processes.interleave(
            predict_logits(self.model, mine, self.pad_id, self.device), len(every)
        )
        probabilities = sigmoid(logits)
        thresholds = fit_thresholds(probabilities[: len(fit_ids)], fit_targets)
        predicted = apply_thresholds(probabilities[len(fit_ids) :], thresholds)
        return score(targets, predicted, self.labels), thresholds

    def _evaluate_and_keep(self, mean_loss: float, save: Callable[[Scores, Any], None]) -> bool:
        """Score; keep the weights if they are the best so far. Return whether to stop."""
        with self.ema.applied() if self.ema else contextlib.nullcontext():
            scores, thresholds = self.evaluate()
            value = (scores.weighted_f1 + scores.macro_f1) / 2
            latest = {
                "epoch": self.progress.epoch,
                "step": self.progress.step,
                "loss": round(mean_loss, 5),
                "weighted_f1": round(scores.weighted_f1, 5),
                "macro_f1": round(scores.macro_f1, 5),
            }
            self.progress.history.append(latest)
            logger.info("%s", latest)
            if self.processes.main:
                write_history(self.config.output, self.progress.history)
                self.tracker.evaluated(latest)
            if value > self.progress.best:
                self.progress.best, self.progress.since_best = value, 0
                if self.processes.main:
                    save(scores, thresholds)
                return False
        self.progress.since_best += 1
        return self.progress.since_best >= self.config.patience

    def run(self, save: Callable[[Scores, Any], None]) -> None:
        """Train to the end, or until validation stops improving.

        :param save: called with the scores on the selection part and the thresholds whenever the
            model in its present state is the best so far.
        """
        config, progress = self.config, self.progress
        last_saved = time.monotonic()
        self.model.train()
        every = math.ceil(self.steps_per_epoch / config.evaluations_per_epoch)
        note = ""
        while progress.epoch < config.epochs and not progress.finished:
            batches = self._batches(progress.epoch)
            for rows in batches[progress.batch :]:
                progress.losses = [*progress.losses[1 - _MEAN_OVER :], self._step(rows)]
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
