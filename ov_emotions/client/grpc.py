"""KServe v2 over gRPC: `tritonclient.grpc.aio`, its errors in our tree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import (
    Answer,
    ModelMetadata,
    Tensor,
    TensorSpec,
    answer_of,
    foreign,
    grpc_reason,
    refusal,
    short,
    too_slow,
)
from ov_emotions.client.url import ServerAddress
from ov_emotions.errors import InputError, ServerUnavailableError
from ov_emotions.system import require

# CANCELLED too: this client cancels nothing that it waits for, so it is a server that goes down.
_TEMPORARY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED")
_METADATA_KEY = re.compile(r"[a-z0-9_.\-]+")

# After a failure gRPC waits before it connects anew, at first 1 s and later 2 minutes, and fails
# all calls meanwhile. A server that was restarted is back sooner.
_CHANNEL = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)


class GrpcTransport:
    """A client of one model over gRPC; belongs to the event loop that it is made in.

    :param address: where the model is.
    :param options: TLS and headers.
    :raises MissingExtraError: if tritonclient is not installed.
    :raises InputError: if a header cannot be sent over gRPC, or a certificate cannot be used.
    """

    def __init__(self, address: ServerAddress, options: ServerOptions) -> None:
        self._grpc = require("tritonclient.grpc", extra="serving")
        self._exception = require("tritonclient.utils", extra="serving").InferenceServerException
        aio = require("tritonclient.grpc.aio", extra="serving")
        self._address = address
        self._headers = {name.lower(): value for name, value in options.headers.items()}
        for name in self._headers:
            if not _METADATA_KEY.fullmatch(name) or name.startswith("grpc-"):
                raise InputError(f"the header {name!r} cannot be sent over gRPC")
        files = (options.ca_file, options.key_file, options.cert_file)
        ca_file, key_file, cert_file = (None if path is None else str(path) for path in files)
        try:
            self._client = aio.InferenceServerClient(
                address.target,
                ssl=address.secure,
                root_certificates=ca_file,
                private_key=key_file,
                certificate_chain=cert_file,
                channel_args=list(_CHANNEL),
            )
        except OSError as error:
            raise InputError(f"a certificate cannot be read: {error}") from error

    async def health(self, of: Literal["live", "ready", "model"], timeout: float) -> bool:
        """Whether the server runs, has loaded all its models, or this one."""
        model, version = self._address.model, self._address.version
        if of == "model":
            return bool(await self._call("is_model_ready", timeout, model, version))
        return bool(await self._call(f"is_server_{of}", timeout))

    async def loading(self, timeout: float) -> bool:
        return not await self.health("ready", timeout)

    async def server(self, timeout: float) -> str:
        raw = await self._call("get_server_metadata", timeout)
        return f"{raw.name} {raw.version}".strip()

    async def metadata(self, version: str, timeout: float) -> ModelMetadata:
        """What the server says of the model; it has no facts over gRPC."""
        raw = await self._call("get_model_metadata", timeout, self._address.model, version)
        return ModelMetadata(tuple(raw.versions), _specs(raw.inputs), _specs(raw.outputs))

    async def parameters(self, version: str, timeout: float) -> Mapping[str, str]:
        raw = await self._call("get_model_config", timeout, self._address.model, version)
        return {key: value.string_value for key, value in raw.config.parameters.items()}

    async def infer(
        self, tensors: Sequence[Tensor], outputs: Sequence[str], version: str, timeout: float
    ) -> Answer:
        inputs = []
        for tensor in tensors:
            found = self._grpc.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
            inputs.append(found.set_data_from_numpy(tensor.array))
        wanted = [self._grpc.InferRequestedOutput(name) for name in outputs]
        model = self._address.model
        result = await self._call("infer", timeout, model, inputs, version, wanted)
        told = result.get_response().model_version
        return answer_of(result.as_numpy, outputs, told, str(self._address))

    async def close(self) -> None:
        await self._client.close()

    async def _call(self, name: str, timeout: float, *arguments: Any) -> Any:
        where = self._address
        try:
            return await getattr(self._client, name)(
                *arguments, headers=self._headers or None, client_timeout=timeout
            )
        except self._exception as error:
            code = str(error.status() or "").removeprefix("StatusCode.")
            message = error.message() or ""
            if code == "DEADLINE_EXCEEDED":
                raise too_slow(where, timeout) from error
            if code == "UNAVAILABLE":
                hint = "; a REST port is asked with http://" if "Socket closed" in message else ""
                told = short(grpc_reason(message))
                raise ServerUnavailableError(
                    f"{where} cannot be reached or is not ready: {told}{hint}"
                ) from error
            temporary = code in _TEMPORARY and "larger than max" not in message
            raise refusal(where, code, message, temporary=temporary) from error
        except (ValueError, KeyError, TypeError) as error:
            raise foreign(where, error) from error


def _specs(raw: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec.of(spec.name, spec.datatype, spec.shape) for spec in raw)
