"""What is converted, and what the caller says where the files do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ov_emotions.errors import InputError
from ov_emotions.schema import Flag, InferencePrecision, Task


@dataclass(frozen=True)
class ConversionConfig:
    """What is converted, and what is made of it.

    :param model: Hub id, folder, or a TOML file that describes the head of a state dict.
    :param output: folder of the bundle; replaced as a whole.
    :param data: labelled texts: files, or a prepared folder. They calibrate, fit thresholds and
        measure. Without them the weights alone are made small.
    :param text_column: column of the files with the text.
    :param name: of the bundle (default: the output folder's).
    :param labels: names of the outputs, in their order (default: those of config.json).
    :param task: `multi_label` or `single_label` (default: what config.json says, or the data).
    :param normalizer: `none` keeps the model's reading; `asr-1` reads what a speech recogniser
        would have written.
    :param recipe: of quantization, fp32 and fp16 among them (default: int8-mixed with data,
        int8-weights without).
    :param precision: inference precision that the bundle is approved at.
    :param max_length: tokens of a window (default: the model's, 512 at most).
    :param base: folder or Hub id of an adapter's base, where it is not found.
    :param base_model: published name of the encoder.
    :param base_licence: SPDX licence of the encoder.
    :param licence: SPDX licence of the bundle.
    :param report: folder for a study of all recipes, or of the one that is named, beside fp32; it
        decides what is written to output.
    :param rounds: of the study's timing.
    :param seed: of the parts that rows are dealt to, and of the texts that are compared.
    """

    model: Annotated[str, Flag(positional=True)]
    output: Annotated[Path, Flag(positional=True)]
    data: tuple[Path, ...] = ()
    text_column: str = "text"
    name: str = ""
    labels: tuple[str, ...] = ()
    task: Task | None = None
    normalizer: Literal["none", "asr-1"] = "none"
    recipe: str | None = None
    precision: InferencePrecision | None = None
    max_length: int | None = None
    base: str | None = None
    base_model: str = ""
    base_licence: str = "unknown"
    licence: str = "unknown"
    report: Path | None = None
    rounds: int = 5
    seed: int = 20261122

    def __post_init__(self) -> None:
        if self.report is not None and not self.data:
            raise InputError("--report compares models by their figures, which needs --data")
