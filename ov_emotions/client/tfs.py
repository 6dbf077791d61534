"""The TensorFlow Serving API of OpenVINO Model Server up to 2026.2.1, on `ovmsclient`.

Version 2026.3 removed that API, and `ovmsclient` speaks no other. It is for servers that cannot be
renewed yet; all others are asked over KServe, those from 2022.3 to 2026.2.1 too.

The API tells the tensors of a model and none of its facts, so that the bundle has to be given. The
client sends no headers, and knows TLS over gRPC only.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import (
    Answer,
    ModelMetadata,
    NotFoundError,
    Tensor,
    TensorSpec,
    answer_of,
    grpc_reason,
    refusal,
    short,
)
from ov_emotions.client.url import ServerAddress
from ov_emotions.errors import InputError, ServerError, ServerUnavailableError
from ov_emotions.system import require

T = TypeVar("T")

LAST_VERSION = (2026, 2)

# TensorFlow's names, and KServe's.
_DATATYPES = {"DT_STRING": "BYTES", "DT_INT64": "INT64", "DT_FLOAT": "FP32"}
_TEMPORARY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "DEADLINE_EXCEEDED")


class TfsTransport:
    """A client of one model over the TensorFlow Serving API, gRPC or REST.

    :param address: where the model is.
    :param options: certificates; headers are not possible.
    :raises MissingExtraError: if ovmsclient is not installed.
    :raises InputError: if the options ask for what the API cannot.
    """

    def __init__(self, address: ServerAddress, options: ServerOptions) -> None:
        if options.headers:
            raise InputError(
                "ovmsclient sends no headers; use http:// or grpc:// with Model Server 2022.3 or "
                "newer"
            )
        if address.prefix:
            raise InputError(f"ovmsclient asks for /v1 at the top, not under {address.prefix}")
        client = require("ovmsclient", extra="ovms-legacy")
        self._address = address
        self._version = int(address.version or 0)
        make = client.make_grpc_client if address.grpc else client.make_http_client
        self._client = make(address.target, tls_config=_tls(address, options))
        self._checked = False

    async def health(self, of: Literal["live", "ready", "model"], timeout: float) -> bool:  # noqa: ARG002
        """Whether a version of the model is loaded, the only thing that this API tells."""
        await self._refuse_newer(timeout)
        model, version = self._address.model, self._version
        found = await self._call(lambda: self._client.get_model_status(model, version, timeout))
        return any(status["state"] == "AVAILABLE" for status in found.values())

    async def loading(self, timeout: float) -> bool:  # noqa: ARG002
        """The API does not tell."""
        return False

    async def server(self, timeout: float) -> str:
        """Name and version of the server, as far as they are known."""
        version = None if self._address.grpc else await asyncio.to_thread(self._ask, timeout)
        return version or "TensorFlow Serving API"

    async def metadata(self, version: str, timeout: float) -> ModelMetadata:
        """What the server says of the model's tensors; a newer server is refused."""
        await self._refuse_newer(timeout)
        model, number = self._address.model, int(version or 0)
        raw = await self._call(lambda: self._client.get_model_metadata(model, number, timeout))
        try:
            return ModelMetadata(
                (str(raw["model_version"]),), _specs(raw["inputs"]), _specs(raw["outputs"])
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServerError(
                f"{self._address} gave an answer that is not TensorFlow Serving's: {short(raw)}"
            ) from None

    async def parameters(self, version: str, timeout: float) -> Mapping[str, str]:  # noqa: ARG002
        """There are none in this API."""
        return {}

    async def infer(
        self, tensors: Sequence[Tensor], outputs: Sequence[str], version: str, timeout: float
    ) -> Answer:
        inputs = {tensor.name: _array(tensor) for tensor in tensors}
        model, number = self._address.model, int(version or 0)
        found = await self._call(lambda: self._client.predict(inputs, model, number, timeout))

        def get(output: str) -> NDArray[Any] | None:
            # A model with one output has it at the top.
            array = found.get(output) if isinstance(found, dict) else found
            if array is None:
                return None
            if output == "labels":
                return np.array([_as_bytes(text) for text in array], dtype=np.object_)
            # REST has no types: what is a number there comes as float64.
            return np.array(array, dtype=np.float32)

        return answer_of(get, outputs, "", str(self._address))

    async def close(self) -> None:
        (self._client.channel if self._address.grpc else self._client.session).close()

    async def _call(self, request: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(request)
        except Exception as error:  # its own errors, built-in ones, and those of its libraries
            raise self._error(error) from error

    def _error(self, error: Exception) -> ServerError:
        """Turn an error of ovmsclient into ours; the cause that it hides is in the context."""
        where = self._address
        told = short(error).removeprefix("Error occurred during handling the request: ")
        if system := re.search(r"\[Errno -?\d+\] ([^()\"']+)", str(error)):
            told = system[1]  # out of several lines of nested representations
        told = grpc_reason(told) or type(error).__name__
        code = getattr(error.__context__, "code", None)
        name = code().name if callable(code) else ""
        if name == "UNIMPLEMENTED" or "not implemented" in told:
            return self._too_new("")
        if isinstance(error, TimeoutError):
            return ServerUnavailableError(f"{where} did not answer in time")
        if name == "RESOURCE_EXHAUSTED":
            return refusal(where, name, told, temporary=True)
        if isinstance(error, ConnectionError) and (not name or name in _TEMPORARY):
            return ServerUnavailableError(f"{where} cannot be reached or is not ready: {told}")
        missing = name == "NOT_FOUND" or "with requested" in told
        return (NotFoundError if missing else ServerError)(
            f"{where} refused the request ({name or 'HTTP'}): {told}"
        )

    async def _refuse_newer(self, timeout: float) -> None:
        """Ask the REST port for the server's version; over gRPC the missing API tells."""
        if self._checked or self._address.grpc:
            return
        version = await asyncio.to_thread(self._ask, timeout)
        found = re.search(r"(\d{4})\.(\d+)", version or "")
        if found and (int(found[1]), int(found[2])) > LAST_VERSION:
            raise self._too_new(f" ({version})")
        self._checked = True

    def _ask(self, timeout: float) -> str | None:
        """Name and version from /v2, which servers since 2022.3 answer; None where they do not."""
        url = f"http://{self._address.target}/v2"
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                raw = json.loads(answer.read(10_000))
            return f"{raw['name']} {raw['version']}"
        except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _too_new(self, version: str) -> ServerError:
        scheme = self._address.scheme.removeprefix("tfs+")
        return ServerError(
            f"{self._address} has no TensorFlow Serving API{version}: OpenVINO Model Server "
            f"2026.3 and newer speak KServe only; use {scheme}:// in place of "
            f"{self._address.scheme}://, with pip install 'ov-emotions[serving]'"
        )


def _specs(raw: Mapping[str, Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec.of(name, _DATATYPES.get(spec["dtype"], spec["dtype"]), spec["shape"])
        for name, spec in raw.items()
    )


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def _array(tensor: Tensor) -> Any:
    if tensor.datatype != "BYTES":
        return tensor.array
    # ovmsclient knows numpy's fixed-width bytes only.
    return np.array([bytes(text) for text in tensor.array], dtype=np.bytes_)


def _tls(address: ServerAddress, options: ServerOptions) -> dict[str, str] | None:
    if not address.secure:
        return None
    if options.ca_file is None:
        raise InputError(
            "ovmsclient needs ca_file for TLS: the certificate that signs the server's"
        )
    files = {
        "server_cert_path": options.ca_file,
        "client_cert_path": options.cert_file,
        "client_key_path": options.key_file,
    }
    return {key: str(path) for key, path in files.items() if path is not None}
