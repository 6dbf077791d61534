"""What is published of a bundle: the model that takes texts, and what Triton is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from ov_emotions.errors import InputError
from ov_emotions.schema import LabelNames, LongTexts, check_fields
from ov_emotions.serving.profile import MAX_BATCH, MAX_CORES
from ov_emotions.serving.repository import check_name

_Copies = Annotated[int, Meta(ge=1, le=MAX_CORES)]


@dataclass(frozen=True)
class ServedConfig:
    """What a served model takes and gives, on any server.

    :param names: Russian names of the emotions (ru) or English ones (en), in the output labels.
    :param separator: between the names of one text.
    :param token_in: take input_ids and attention_mask, from callers who tokenise themselves, and
        give probabilities without names.
    :raises InputError: if a value makes no sense.
    """

    names: LabelNames = "ru"
    separator: Annotated[str, Meta(min_length=1)] = ", "
    token_in: bool = False

    def __post_init__(self) -> None:
        check_fields(self, InputError)

    @property
    def takes(self) -> Literal["text", "tokens"]:
        """What goes into the served model."""
        return "tokens" if self.token_in else "text"

    def facts(self, long_texts: LongTexts) -> dict[str, str]:
        """Return what clients are told of it beside the bundle's own facts."""
        if self.takes == "tokens":
            return {"input": "tokens"}
        names = {"label_names": self.names, "separator": self.separator}
        return {"input": "text", "long_texts": long_texts, **names}


@dataclass(frozen=True)
class TextModelConfig(ServedConfig):
    """What the served model takes and gives.

    :param max_batch: texts of one request at most; the server refuses more. Memory grows with it.
    :param few_widths: hold copies of the classifier for single texts of few widths, which answer
        one and a half times as soon; None does so for models of up to 64 MiB. They cost seconds
        when the model is loaded.
    """

    max_batch: Annotated[int, Meta(ge=1, le=100_000)] = MAX_BATCH
    few_widths: bool | None = None


@dataclass(frozen=True)
class TritonConfig(ServedConfig):
    """How Triton shall serve a bundle.

    The Python backend needs the ov-emotions wheel in the server's Python. The OpenVINO backend
    takes token ids in any case, and cannot be told to compute in f32 where the CPU would rather use
    bf16.

    :param backend: which of Triton's backends runs the model.
    :param name: of the model on the server.
    :param long_texts: read a long text whole in windows, or its beginning only.
    :param instances: copies of the model, each works on one request at a time; a process each with
        the Python backend.
    :param threads: CPU threads of a copy (default: all).
    """

    backend: Literal["python", "openvino"] = "python"
    name: str = "emotions"
    long_texts: LongTexts = "window"
    instances: _Copies = 1
    threads: _Copies | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.name)

    @property
    def takes(self) -> Literal["text", "tokens"]:
        """What goes into the served model."""
        return "tokens" if self.token_in or self.backend == "openvino" else "text"
