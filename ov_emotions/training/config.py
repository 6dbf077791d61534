"""What one training run is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ov_emotions.errors import TrainingError
from ov_emotions.training.pooling import POOLINGS, Pooling

Precision = Literal["auto", "fp32", "bf16"]

MIN_LENGTH = 4
"""Two special tokens, and room for two more: what a bundle's window holds at the least."""


@dataclass(frozen=True)
class TrainConfig:
    """One run, complete: the same values give the same model on the same machine.

    :param base: folder or Hub id of the encoder; or a checkpoint folder of an earlier run with the
        same labels, whose head is then trained on.
    :param data: a prepared folder.
    :param output: folder of the run: resume state, log and the best checkpoint.
    :param epochs: passes over the training rows at most.
    :param batch_size: rows in a step.
    :param learning_rate: peak, of AdamW.
    :param head_learning_rate: peak, of the fresh head.
    :param weight_decay: of AdamW, not applied to biases and norms.
    :param warmup: share of all steps over which the rate rises linearly; then it falls to zero.
    :param dropout: before the head.
    :param pooling: how token states become one vector.
    :param max_length: tokens a training text is cut to, special tokens included.
    :param max_grad_norm: gradients are clipped to this norm.
    :param positive_weight: per label, how much more a present one counts in the loss than an
        absent one; 1 where a label is not named.
    :param row_weight: per label, how much a row that has it counts, in all its labels; the largest
        factor where a row has several. Corrects a set that lacks rows of some label.
    :param origin_weight: per set, how much its rows count; 1 where a set is not named, and a set
        of weight 0 is left out.
    :param augmentation_weight: per method of `data augment`, how much the rows that it made count,
        beside what the weight of their set gives; 1 where a method is not named.
    :param label_smoothing: targets are drawn this far towards one half.
    :param patience: evaluations without progress before the run stops.
    :param evaluations_per_epoch: how often the validation part is scored.
    :param ema_decay: decay of the averaged weights that are evaluated and kept; 0 for none.
    :param precision: auto takes bf16 where the hardware multiplies it faster.
    :param device: auto takes CUDA where there is one.
    :param seed: of weights, dropout and order.
    :param teachers: folders of checkpoints or of bundles, which run in OpenVINO and several times
        as fast; the mean of their probabilities is learned beside the labels.
    :param teacher_weight: share of the teachers in the loss.
    :param teacher_only: sets whose own labels are not learned, only what the teachers say of their
        texts: for sets that were annotated by other rules.
    :param teacher_cache: folder where what each teacher said is kept, for runs that share teachers
        and texts and for runs that go on after a kill.
    :param unlabelled: text files, plain or gzip, one text a line, for the teachers to label.
    :param unlabelled_rows: how many texts are drawn from them.
    :param recombined_rows: how many texts are made of the beginning of one training text and the
        end of another, for the teachers to label.
    :param unlabelled_source: what these texts are and who made them, for the model card.
    :param unlabelled_licence: their licence, SPDX.
    :param unlabelled_url: where they are published.
    """

    base: str
    data: Path
    output: Path
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.06
    dropout: float = 0.1
    pooling: Pooling = "mean"
    max_length: int = 96
    max_grad_norm: float = 1.0
    positive_weight: dict[str, float] | None = None
    row_weight: dict[str, float] | None = None
    origin_weight: dict[str, float] | None = None
    augmentation_weight: dict[str, float] | None = None
    label_smoothing: float = 0.0
    patience: int = 3
    evaluations_per_epoch: int = 1
    ema_decay: float = 0.0
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 20261122
    teachers: tuple[Path, ...] = ()
    teacher_weight: float = 0.5
    teacher_only: tuple[str, ...] = ()
    teacher_cache: Path | None = None
    unlabelled: tuple[Path, ...] = ()
    unlabelled_rows: int = 0
    recombined_rows: int = 0
    unlabelled_source: str = "unlabelled texts"
    unlabelled_licence: str = "unknown"
    unlabelled_url: str = "unknown"

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "head_learning_rate", "max_grad_norm")
        for name in positive:
            # Written so that NaN is refused too.
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.max_length < MIN_LENGTH:
            raise TrainingError(f"max_length must be at least {MIN_LENGTH}, not {self.max_length}")
        if self.precision not in get_args(Precision):
            raise TrainingError(f"precision must be auto, fp32 or bf16, not {self.precision!r}")
        if self.pooling not in POOLINGS:
            raise TrainingError(f"pooling must be {', '.join(POOLINGS)}, not {self.pooling!r}")
        if not 0 <= self.teacher_weight <= 1:
            raise TrainingError(f"teacher_weight must be in [0, 1], not {self.teacher_weight}")
        for name in ("seed", "unlabelled_rows", "recombined_rows", "weight_decay"):
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} must be at least 0, not {getattr(self, name)}")
        for name in ("warmup", "dropout", "ema_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.evaluations_per_epoch < 1 or self.patience < 1:
            raise TrainingError("evaluations_per_epoch and patience must be at least 1")
        if self.unlabelled_rows and not (self.teachers and self.unlabelled):
            raise TrainingError("unlabelled_rows needs teachers and unlabelled files")
        if self.recombined_rows and not self.teachers:
            raise TrainingError("recombined_rows needs teachers")
        if self.teacher_only and not self.teachers:
            raise TrainingError("teacher_only needs teachers")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, paths as they were given."""

        def plain(value: Any) -> Any:
            if isinstance(value, Path):
                return value.as_posix()
            if isinstance(value, tuple):
                return [plain(item) for item in value]
            return value

        return {key: plain(value) for key, value in asdict(self).items()}
