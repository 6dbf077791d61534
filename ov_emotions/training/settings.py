"""What a run is made of: its settings, the presets that come with the library, and TOML of both.

Every setting is declared once, here: flags, keys of a configuration file and help come from the
fields of these classes and their `:param` lines.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from ov_emotions.errors import TrainingError
from ov_emotions.schema import (
    Count,
    Flag,
    check_fields,
    field_values,
    param_texts,
    read_toml,
    to_builtins,
)
from ov_emotions.system import require

Pooling = Literal["cls", "mean", "cls+mean"]
Activation = Literal["relu", "gelu", "tanh", "silu", "leaky_relu", "elu"]
Attention = Literal["auto", "eager", "sdpa"]
Names = Literal["russian", "english"]
_Config = TypeVar("_Config", bound="RunConfig")

CONFIG_NAME, BEST_NAME = "config.toml", "best"
_PRESETS = Path(__file__).parent / "presets"

Natural = Annotated[int, Meta(ge=0)]
Length = Annotated[int, Meta(ge=4)]
"""In tokens: two special ones, and room for two more, a bundle's window at the least."""
Rate = Annotated[float, Meta(gt=0)]
Amount = Annotated[float, Meta(ge=0)]
Part = Annotated[float, Meta(ge=0, lt=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every run has.

    :param base: folder or Hub id of the model that training starts from.
    :param data: a prepared folder.
    :param output: folder of the run: resume state, log and the best checkpoint.
    :param epochs: passes over the training rows at most.
    :param weight_decay: of the optimiser, not applied to biases and norms.
    :param warmup: share of all steps over which the rate rises linearly.
    :param max_grad_norm: gradients are clipped to this norm; inf never clips.
    :param patience: evaluations without progress before the run stops.
    :param evaluations_per_epoch: how often the selection part of validation is scored.
    :param device: auto takes CUDA where there is one; else cpu, cuda or cuda:N.
    :param seed: of weights, dropout, order and the rows drawn.
    """

    base: str
    data: Path
    output: Path
    epochs: Count = 4
    weight_decay: Amount = 0.01
    warmup: Part = 0.06
    max_grad_norm: Rate = 1.0
    patience: Count = 3
    evaluations_per_epoch: Count = 1
    device: str = "auto"
    seed: Natural = 20261122

    def __post_init__(self) -> None:
        check_fields(self, TrainingError)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, paths as they were given."""
        values = _plain(self)
        return {name: "inf" if value == math.inf else value for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """One run, complete: the same values give the same model on the same machine.

    :param base: folder or Hub id of the encoder; or a checkpoint folder of an earlier run with the
        same labels, whose head is then trained on.
    :param batch_size: rows in a step, over all processes together.
    :param accumulation_steps: batches whose gradients are added up before the weights change.
    :param optimizer: adamw (Loshchilov and Hutter 2019), or adam, whose weight_decay is an L2 term.
    :param learning_rate: peak, of the encoder.
    :param head_learning_rate: peak, of the head.
    :param freeze_embeddings: whether the encoder's embeddings stay as they are.
    :param schedule: what follows the warm-up: a straight fall to zero, a half cosine to zero, or
        the peak to the end.
    :param attention: how the encoder computes attention while it is trained; auto takes eager where
        a CPU computes in bf16, else what transformers takes for it.
    :param pooling: how token states become one vector.
    :param dropout: on the pooled vector, before the head's first layer.
    :param hidden_size: width of the head's inner layer; 0 for a head of one linear layer.
    :param activation: after the inner layer.
    :param hidden_dropout: after the activation, before the output layer.
    :param max_length: tokens a training text is cut to, special tokens included.
    :param max_rows: a subset of the training rows of this size, drawn by the seed, for quick
        comparisons; 0 for all.
    :param loss: bce, or asymmetric (Ridnik et al. 2021).
    :param asymmetric_positive: gamma of the asymmetric loss for present labels.
    :param asymmetric_negative: gamma of the asymmetric loss for absent labels.
    :param asymmetric_clip: probabilities of absent labels are lowered by this much in the
        asymmetric loss, so that the easiest ones do not count.
    :param class_weighting: inverse lets a present label count as many times as it is known to be
        absent for each time that it is known to be present in the training rows.
    :param positive_weight: the same factor given by hand per label; wins over class_weighting, and
        where that is none, it is 1 where a label is not named.
    :param row_weight: per label, how much a row that has it counts, in all its labels; the largest
        factor where a row has several. Corrects a set that lacks rows of some label.
    :param origin_weight: per set, how much its rows count; 1 where a set is not named, and a set
        of weight 0 is left out.
    :param augmentation_weight: per method of `data augment`, how much the rows that it made count,
        beside what the weight of their set gives; 1 where a method is not named.
    :param label_smoothing: targets are drawn this far towards one half.
    :param ema_decay: decay of the averaged weights that are evaluated and kept; 0 for none.
    :param precision: auto takes bf16 where the hardware multiplies it faster; fp16 needs CUDA, and
        scales the loss so that small gradients survive.
    :param compile: whether torch.compile makes the training step faster; needs a C++ compiler.
    :param teachers: checkpoints, or bundles, which run in OpenVINO and several times as fast:
        folders, shipped names or Hub ids; the mean of their probabilities is learned beside the
        labels.
    :param teacher_weight: share of the teachers in the loss.
    :param teacher_only: sets whose own labels are not learned, only what the teachers say of their
        texts: for sets that were annotated by other rules.
    :param label_only: sets whose known labels are learned as they are, whatever the teachers say:
        for sets that the teachers have not learned.
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

    batch_size: Count = 64
    accumulation_steps: Count = 1
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: Rate = 1e-4
    head_learning_rate: Rate = 1e-3
    freeze_embeddings: bool = False
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    attention: Attention = "auto"
    pooling: Pooling = "mean"
    dropout: Part = 0.1
    hidden_size: Natural = 0
    activation: Activation = "gelu"
    hidden_dropout: Part = 0.0
    max_length: Length = 96
    max_rows: Natural = 0
    loss: Literal["bce", "asymmetric"] = "bce"
    asymmetric_positive: Amount = 0.0
    asymmetric_negative: Amount = 4.0
    asymmetric_clip: Part = 0.05
    class_weighting: Literal["none", "inverse"] = "none"
    positive_weight: dict[str, float] | None = None
    row_weight: dict[str, float] | None = None
    origin_weight: dict[str, float] | None = None
    augmentation_weight: dict[str, float] | None = None
    label_smoothing: Part = 0.0
    ema_decay: Part = 0.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    teachers: tuple[str, ...] = ()
    teacher_weight: Share = 0.5
    teacher_only: tuple[str, ...] = ()
    label_only: tuple[str, ...] = ()
    teacher_cache: Path | None = None
    unlabelled: tuple[Path, ...] = ()
    unlabelled_rows: Natural = 0
    recombined_rows: Natural = 0
    unlabelled_source: str = "unlabelled texts"
    unlabelled_licence: str = "unknown"
    unlabelled_url: str = "unknown"
    track: Literal["none", "mlflow"] = "none"
    tracking_uri: str | None = None
    experiment: str = "ov-emotions"
    run_name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unlabelled_rows and not (self.teachers and self.unlabelled):
            raise TrainingError("unlabelled_rows needs teachers and unlabelled files")
        for name in ("recombined_rows", "teacher_only", "label_only"):
            if getattr(self, name) and not self.teachers:
                raise TrainingError(f"{name} needs teachers")


@dataclass(frozen=True, kw_only=True)
class DistillConfig(TrainConfig):
    """A small student that learns from larger or several teachers, on texts that nobody labelled.

    The settings that made emotions-ru-tiny what it is: give base (the student), teachers, data and
    output, and text files of your own as unlabelled with unlabelled_rows, if you have some.
    """

    teachers: tuple[str, ...] = field()
    epochs: Count = 2
    learning_rate: Rate = 2e-4
    head_learning_rate: Rate = 4e-4
    ema_decay: Part = 0.999
    evaluations_per_epoch: Count = 2
    patience: Count = 8
    # What the teachers say counts more than the labels do, and alone where there are none.
    teacher_weight: Share = 0.7
    # A small student lacks texts before it lacks room: new ones are made of the training texts.
    recombined_rows: Natural = 150_000


@dataclass(frozen=True, kw_only=True)
class Text2TextConfig(RunConfig):
    """One text-to-text run, complete.

    :param base: folder or Hub id of a sequence-to-sequence model, ai-forever/ruT5-base or
        cointegrated/rut5-base-multitask for instance; or the `best` folder of an earlier run.
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
    :param batch_size: rows in a step.
    :param optimizer: adamw, or adafactor, which needs less memory and which T5 was trained with.
    :param learning_rate: peak; ten times that of an encoder is usual for T5.
    :param max_source_length: tokens that prefix and text are cut to, special tokens included.
    :param max_target_length: tokens that the model writes at most, the end token included.
    :param beams: width of the beam search. 1 writes greedily, and every score is 1 or 0; with
        more, a label's score is the share of the beams' probability that lies on outputs with it.
    :param constrained: write nothing but label names in their order; needs 10 labels at most.
    :param precision: auto takes bf16 where the hardware multiplies it faster.
    """

    prefix: str = "эмоции: "
    names: Names = "russian"
    no_emotion: str = "нет"
    unknown_labels: Literal["leave-out", "absent"] = "leave-out"
    sets: tuple[str, ...] = ()
    rows: Natural = 0
    selection_rows: Natural = 0
    batch_size: Count = 32
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    learning_rate: Rate = 3e-4
    max_source_length: Length = 96
    max_target_length: Length = 32
    beams: Count = 1
    constrained: bool = False
    # Not fp16, in which T5's activations overflow.
    precision: Literal["auto", "fp32", "bf16"] = "auto"


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """A base encoder with the normaliser inside its tokeniser and a smaller vocabulary.

    :param base: folder of the base encoder: config.json, model.safetensors and tokenizer.json of a
        BERT-like model.
    :param output: folder to write as a whole.
    :param keep: unused pieces that stay all the same: those of Cyrillic letters and digits, or
        only those of digits.
    :param max_positions: position embeddings beyond these are dropped.
    """

    base: Annotated[Path, Flag(positional=True)]
    output: Annotated[Path, Flag(positional=True)]
    keep: Literal["cyrillic", "digits"] = "cyrillic"
    max_positions: Length = 512

    def __post_init__(self) -> None:
        check_fields(self, TrainingError)


def preset_names() -> tuple[str, ...]:
    """Name the presets that come with the library, in alphabetical order."""
    return tuple(sorted(["distill", *(path.stem for path in _PRESETS.glob("*.toml"))]))


def preset_description(name: str) -> str:
    """Return what a preset says of itself: the first paragraph of its comment, on one line."""
    if name == "distill":
        return (DistillConfig.__doc__ or "").partition("\n")[0]
    lines = (_PRESETS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    head = lines[: next((i for i, line in enumerate(lines) if not line.strip("# ")), None)]
    return " ".join(line.lstrip("# ") for line in head)


def preset_values(name: str) -> dict[str, Any]:
    """Read a preset.

    :raises TrainingError: if there is none of that name.
    """
    if name not in preset_names():
        raise TrainingError(
            f"there is no preset {name!r}; choose one of {', '.join(preset_names())}"
        )
    if name == "distill":
        usual = {field.name: field.default for field in fields(TrainConfig)}
        own = {f.name: f.default for f in fields(DistillConfig) if f.default is not MISSING}
        return {name: value for name, value in own.items() if value != usual[name]}
    return _read(_PRESETS / f"{name}.toml", TrainConfig)


def load_settings(
    kind: type[_Config],
    preset: str | None = None,
    file: Path | None = None,
    given: Mapping[str, Any] | None = None,
) -> _Config:
    """Put settings together: what is given wins over the file, over the preset, over the defaults.

    Paths in a file are relative to where the command runs, as on the command line. A key wins as
    a whole, tables too.

    :param file: a TOML file whose keys are the fields of the class.
    :raises TrainingError: for a preset that is not there, a file that cannot be read, a key that
        is unknown, a value of the wrong type or out of range, and settings that nobody gives.
    """
    values = preset_values(preset) if preset is not None else {}
    if file is not None:
        values |= _read(file, kind)
    values |= given or {}
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in values]
    if missing:
        raise TrainingError(
            f"a run needs {', '.join(missing)}: as flags, or as keys of the file of --config"
        )
    return kind(**values)


def _read(path: Path, kind: type[Any]) -> dict[str, Any]:
    table = read_toml(path, dict[str, Any], TrainingError)
    return field_values(kind, table, str(path), TrainingError)


def _plain(config: RunConfig) -> dict[str, Any]:
    values: dict[str, Any] = to_builtins(config)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def settings_text(config: RunConfig) -> str:
    """Write every setting as commented TOML that `load_settings` reads back as the same run."""
    writer = require("tomli_w", extra="train")
    texts: dict[str, str] = {}
    for kind in reversed(type(config).__mro__):
        texts |= param_texts(kind.__doc__ or "")
    values = _plain(config)
    # A table takes in every key after it, so tables come last.
    names = sorted(values, key=lambda name: isinstance(values[name], dict))
    blocks = []
    for name in names:
        comment = textwrap.fill(texts[name], 98, initial_indent="# ", subsequent_indent="# ")
        # TOML has no null: what is not set is shown as a comment.
        setting = (
            f"# {name} is not set\n"
            if values[name] is None
            else str(writer.dumps({name: values[name]}))
        )
        blocks.append(f"{comment}\n{setting}")
    return "\n".join(blocks)
