"""What the client asks of a server, whichever protocol carries it (KServe v2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import ServerError, ServerUnavailableError

_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class TensorSpec:
    """What a server says of an input or output.

    :param datatype: KServe's name, `BYTES` or `FP32` say.
    :param shape: -1 where any size goes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    """What a server says of a model.

    :param versions: those that are served, as far as it tells.
    :param platform: what runs it.
    :param facts: the texts under rt_info.model_info; only Model Server's REST API has them.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    facts: Mapping[str, str]


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
    :param array: the output that was asked for.
    """

    version: str
    array: NDArray[Any]


class Transport(Protocol):
    """A connection to a server, for one model.

    Every call is one attempt, of at most `timeout` seconds. It raises ServerUnavailableError where
    trying again may help, and another ServerError where it does not.
    """

    async def live(self, timeout: float) -> bool:
        """Whether the server runs."""

    async def ready(self, timeout: float) -> bool:
        """Whether all its models are loaded."""

    async def server(self, timeout: float) -> str:
        """Name and version of the server."""

    async def model_ready(self, timeout: float) -> bool:
        """Whether the model is loaded."""

    async def metadata(self, version: str, timeout: float) -> ModelMetadata:
        """What the server says of the model."""

    async def parameters(self, version: str, timeout: float) -> Mapping[str, str]:
        """The texts among the parameters in the model's configuration, Triton's extension."""

    async def infer(
        self, tensors: Sequence[Tensor], output: str, version: str, timeout: float
    ) -> Answer:
        """Run the model."""

    async def close(self) -> None:
        """Let go of the connection."""


def answer_of(result: Any, output: str, version: str, where: str) -> Answer:
    """Take the wanted output out of a result of `tritonclient`.

    :param result: its InferResult, of either protocol.
    :param output: name of the output.
    :param version: of the model, as the server said.
    :param where: the server, for messages.
    :return: the answer; its array is the caller's own.
    :raises ServerError: if the answer lacks the output or contradicts itself.
    """
    try:
        array = result.as_numpy(output)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ServerError(f"{where} gave a malformed {output}: {error}") from error
    if array is None:
        raise ServerError(f"{where} gave no {output}, which was asked for")
    return Answer(version, np.array(array))


def shape_of(raw: Sequence[Any]) -> tuple[int, ...]:
    """Read a shape: gRPC has integers, its JSON and some servers texts.

    :param raw: the sizes.
    :return: the sizes as integers.
    """
    return tuple(int(size) for size in raw)


def short(message: object) -> str:
    """Put a server's message on one line of bounded length, without HTML.

    :param message: whatever was received.
    :return: the text.
    """
    text = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", str(message))
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def reason(message: str) -> str:
    """Find the reason in a message of gRPC about a connection that was not made.

    :param message: gRPC's.
    :return: the last error that it tells.
    """
    return re.sub(r"^[A-Z_]+: ", "", message.rpartition("last error: ")[2])


def refusal(where: str, status: str, message: object, *, temporary: bool) -> ServerError:
    """Make the error for an answer that is one.

    :param where: the server.
    :param status: HTTP status or gRPC code.
    :param message: the server's.
    :param temporary: whether trying again may help.
    :return: the error to raise.
    """
    told = short(message) or "it gave no reason"
    if temporary:
        return ServerUnavailableError(f"{where} cannot answer now ({status}): {told}")
    return ServerError(f"{where} refused the request ({status}): {told}{_hint(status)}")


def _hint(status: str) -> str:
    if status in ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"):
        return "; give an authorization header that the server accepts"
    if status in ("404", "NOT_FOUND"):
        return "; check the model's name and version in the URL"
    if status in ("413", "RESOURCE_EXHAUSTED"):
        return "; make batch_texts and batch_bytes smaller"
    if status == "UNIMPLEMENTED":
        return "; it does not speak the KServe API"
    return ""
