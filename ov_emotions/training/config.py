"""What one training run is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ov_emotions.errors import TrainingError
from ov_emotions.training.checks import Ranges, check_values, plain_values
from ov_emotions.training.pooling import Activation, Pooling

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Loss = Literal["bce", "focal", "asymmetric"]
ClassWeighting = Literal["none", "inverse", "sqrt_inverse", "effective"]
Optimizer = Literal["adamw", "adam"]
Schedule = Literal["linear", "cosine", "constant"]
Tracking = Literal["none", "mlflow"]

MIN_LENGTH = 4
"""Two special tokens, and room for two more: what a bundle's window holds at the least."""


_RANGES: Ranges = (
    (
        ("learning_rate", "head_learning_rate", "max_grad_norm"),
        lambda value: value > 0,
        "above 0",
    ),
    (
        ("epochs", "batch_size", "accumulation_steps", "evaluations_per_epoch", "patience"),
        lambda value: value >= 1,
        "at least 1",
    ),
    (("max_length",), lambda value: value >= MIN_LENGTH, f"at least {MIN_LENGTH}"),
    (
        (
            "seed",
            "unlabelled_rows",
            "recombined_rows",
            "weight_decay",
            "hidden_size",
            "max_rows",
            "focal_gamma",
            "asymmetric_positive",
            "asymmetric_negative",
        ),
        lambda value: value >= 0,
        "at least 0",
    ),
    (
        (
            "warmup",
            "dropout",
            "hidden_dropout",
            "ema_decay",
            "label_smoothing",
            "asymmetric_clip",
            "effective_beta",
        ),
        lambda value: 0 <= value < 1,
        "in [0, 1)",
    ),
    (("teacher_weight",), lambda value: 0 <= value <= 1, "in [0, 1]"),
    (("layer_decay",), lambda value: 0 < value <= 1, "in (0, 1]"),
    (("focal_alpha",), lambda value: value == -1 or 0 <= value <= 1, "in [0, 1], or -1"),
)


@dataclass(frozen=True)
class TrainConfig:
    """One run, complete: the same values give the same model on the same machine.

    :param base: folder or Hub id of the encoder; or a checkpoint folder of an earlier run with the
        same labels, whose head is then trained on.
    :param data: a prepared folder.
    :param output: folder of the run: resume state, log and the best checkpoint.
    :param epochs: passes over the training rows at most.
    :param batch_size: rows in a step, over all processes together.
    :param accumulation_steps: batches whose gradients are added up before the weights change.
    :param optimizer: adamw (Loshchilov and Hutter 2019), or adam, whose weight_decay is an L2 term.
    :param learning_rate: peak, of the encoder.
    :param head_learning_rate: peak, of the head.
    :param layer_decay: each layer of the encoder learns at this share of the rate of the layer
        above it; the topmost at learning_rate, the embeddings slowest (Clark et al. 2020); 1 for
        one rate.
    :param freeze_embeddings: whether the encoder's embeddings stay as they are.
    :param weight_decay: of the optimiser, not applied to biases and norms.
    :param schedule: what follows the warm-up: a straight fall to zero, a half cosine to zero, or
        the peak to the end.
    :param warmup: share of all steps over which the rate rises linearly.
    :param pooling: how token states become one vector.
    :param dropout: on the pooled vector, before the head's first layer.
    :param hidden_size: width of the head's inner layer; 0 for a head of one linear layer.
    :param activation: after the inner layer.
    :param hidden_dropout: after the activation, before the output layer.
    :param max_length: tokens a training text is cut to, special tokens included.
    :param max_grad_norm: gradients are clipped to this norm; inf never clips.
    :param max_rows: a subset of the training rows of this size, drawn by the seed, for quick
        comparisons; 0 for all.
    :param loss: bce; focal (Lin et al. 2017); or asymmetric (Ridnik et al. 2021).
    :param focal_gamma: how much easy entries are played down by the focal loss.
    :param focal_alpha: weight of a present label in the focal loss, 1 minus it of an absent one;
        -1 for none.
    :param asymmetric_positive: gamma of the asymmetric loss for present labels.
    :param asymmetric_negative: gamma of the asymmetric loss for absent labels.
    :param asymmetric_clip: probabilities of absent labels are lowered by this much in the
        asymmetric loss, so that the easiest ones do not count.
    :param class_weighting: how much more a present label counts than an absent one, by how often
        it is known to be absent and present in the training rows: absent over present, the square
        root of that, or the ratio of the effective numbers of samples (Cui et al. 2019).
    :param effective_beta: beta of the effective number of samples; nearer to 1 is nearer to
        inverse.
    :param positive_weight: the same factor given by hand per label; wins over class_weighting, and
        where that is none, it is 1 where a label is not named.
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
    :param precision: auto takes bf16 where the hardware multiplies it faster; fp16 needs CUDA, and
        scales the loss so that small gradients survive.
    :param device: auto takes CUDA where there is one.
    :param compile: whether torch.compile makes the training step faster; needs a C++ compiler.
    :param seed: of weights, dropout and order.
    :param teachers: checkpoints, or bundles, which run in OpenVINO and several times as fast:
        folders, shipped names or Hub ids; the mean of their probabilities is learned beside the
        labels.
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
    :param track: mlflow also sends the run to an MLflow server; history.json and history.csv are
        written always.
    :param tracking_uri: of the MLflow server or store; MLFLOW_TRACKING_URI where it is not given.
    :param experiment: name of the MLflow experiment.
    :param run_name: of the MLflow run; the name of the output folder where it is not given.
    """

    base: str
    data: Path
    output: Path
    epochs: int = 4
    batch_size: int = 64
    accumulation_steps: int = 1
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    layer_decay: float = 1.0
    freeze_embeddings: bool = False
    weight_decay: float = 0.01
    schedule: Schedule = "linear"
    warmup: float = 0.06
    pooling: Pooling = "mean"
    dropout: float = 0.1
    hidden_size: int = 0
    activation: Activation = "gelu"
    hidden_dropout: float = 0.0
    max_length: int = 96
    max_grad_norm: float = 1.0
    max_rows: int = 0
    loss: Loss = "bce"
    focal_gamma: float = 2.0
    focal_alpha: float = -1.0
    asymmetric_positive: float = 0.0
    asymmetric_negative: float = 4.0
    asymmetric_clip: float = 0.05
    class_weighting: ClassWeighting = "none"
    effective_beta: float = 0.999
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
    compile: bool = False
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
    track: Tracking = "none"
    tracking_uri: str | None = None
    experiment: str = "ov-emotions"
    run_name: str | None = None

    def __post_init__(self) -> None:
        check_values(self, _RANGES)
        if self.unlabelled_rows and not (self.teachers and self.unlabelled):
            raise TrainingError("unlabelled_rows needs teachers and unlabelled files")
        if self.recombined_rows and not self.teachers:
            raise TrainingError("recombined_rows needs teachers")
        if self.teacher_only and not self.teachers:
            raise TrainingError("teacher_only needs teachers")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, paths as they were given."""
        return plain_values(self)
