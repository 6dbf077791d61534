"""KServe v2 over REST: `tritonclient.http.aio`, its errors in our tree."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import (
    Answer,
    ModelMetadata,
    Tensor,
    TensorSpec,
    answer_of,
    refusal,
    shape_of,
    short,
)
from ov_emotions.client.url import ServerAddress
from ov_emotions.errors import InputError, ServerError, ServerUnavailableError
from ov_emotions.system import require

T = TypeVar("T")

# 502 and 504 are a proxy's way to say that the server behind it is away.
_TEMPORARY = ("429", "502", "503", "504")

# What tritonclient lets through of an answer: no JSON or one nested too deeply, keys that are not
# there, and bytes that are not compressed as they should be.
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    RecursionError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
)


class HttpTransport:
    """A client of one model over REST; belongs to the event loop that it is made in.

    :param address: where the model is.
    :param options: TLS, headers and whether tensors are bytes or JSON.
    :raises MissingExtraError: if tritonclient is not installed.
    :raises InputError: if a certificate cannot be used.
    """

    def __init__(self, address: ServerAddress, options: ServerOptions) -> None:
        self._aiohttp = require("aiohttp", extra="serving")
        self._http = require("tritonclient.http", extra="serving")
        self._exception = require("tritonclient.utils", extra="serving").InferenceServerException
        aio = require("tritonclient.http.aio", extra="serving")
        self._address = address
        self._headers = dict(options.headers)
        self._binary = options.binary
        self._client = aio.InferenceServerClient(
            address.target,
            # Time is limited call by call; this is only to be out of the way.
            conn_timeout=2 * options.deadline,
            conn_limit=max(100, options.concurrency),
            ssl=address.secure,
            ssl_context=_ssl_context(options) if address.secure else True,
        )

    async def live(self, timeout: float) -> bool:
        """Whether the server runs."""
        return await self._call(lambda h: self._client.is_server_live(headers=h), timeout)

    async def ready(self, timeout: float) -> bool:
        """Whether all its models are loaded."""
        return await self._call(lambda h: self._client.is_server_ready(headers=h), timeout)

    async def server(self, timeout: float) -> str:
        """Name and version of the server."""
        raw = await self._call(lambda h: self._client.get_server_metadata(headers=h), timeout)
        if not isinstance(raw, dict) or "name" not in raw:
            raise self._foreign(raw)
        return f"{raw['name']} {raw.get('version', '')}".strip()

    async def model_ready(self, timeout: float) -> bool:
        """Whether the model is loaded."""
        model, version = self._address.model, self._address.version
        return await self._call(
            lambda h: self._client.is_model_ready(model, version, headers=h), timeout
        )

    async def metadata(self, version: str, timeout: float) -> ModelMetadata:
        """What the server says of the model."""
        model = self._address.model
        raw = await self._call(
            lambda h: self._client.get_model_metadata(model, version, headers=h), timeout
        )
        try:
            info = raw.get("rt_info", {}).get("model_info", {})
            return ModelMetadata(
                name=str(raw["name"]),
                versions=tuple(str(version) for version in raw.get("versions", ())),
                platform=str(raw.get("platform", "")),
                inputs=_specs(raw["inputs"]),
                outputs=_specs(raw["outputs"]),
                facts={key: value for key, value in info.items() if isinstance(value, str)},
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._foreign(raw) from None

    async def parameters(self, version: str, timeout: float) -> Mapping[str, str]:
        """The texts among the parameters in the model's configuration, Triton's extension."""
        model = self._address.model
        raw = await self._call(
            lambda h: self._client.get_model_config(model, version, headers=h), timeout
        )
        try:
            found = raw.get("parameters", {}).items()
            return {key: str(value["string_value"]) for key, value in found}
        except (KeyError, TypeError, AttributeError):
            raise self._foreign(raw) from None

    async def infer(
        self, tensors: Sequence[Tensor], output: str, version: str, timeout: float
    ) -> Answer:
        """Run the model."""
        inputs = [self._input(tensor) for tensor in tensors]
        outputs = [self._http.InferRequestedOutput(output, binary_data=self._binary)]
        model = self._address.model
        result = await self._call(
            lambda h: self._client.infer(model, inputs, version, outputs, headers=h), timeout
        )
        said = result.get_response()
        told = str(said.get("model_version", "")) if isinstance(said, dict) else ""
        return answer_of(result, output, told, str(self._address))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    def _input(self, tensor: Tensor) -> Any:
        found = self._http.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
        return found.set_data_from_numpy(tensor.array, binary_data=self._binary)

    async def _call(self, request: Callable[[dict[str, str]], Awaitable[T]], timeout: float) -> T:
        aiohttp, where = self._aiohttp, self._address
        try:
            async with asyncio.timeout(timeout):
                # tritonclient adds to the headers that it is given.
                return await request(dict(self._headers))
        except TimeoutError as error:
            raise ServerUnavailableError(
                f"{where} did not answer within {timeout:.3g} s"
            ) from error
        except self._exception as error:
            status = str(error.status() or "")
            message = error.debug_details() or error.message()
            if not status:  # tritonclient itself could not read the answer
                raise ServerError(
                    f"{where} gave an answer that is not KServe's: {short(message)}"
                ) from error
            raise refusal(str(where), status, message, temporary=status in _TEMPORARY) from error
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            raise ServerError(f"no TLS connection to {where}: {short(error)}") from error
        except aiohttp.ClientConnectorError as error:
            raise ServerUnavailableError(
                f"{where} cannot be reached: {_reason(error.os_error, self._address)}"
            ) from error
        except aiohttp.InvalidURL as error:
            raise InputError(f"{where} is no URL that can be asked") from error
        except aiohttp.TooManyRedirects as error:
            raise ServerError(f"{where} redirects the request in a circle") from error
        except aiohttp.ClientResponseError as error:
            raise ServerError(
                f"{where} does not speak HTTP; a gRPC port is asked with grpc://"
            ) from error
        except aiohttp.ClientError as error:
            raise ServerUnavailableError(
                f"{where} broke the connection: {short(error) or type(error).__name__}"
            ) from error
        except _UNREADABLE as error:
            raise ServerError(
                f"{where} gave an answer that is not KServe's: {short(error)}"
            ) from error

    def _foreign(self, raw: object) -> ServerError:
        return ServerError(f"{self._address} gave an answer that is not KServe's: {short(raw)}")


def _reason(error: OSError, address: ServerAddress) -> str:
    # asyncio puts a sentence with the address where the system's reason belongs.
    if error.errno in errno.errorcode and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno or 0)
    if told := short(error.strerror or error):
        return told
    return "it closed the connection" + ("; does it speak TLS?" if address.secure else "")


def _specs(raw: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(str(spec["name"]), str(spec["datatype"]), shape_of(spec["shape"]))
        for spec in raw
    )


def _ssl_context(options: ServerOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=None if options.ca_file is None else str(options.ca_file)
        )
        if options.cert_file is not None and options.key_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"the certificates {options.ca_file or ''} {options.cert_file or ''} cannot be used: "
            f"{error}"
        ) from error
    return context
