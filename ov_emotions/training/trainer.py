"""The loop of every run: transformers' Trainer, and what ours add to it.

A run scores the selection part of validation as often as its settings say, keeps the best weights
in `best/`, and every two minutes what it needs to go on after a kill: `checkpoint-STEP/`, as the
Trainer writes it. It then ends equal to the bit to a run that nothing stopped: rows come in an
order that the seed and the epoch decide (`LengthBatches`), and everything else that is random is
saved.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from ov_emotions.errors import TrainingError
from ov_emotions.metrics import score
from ov_emotions.progress import Tell
from ov_emotions.system import quiet_transformers
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid
from ov_emotions.training.course import (
    SAVED,
    Course,
    Evaluation,
    Found,
    WeightAverage,
    first_line,
    last_saved,
    write_history,
    writing,
)
from ov_emotions.training.device import Device
from ov_emotions.training.examples import Examples, Ids, LengthBatches, collate_examples
from ov_emotions.training.losses import choose_loss, loss_scale, masked_sum
from ov_emotions.training.model import HEAD_PARAMETERS, EmotionModel, predict_logits
from ov_emotions.training.settings import Text2TextConfig, TrainConfig

LoopConfig = TrainConfig | Text2TextConfig
_AVERAGE_NAME = "average.safetensors"
_COMPILER = "inductor"


_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


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


class _Seq2SeqOnDevice(_OnDevice, Seq2SeqTrainingArguments):
    pass


def trainer_arguments(config: LoopConfig, device: Device) -> TrainingArguments:
    """Say a run's settings as the Trainer takes them; joins the other processes, if any."""
    kind = _OnDevice if isinstance(config, TrainConfig) else _Seq2SeqOnDevice
    kind.where = device.torch_device
    if device.torch_device.type == "cuda":
        torch.cuda.set_device(device.torch_device)
    return kind(
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


class RunTrainer(Trainer, Generic[Found]):
    """A run over rows that are tokenised already; a kind of run says how it learns and is scored.

    :param keep: called with every evaluation that is the best so far, to write `best/`.
    :param trackers: told of every evaluation.
    """

    def __init__(
        self,
        model: nn.Module,
        config: LoopConfig,
        args: TrainingArguments,
        rows: Any,
        lengths: list[int],
        collate: Callable[[list[Any]], dict[str, Tensor]],
        tell: Tell | None,
        keep: Callable[[Evaluation[Found], int], None],
        trackers: list[TrainerCallback],
    ) -> None:
        self.config = config
        self.keep = keep
        self._rows = rows
        batch_size = args.per_device_train_batch_size
        self.batches = LengthBatches(
            lengths, batch_size, config.seed, args.process_index, args.world_size
        )
        self.course = Course(config, self.batches, tell)
        args.warmup_steps = math.ceil(config.warmup * self.course.total)
        callbacks = [self.course, *trackers]
        optimizers = (make_optimizer(model, config), None)
        with quiet_transformers():
            super().__init__(model, args, collate, rows, callbacks=callbacks, optimizers=optimizers)
        self.remove_callback(PrinterCallback)
        decay = getattr(config, "ema_decay", 0.0)
        self.average = WeightAverage(model, decay) if decay else None
        if self.average:
            self.add_callback(self.average)

    @abstractmethod
    def score(self) -> Evaluation[Found]:
        """Score the model in its present state on the selection part."""

    def run(self) -> None:
        """Train to the end, or until validation stops improving, from the last saved state on."""
        saved = last_saved(self.config.output)
        torch.manual_seed(self.config.seed + self.args.process_index)  # each its own dropout
        with quiet_transformers():
            self.train(resume_from_checkpoint=str(saved) if saved else None)
        if self.args.should_save:
            for folder in self.config.output.glob(f"{SAVED}*"):
                shutil.rmtree(folder, ignore_errors=True)

    def get_train_dataloader(self) -> Any:
        """Give the epoch's batches; each process takes its share of every one."""
        return torch.utils.data.DataLoader(
            self._rows,
            batch_sampler=self.batches,
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
            evaluation = self.score()
            better = self.course.take_in(evaluation, step)
            if self.args.should_save:
                write_history(self.config.output, self.course.history)
                if better:
                    self.keep(evaluation, step)
        latest = self.course.history[-1]
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics=latest
        )
        if self.course.since_best >= self.course.patience:
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


@dataclass(frozen=True)
class Validation:
    """The rows that a run is scored on.

    :param labels: names of the outputs.
    :param fit_ids: token ids of the rows that thresholds are fitted on.
    :param fit_targets: int8, shape (rows, labels): theirs.
    :param ids: token ids of the selection part, which chooses the best weights.
    :param targets: its targets.
    """

    labels: tuple[str, ...]
    fit_ids: list[Ids]
    fit_targets: NDArray[np.int8]
    ids: list[Ids]
    targets: NDArray[np.int8]


class LabelTrainer(RunTrainer[NDArray[np.float32]]):
    """Learns labels: the loss over those that are known, mixed with what teachers say."""

    config: TrainConfig
    train_dataset: Examples

    def __init__(
        self,
        model: EmotionModel,
        config: TrainConfig,
        args: TrainingArguments,
        examples: Examples,
        tell: Tell | None,
        keep: Callable[[Evaluation[NDArray[np.float32]], int], None],
        trackers: list[TrainerCallback],
        device: Device,
        validation: Validation,
    ) -> None:
        collate = partial(collate_examples, pad_id=model.pad_id)
        lengths = [len(row) for row in examples.ids]
        super().__init__(model, config, args, examples, lengths, collate, tell, keep, trackers)
        self.model_accepts_loss_kwargs = True  # a step's loss is divided by the step's scale, once
        self._device = device
        self._emotions = model
        self._validation = validation
        self._loss = choose_loss(config)
        self._network: Any = None

    def score(self) -> Evaluation[NDArray[np.float32]]:
        """Fit thresholds on their part and score the selection part with them.

        :return: with the thresholds, float32, shape (labels,).
        """
        rows, rank, count = self._validation, self.args.process_index, self.args.world_size
        every, fitted = rows.fit_ids + rows.ids, len(rows.fit_ids)
        probabilities = np.zeros((len(every), len(rows.labels)), dtype=np.float32)
        mine = sigmoid(predict_logits(self._emotions, every[rank::count], self._device))
        parts: list[Any] = [mine] * count
        if count > 1:
            torch.distributed.all_gather_object(parts, mine)
        for i, part in enumerate(parts):
            probabilities[i::count] = part
        thresholds = fit_thresholds(probabilities[:fitted], rows.fit_targets)
        predicted = apply_thresholds(probabilities[fitted:], thresholds)
        scores = score(rows.targets, predicted, rows.labels)
        return Evaluation(scores, (scores.weighted_f1 + scores.macro_f1) / 2, thresholds)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """Give a step's batches, and what their losses are divided by, over all processes."""
        batches, _ = super().get_batch_samples(*args, **kwargs)
        taught = self.train_dataset.teacher is not None
        scales = [loss_scale(b["weights"], b["row_weights"], taught=taught) for b in batches]
        whole = torch.stack(scales).sum().to(self.args.device)
        return batches, self.accelerator.reduce(whole, reduction="sum").clamp(min=1e-6)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return a batch's part of the step's loss."""
        if self._network is None:
            self._network = (
                torch.compile(model, dynamic=True, backend=_COMPILER)
                if self.config.compile
                else model
            )
        with _compiling(self.config.compile):
            logits = self._network(inputs["input_ids"], inputs["attention_mask"])
        learned = (inputs["targets"], inputs["weights"], inputs["row_weights"])
        share = self.config.teacher_weight
        total = masked_sum(logits, *learned, inputs.get("teacher"), share, self._loss)
        # The processes' gradients are averaged, and are to be added.
        loss = total / num_items_in_batch * self.args.world_size
        return (loss, logits) if return_outputs else loss


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


class TextTrainer(RunTrainer[Found], Seq2SeqTrainer, Generic[Found]):
    """Learns to write target texts, by the model's own cross-entropy; its maker says how it scores.

    :param score: scores the model in its present state on the selection part.
    """

    def __init__(self, *args: Any, score: Callable[[], Evaluation[Found]]) -> None:
        super().__init__(*args)
        self._score = score

    def score(self) -> Evaluation[Found]:
        """Score the model in its present state."""
        return self._score()
