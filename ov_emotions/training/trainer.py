"""The loop of every run: transformers' Trainer, and what ours add to it.

A run scores the selection part of validation as often as its settings say, keeps the best weights
in `best/`, and every two minutes what it needs to go on after a kill: `checkpoint-STEP/`, as the
Trainer writes it. It then ends equal to the bit to a run that nothing stopped: rows come in an
order that the seed and the epoch decide (`LengthBatches`), and everything else that is random is
saved.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState
from typing_extensions import override

from ov_emotions.errors import TrainingError, first_line
from ov_emotions.metrics import Scores
from ov_emotions.progress import Progress, Tell
from ov_emotions.system import quiet_transformers
from ov_emotions.training.device import Device
from ov_emotions.training.examples import LengthBatches
from ov_emotions.training.folder import SAVED, begin, finish, last_saved, write_history, writing
from ov_emotions.training.model import HEAD_PARAMETERS
from ov_emotions.training.settings import Text2TextConfig, TrainConfig

logger = logging.getLogger(__name__)

LoopConfig = TrainConfig | Text2TextConfig
_AVERAGE_NAME = "average.safetensors"
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
_SAVE_EVERY_SECONDS = 120.0
_MEAN_OVER = 100
_COLUMNS = ("epoch", "step", "loss", "weighted_f1", "macro_f1", "unparseable_share")


@dataclass(frozen=True)
class Evaluation:
    """How good the model in its present state is on the selection part.

    :param value: what the best weights have most of.
    :param keep: writes `best/`, given the step.
    :param also: further numbers for the history.
    """

    scores: Scores
    value: float
    keep: Callable[[int], None]
    also: Mapping[str, float] = field(default_factory=dict)


class Course(TrainerCallback, ExportableState):
    """How far a run has come; says when to score, to save and to stop."""

    def __init__(self, config: LoopConfig, batches: LengthBatches, tell: Tell | None) -> None:
        self.batches = batches
        self.tell = tell
        accumulated = getattr(config, "accumulation_steps", 1)
        self.steps_per_epoch = math.ceil(len(batches) / accumulated)
        self.total = self.steps_per_epoch * config.epochs
        self.every = math.ceil(self.steps_per_epoch / config.evaluations_per_epoch)
        self.best, self.since_best = -1.0, 0
        self.history: list[dict[str, Any]] = []
        self.losses: deque[float] = deque(maxlen=_MEAN_OVER)
        self.step_loss = 0.0
        self._saved = time.monotonic()

    def state(self) -> dict[str, Any]:
        """Return what the Trainer saves with its own state."""
        names = ("best", "since_best", "history")
        kept = {name: getattr(self, name) for name in names} | {"losses": list(self.losses)}
        return {"args": {}, "attributes": kept}

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        kept = state.stateful_callbacks.get(type(self).__name__, {}).get("attributes", {})
        if kept:
            self.best, self.since_best = kept["best"], kept["since_best"]
            # The Trainer sorts what it saves; the table keeps its columns' order.
            self.history = [{k: row[k] for k in _COLUMNS if k in row} for row in kept["history"]]
            self.losses.extend(kept["losses"])

    @override
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.batches.set_epoch(state.global_step // self.steps_per_epoch)

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take in a step's loss; say what comes next."""
        self.losses.append(self.step_loss)
        self.step_loss = 0.0
        in_epoch = state.global_step % self.steps_per_epoch
        control.should_evaluate = in_epoch == 0 or in_epoch % self.every == 0
        due = time.monotonic() - self._saved > _SAVE_EVERY_SECONDS
        control.should_save = due or (in_epoch == 0 and state.global_step < self.total)
        if self.tell:
            note = f"loss {self.mean_loss:.4f}"
            if self.history:
                latest = self.history[-1]
                note += f"  F1 {latest['weighted_f1']:.4f}/{latest['macro_f1']:.4f}"
            self.tell(Progress(state.global_step, self.total, "steps", note))

    @override
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()

    @property
    def mean_loss(self) -> float:
        return float(np.mean(self.losses))

    def take_in(self, evaluation: Evaluation, step: int) -> bool:
        """Add an evaluation to the history; say whether it is the best so far."""
        numbers = {
            "loss": self.mean_loss,
            "weighted_f1": evaluation.scores.weighted_f1,
            "macro_f1": evaluation.scores.macro_f1,
            **evaluation.also,
        }
        row = {"epoch": (step - 1) // self.steps_per_epoch, "step": step}
        self.history.append(row | {name: round(number, 5) for name, number in numbers.items()})
        logger.info("%s", self.history[-1])
        better = evaluation.value > self.best
        self.best = max(self.best, evaluation.value)
        self.since_best = 0 if better else self.since_best + 1
        return better


class WeightAverage(TrainerCallback):
    """An exponential moving average of a model's weights; its decay is reached as steps go by."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take in the weights after a step."""
        # Early on the average would be mostly the start; let its memory grow with the steps.
        decay = min(self._decay, (1 + state.global_step) / (10 + state.global_step))
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                if value.is_floating_point():
                    self.weights[name].lerp_(value, 1 - decay)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from saved weights."""
        for name, value in weights.items():
            self.weights[name].copy_(value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model for the length of a block."""
        own = {k: v.detach().clone() for k, v in self._model.state_dict().items()}
        self._model.load_state_dict(self.weights)
        try:
            yield
        finally:
            self._model.load_state_dict(own)


class _OnDevice(TrainingArguments):
    """Arguments of a Trainer that computes where it is told, on one device."""

    where: torch.device

    @property
    def device(self) -> torch.device:
        _ = super().device  # sets the processes up
        return self.where

    @property
    def n_gpu(self) -> int:
        return min(1, int(super().n_gpu))


def trainer_arguments(config: LoopConfig, device: Device) -> TrainingArguments:
    """Say a run's settings as the Trainer takes them; joins the other processes, if any."""
    _OnDevice.where = device.torch_device
    if device.torch_device.type == "cuda":
        torch.cuda.set_device(device.torch_device)
    return _OnDevice(
        output_dir=str(config.output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=getattr(config, "accumulation_steps", 1),
        max_grad_norm=config.max_grad_norm,
        lr_scheduler_type=_SCHEDULES[getattr(config, "schedule", "linear")],
        seed=config.seed,
        use_cpu=device.torch_device.type == "cpu",
        bf16=device.half == torch.bfloat16,
        fp16=device.half == torch.float16,
        # Our callbacks say when to score and to save, and tell how it goes.
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_total_limit=1,
        disable_tqdm=True,
        report_to=[],
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )


def make_optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """Make the optimiser: a head has a rate of its own, and biases and norms no decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = config.learning_rate
            if isinstance(config, TrainConfig) and name.startswith(HEAD_PARAMETERS):
                rate = config.head_learning_rate
            decay = 0.0 if parameter.ndim < 2 else config.weight_decay
            groups.setdefault((rate, decay), []).append(parameter)
    sets = [{"params": p, "lr": r, "weight_decay": d} for (r, d), p in groups.items()]
    if config.optimizer == "adafactor":
        return torch.optim.Adafactor(sets)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(sets, fused=True)


class RunTrainer(Trainer):
    """A run over rows that are tokenised already, from the last saved state on.

    :param lengths: tokens of every row.
    :param batch: makes a batch of rows by their numbers; -1 is a row that teaches nothing.
    :param score: scores the model in its present state on the selection part.
    :param trackers: told of every evaluation.
    """

    loss_is_scaled = False
    """Whether `compute_loss` divides by what `get_batch_samples` gives, for the whole step."""

    def __init__(
        self,
        model: nn.Module,
        config: LoopConfig,
        args: TrainingArguments,
        lengths: list[int],
        batch: Callable[[list[int]], dict[str, Tensor]],
        score: Callable[[], Evaluation],
        tell: Tell | None,
        trackers: Sequence[TrainerCallback] = (),
    ) -> None:
        self.config = config
        self._score = score
        # Numbers of rows, of which batches are made at once; the last, -1, stays what it is.
        self._rows: Any = [*range(len(lengths)), -1]
        self._batches = LengthBatches(
            lengths, config.batch_size, config.seed, args.process_index, args.world_size
        )
        self.course = Course(config, self._batches, tell)
        args.warmup_steps = math.ceil(config.warmup * self.course.total)
        with quiet_transformers():
            super().__init__(
                model,
                args,
                batch,
                self._rows,
                callbacks=[self.course, *trackers],
                optimizers=(make_optimizer(model, config), None),
            )
        self.model_accepts_loss_kwargs |= self.loss_is_scaled
        self.remove_callback(PrinterCallback)
        decay = getattr(config, "ema_decay", 0.0)
        self.average = WeightAverage(model, decay) if decay else None
        if self.average:
            self.add_callback(self.average)

    def run(self) -> None:
        """Train to the end, or until validation stops improving."""
        begin(self.config, self.args)
        saved = last_saved(self.config.output)
        torch.manual_seed(self.config.seed + self.args.process_index)  # each its own dropout
        with quiet_transformers():
            self.train(resume_from_checkpoint=str(saved) if saved else None)
        if self.args.should_save:
            for folder in self.config.output.glob(f"{SAVED}*"):
                shutil.rmtree(folder, ignore_errors=True)
        finish(self.config, self.args)

    def get_train_dataloader(self) -> Any:
        """Give the epoch's batches; each process takes its share of every one."""
        return torch.utils.data.DataLoader(
            self._rows,
            batch_sampler=self._batches,
            collate_fn=self.data_collator,
            generator=torch.Generator(),  # so that none is taken from the model's random numbers
        )

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Learn from a batch; a loss that is no number ends the run."""
        loss = super().training_step(*args, **kwargs)
        value = float(self.accelerator.reduce(loss, reduction="mean"))
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {self.state.global_step}; lower the learning rate"
            )
        self.course.step_loss += value
        return loss

    def evaluate(self, *_args: Any, **_kwargs: Any) -> dict[str, float]:
        """Score; keep the weights if they are the best so far, stop if they have long not been."""
        step = self.state.global_step
        with self.average.applied() if self.average else contextlib.nullcontext():
            evaluation = self._score()
            better = self.course.take_in(evaluation, step)
            if self.args.should_save:
                write_history(self.config.output, self.course.history)
                if better:
                    evaluation.keep(step)
        latest = self.course.history[-1]
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics=latest
        )
        if self.course.since_best >= self.config.patience:
            self.control.should_training_stop = True
        return latest

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.average and output_dir:
            save_file(self.average.weights, Path(output_dir) / _AVERAGE_NAME)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with writing(self.config.output / f"{SAVED}{self.state.global_step}"):
            super()._save_checkpoint(*args, **kwargs)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The state's last file makes it whole: every process has written by then.
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with _reading(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            if self.average:
                self.average.load(load_file(Path(resume_from_checkpoint) / _AVERAGE_NAME))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _reading(checkpoint):
            super()._load_rng_state(checkpoint)


@contextlib.contextmanager
def _reading(saved: str | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainingError(
            f"{saved} cannot be read ({first_line(error)}); delete it to start the run anew. The "
            f"best checkpoint so far, if there is one, is intact in {Path(saved or '.').parent}"
        ) from error
