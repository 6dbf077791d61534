"""The loop of a run that learns labels: masked loss, several processes, thresholds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ov_emotions.errors import TrainingError
from ov_emotions.metrics import score
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid
from ov_emotions.training.averaging import WeightAverage
from ov_emotions.training.batches import Examples, collate, epoch_batches
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.device import choose_device, predict_logits
from ov_emotions.training.loss import choose_loss, loss_scale, masked_loss
from ov_emotions.training.model import EmotionModel
from ov_emotions.training.optimizer import make_optimizer, make_scheduler
from ov_emotions.training.processes import Processes
from ov_emotions.training.run_loop import Evaluation, RunLoop
from ov_emotions.training.state import first_line
from ov_emotions.training.tracking import Tracker

_COMPILER = "inductor"


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


class Trainer(RunLoop[list[NDArray[np.int64]], NDArray[np.float32]]):
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

    model: EmotionModel
    config: TrainConfig

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
        processes = processes or Processes(config.device)
        device = choose_device(processes.device, config.precision)
        model = model.to(device.torch_device)
        self.config = config
        self.train_examples = train
        self.threshold_rows = thresholds
        self.selection_rows = selection
        self.labels = labels
        self.pad_id = int(model.config.pad_token_id or 0)
        optimizer = make_optimizer(model, config)
        super().__init__(
            model,
            config,
            device,
            optimizer,
            lambda steps: make_scheduler(optimizer, steps, config.warmup, config.schedule),
            report,
            data_hash,
            processes,
            tracker or Tracker(),
            WeightAverage(model, config.ema_decay) if config.ema_decay else None,
        )
        self.loss = choose_loss(config)
        self.wrapped = processes.wrap(model)
        self.network: Callable[..., torch.Tensor] = (
            torch.compile(self.wrapped, dynamic=True, backend=_COMPILER)
            if config.compile
            else self.wrapped
        )

    def _batches(self, epoch: int) -> list[list[NDArray[np.int64]]]:
        """Return the batches of each step of an epoch."""
        config = self.config
        batches = epoch_batches(self.train_examples.ids, config.batch_size, config.seed, epoch)
        n = config.accumulation_steps
        return [batches[i : i + n] for i in range(0, len(batches), n)]

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

    def _evaluate(self) -> Evaluation[NDArray[np.float32]]:
        """Fit thresholds on their part and score the selection part with them.

        :return: with the thresholds, float32, shape (labels,).
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
        scores = score(targets, predicted, self.labels)
        return Evaluation(scores, (scores.weighted_f1 + scores.macro_f1) / 2, thresholds)
