"""What one text-to-text run is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ov_emotions.training.checks import Ranges, check_values, plain_values
from ov_emotions.training.text_to_text.targets import Names

Optimizer = Literal["adamw", "adafactor"]
UnknownLabels = Literal["leave-out", "absent"]
Precision = Literal["auto", "fp32", "bf16"]
"""Not fp16, in which T5's activations overflow."""

_RANGES: Ranges = (
    (("learning_rate", "max_grad_norm"), lambda value: value > 0, "above 0"),
    (
        ("epochs", "batch_size", "beams", "patience", "evaluations_per_epoch"),
        lambda value: value >= 1,
        "at least 1",
    ),
    (
        ("max_source_length", "max_target_length"),
        lambda value: value >= 4,
        "at least 4",
    ),
    (("rows", "selection_rows", "weight_decay", "seed"), lambda value: value >= 0, "at least 0"),
    (("warmup",), lambda value: 0 <= value < 1, "in [0, 1)"),
)


@dataclass(frozen=True)
class Text2TextConfig:
    """One run, complete: the same values give the same model on the same machine.

    :param base: folder or Hub id of a sequence-to-sequence model, ai-forever/ruT5-base or
        cointegrated/rut5-base-multitask for instance; or the `best` folder of an earlier run.
    :param data: a prepared folder.
    :param output: folder of the run: resume state, log and the best checkpoint.
    :param prefix: what stands before every text, so that the model knows the task.
    :param names: which names of the labels the model writes.
    :param no_emotion: what it writes where no label is present; may be empty.
    :param unknown_labels: what becomes of rows in which some label is not annotated; a target text
        cannot say "unknown". leave-out does not train on them; absent takes such labels for
        absent, which teaches the model not to write them. Scores leave unknown labels out anyway.
    :param sets: train on these sets only; all where none is named.
    :param rows: draw so many training rows; 0 for all.
    :param selection_rows: score so many rows of the selection part at each evaluation, drawn once;
        0 for all.
    :param epochs: passes over the training rows at most.
    :param batch_size: rows in a step.
    :param optimizer: adamw, or adafactor, which needs less memory and which T5 was trained with.
    :param learning_rate: peak; ten times that of an encoder is usual for T5.
    :param weight_decay: of the optimizer.
    :param warmup: share of all steps over which the rate rises linearly; then it falls to zero.
    :param max_grad_norm: gradients are clipped to this norm.
    :param max_source_length: tokens that prefix and text are cut to, special tokens included.
    :param max_target_length: tokens that the model writes at most, the end token included.
    :param beams: width of the beam search. 1 writes greedily, and every score is 1 or 0; with
        more, a label's score is the share of the beams' probability that lies on outputs with it.
    :param constrained: write nothing but label names in their order; needs 10 labels at most.
    :param patience: evaluations without progress before the run stops.
    :param evaluations_per_epoch: how often the selection part is scored.
    :param precision: auto takes bf16 where the hardware multiplies it faster.
    :param device: auto takes CUDA where there is one.
    :param seed: of dropout, order and the rows drawn.
    """

    base: str
    data: Path
    output: Path
    prefix: str = "эмоции: "
    names: Names = "russian"
    no_emotion: str = "нет"
    unknown_labels: UnknownLabels = "leave-out"
    sets: tuple[str, ...] = ()
    rows: int = 0
    selection_rows: int = 0
    epochs: int = 4
    batch_size: int = 32
    optimizer: Optimizer = "adamw"
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.06
    max_grad_norm: float = 1.0
    max_source_length: int = 96
    max_target_length: int = 32
    beams: int = 1
    constrained: bool = False
    patience: int = 3
    evaluations_per_epoch: int = 1
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 20261122

    def __post_init__(self) -> None:
        check_values(self, _RANGES)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, paths as they were given."""
        return plain_values(self)
