"""What the client asks of a server, whichever protocol carries it: one interface, three kinds.

`rest` and `grpc` speak KServe v2, `tfs` the TensorFlow Serving API of older Model Servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import ServerError, ServerUnavailableError
from ov_emotions.normalize import replace_surrogates

_SHOWN_CHARACTERS = 300

_HINTS = {
    ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"): (
        "give an authorization header that the server accepts"
    ),
    ("404", "NOT_FOUND"): "check the model's name and version in the URL",
    ("413", "RESOURCE_EXHAUSTED"): "make batch_texts and batch_bytes smaller",
    ("UNIMPLEMENTED",): "it does not speak the KServe API",
}


@dataclass(frozen=True)
class TensorSpec:
    """What a server says of an input or output.

    :param datatype: KServe's name, `BYTES` or `FP32` say.
    :param shape: -1 where any size goes, and where a range does.
    :param most: the upper end of a range of rows, `1:256` say; None where none is told.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    most: int | None = None

    @staticmethod
    def of(name: object, datatype: object, shape: Sequence[Any]) -> TensorSpec:
        """Read one: sizes are integers, integers as texts, or ranges."""
        ranges = [re.fullmatch(r"\[?(\d+)[:~](\d+)\]?", str(size)) for size in shape]
        sizes = tuple(-1 if found else int(size) for size, found in zip(shape, ranges, strict=True))
        most = int(ranges[0][2]) if ranges and ranges[0] else None
        return TensorSpec(str(name), str(datatype), sizes, most)


@dataclass(frozen=True)
class ModelMetadata:
    """What a server says of a model.

    :param versions: those that are served, as far as it tells.
    :param facts: the texts under rt_info.model_info; only Model Server's REST API has them.
    """

    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tensor:
    """An input of a request.

    :param datatype: `BYTES` or `INT64`.
    :param array: objects (bytes) or int64.
    """

    name: str
    datatype: str
    array: NDArray[Any]


@dataclass(frozen=True)
class Answer:
    """The answer to an inference request.

    :param version: the model version that gave it; empty where the server does not say.
    :param arrays: what was asked for, by output: float32, or objects (bytes) for texts.
    """

    version: str
    arrays: Mapping[str, NDArray[Any]]


class Transport(Protocol):
    """A connection to a server, for one model.

    Every call is one attempt, of at most `timeout` seconds. It raises ServerUnavailableError where
    trying again may help, and another ServerError where it does not.
    """

    async def health(self, of: Literal["live", "ready", "model"], timeout: float) -> bool:
        """Whether the server runs, has loaded all its models, or this one."""

    async def loading(self, timeout: float) -> bool:
        """Whether the server says that it is not ready yet, so that a missing model may come."""

    async def server(self, timeout: float) -> str:
        """Name and version of the server."""

    async def metadata(self, version: str, timeout: float) -> ModelMetadata:
        """What the server says of the model."""

    async def parameters(self, version: str, timeout: float) -> Mapping[str, str]:
        """The texts among the parameters in the model's configuration, Triton's extension."""

    async def infer(
        self, tensors: Sequence[Tensor], outputs: Sequence[str], version: str, timeout: float
    ) -> Answer:
        """Run the model."""

    async def close(self) -> None:
        """Let go of the connection."""


class NotFoundError(ServerError):
    """The model is not there: never was, is no more, or is being loaded."""


class OverloadedError(ServerUnavailableError):
    """The server runs and has too much to do (429, RESOURCE_EXHAUSTED)."""


class SlowAnswerError(ServerUnavailableError):
    """The answer did not come in time."""


def text_bytes(text: str) -> bytes:
    """Encode a text for a request.

    NUL becomes a space, as the normaliser has it, and never leaves: Model Server cuts a text in
    JSON there, and ovmsclient one at its end.
    """
    return replace_surrogates(text).replace("\0", " ").encode()


def answer_of(
    get: Callable[[str], NDArray[Any] | None], outputs: Sequence[str], version: str, where: str
) -> Answer:
    """Take the wanted outputs out of a result.

    :raises ServerError: if the answer lacks an output or contradicts itself.
    """
    arrays = {}
    for output in outputs:
        try:
            array = get(output)
            if array is not None:
                arrays[output] = np.array(array)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ServerError(f"{where} gave a malformed {output}: {error}") from error
        if array is None:
            raise ServerError(f"{where} gave no {output}, which was asked for")
    return Answer(version, arrays)


def short(message: object) -> str:
    """Put a server's message on one line of bounded length, without HTML."""
    text = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", str(message))
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def grpc_reason(message: str) -> str:
    """Find the reason in gRPC's message about a connection that was not made."""
    return re.sub(r"^[A-Z_]+: ", "", message.rpartition("last error: ")[2])


def foreign(where: object, answer: object) -> ServerError:
    """Make the error for an answer that is not of the protocol."""
    return ServerError(f"{where} gave an answer that is not KServe's: {short(answer)}")


def too_slow(where: object, timeout: float) -> SlowAnswerError:
    """Make the error for an answer that did not come in time."""
    return SlowAnswerError(f"{where} did not answer within {timeout:.3g} s")


def refusal(where: object, status: str, message: object, *, temporary: bool) -> ServerError:
    """Make the error for an answer that is one."""
    told = short(message) or "it gave no reason"
    if temporary:
        overloaded = status in ("429", "RESOURCE_EXHAUSTED")
        kind = OverloadedError if overloaded else ServerUnavailableError
        return kind(f"{where} cannot answer now ({status}): {told}")
    missing = status in ("404", "NOT_FOUND")
    hint = next((f"; {todo}" for statuses, todo in _HINTS.items() if status in statuses), "")
    return (NotFoundError if missing else ServerError)(
        f"{where} refused the request ({status}): {told}{hint}"
    )
