"""What one training run is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ov_emotions.errors import TrainingError
from ov_emotions.training.pooling import Pooling

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class TrainConfig:
    """One run, complete: the same values give the same model on the same machine.

    :param base: folder or Hub id of the encoder.
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
    :param origin_weight: per set, how much its rows count; 1 where a set is not named.
    :param label_smoothing: targets are drawn this far towards one half.
    :param patience: evaluations without progress before the run stops.
    :param evaluations_per_epoch: how often the validation part is scored.
    :param ema_decay: decay of the averaged weights that are evaluated and kept; 0 for none.
    :param precision: auto takes bf16 where the hardware multiplies it faster.
    :param device: auto takes CUDA where there is one.
    :param seed: of weights, dropout and order.
    :param teacher: folder of a checkpoint whose probabilities are learned beside the labels.
    :param teacher_weight: share of the teacher in the loss.
    :param unlabelled: text files, plain or gzip, one text a line, for the teacher to label.
    :param unlabelled_rows: how many texts are drawn from them.
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
    origin_weight: dict[str, float] | None = None
    label_smoothing: float = 0.0
    patience: int = 3
    evaluations_per_epoch: int = 1
    ema_decay: float = 0.0
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 20261122
    teacher: Path | None = None
    teacher_weight: float = 0.5
    unlabelled: tuple[Path, ...] = ()
    unlabelled_rows: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "head_learning_rate", "max_length")
        for name in positive:
            if getattr(self, name) <= 0:
                raise TrainingError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("warmup", "dropout", "ema_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.evaluations_per_epoch < 1 or self.patience < 1:
            raise TrainingError("evaluations_per_epoch and patience must be at least 1")
        if self.unlabelled_rows and not (self.teacher and self.unlabelled):
            raise TrainingError("unlabelled_rows needs a teacher and unlabelled files")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, paths as they were given."""

        def plain(value: Any) -> Any:
            if isinstance(value, Path):
                return value.as_posix()
            if isinstance(value, tuple):
                return [plain(item) for item in value]
            return value

        return {key: plain(value) for key, value in asdict(self).items()}
