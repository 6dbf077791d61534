"""KServe v2 over REST: tritonclient packs the tensors, aiohttp carries them."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import (
    Answer,
    ModelMetadata,
    Tensor,
    TensorSpec,
    answer_of,
    foreign,
    refusal,
    short,
    too_slow,
)
from ov_emotions.client.url import ServerAddress
from ov_emotions.errors import InputError, ServerError, ServerUnavailableError
from ov_emotions.system import require

# 502 and 504 are a proxy's way to say that the server behind it is away.
_TEMPORARY = (429, 502, 503, 504)
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class RestTransport:
    """A client of one model over REST; belongs to the event loop that it is made in.

    tritonclient's own client is not used: it does not undo the compression of metadata, which
    Model Server compresses for whoever accepts it.

    :param address: where the model is.
    :param options: TLS, headers and whether tensors are bytes or JSON.
    :raises MissingExtraError: if tritonclient is not installed.
    :raises InputError: if a certificate cannot be used.
    """

    def __init__(self, address: ServerAddress, options: ServerOptions) -> None:
        aiohttp = self._aiohttp = require("aiohttp", extra="serving")
        self._http = require("tritonclient.http", extra="serving")
        self._exception = require("tritonclient.utils", extra="serving").InferenceServerException
        self._address = address
        self._binary = options.binary
        self._server = f"http{'s' if address.secure else ''}://{address.target}/v2"
        # Answers are small, and compressing one takes longer than sending it. What comes compressed
        # all the same is undone, and a header of the caller's own counts.
        headers = dict(options.headers)
        if "accept-encoding" not in map(str.lower, headers):
            headers["Accept-Encoding"] = "identity"
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),  # limited call by call
            connector=aiohttp.TCPConnector(
                limit=max(100, options.concurrency),
                ssl=_ssl_context(options) if address.secure else True,
            ),
        )

    async def health(self, of: Literal["live", "ready", "model"], timeout: float) -> bool:
        """Whether the server runs, has loaded all its models, or this one."""
        path = f"{self._model(self._address.version)}/ready" if of == "model" else f"/health/{of}"
        return (await self._send(path, timeout))[0] == 200

    async def loading(self, timeout: float) -> bool:
        """Whether the server says that it is not ready yet; a proxy may hide that."""
        return (await self._send("/health/ready", timeout))[0] == 503

    async def server(self, timeout: float) -> str:
        raw = await self._json("", timeout)
        if not isinstance(raw, dict) or "name" not in raw:
            raise foreign(self._address, raw)
        return f"{raw['name']} {raw.get('version', '')}".strip()

    async def metadata(self, version: str, timeout: float) -> ModelMetadata:
        raw = await self._json(self._model(version), timeout)
        try:
            info = raw.get("rt_info", {}).get("model_info", {})
            return ModelMetadata(
                versions=tuple(str(version) for version in raw.get("versions", ())),
                inputs=_specs(raw["inputs"]),
                outputs=_specs(raw["outputs"]),
                facts={key: value for key, value in info.items() if isinstance(value, str)},
            )
        except _UNREADABLE:
            raise foreign(self._address, raw) from None

    async def parameters(self, version: str, timeout: float) -> Mapping[str, str]:
        raw = await self._json(f"{self._model(version)}/config", timeout)
        try:
            found = raw.get("parameters", {}).items()
            return {key: str(value["string_value"]) for key, value in found}
        except _UNREADABLE:
            raise foreign(self._address, raw) from None

    async def infer(
        self, tensors: Sequence[Tensor], outputs: Sequence[str], version: str, timeout: float
    ) -> Answer:
        codec = self._http.InferenceServerClient
        body, head = codec.generate_request_body(
            [self._input(tensor) for tensor in tensors],
            outputs=[
                self._http.InferRequestedOutput(name, binary_data=self._binary) for name in outputs
            ],
        )
        sent = {"Content-Type": "application/json"}
        if head is not None:
            sent = {"Inference-Header-Content-Length": str(head)}
        got, raw = await self._ask(f"{self._model(version)}/infer", timeout, body, sent)
        try:
            result = codec.parse_response_body(
                raw, header_length=got.get("Inference-Header-Content-Length")
            )
            told = result.get_response()
            named = str(told.get("model_version", ""))
        except (*_UNREADABLE, self._exception) as error:
            raise foreign(self._address, error) from error
        return answer_of(result.as_numpy, outputs, named, str(self._address))

    async def close(self) -> None:
        await self._session.close()

    def _model(self, version: str) -> str:
        path = f"/models/{quote(self._address.model)}"
        return f"{path}/versions/{version}" if version else path

    def _input(self, tensor: Tensor) -> Any:
        found = self._http.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
        return found.set_data_from_numpy(tensor.array, binary_data=self._binary)

    async def _json(self, path: str, timeout: float) -> Any:
        raw = (await self._ask(path, timeout))[1]
        try:
            return json.loads(raw)
        except _UNREADABLE as error:
            raise foreign(self._address, error) from error

    async def _ask(
        self,
        path: str,
        timeout: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Mapping[str, str], bytes]:
        """Make one request: headers and body of a good answer; anything else is an error."""
        status, got, raw = await self._send(path, timeout, body, headers)
        if status != 200:
            temporary = status in _TEMPORARY
            raise refusal(self._address, str(status), _reason_in(raw), temporary=temporary)
        return got, raw

    async def _send(
        self,
        path: str,
        timeout: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        aiohttp, where = self._aiohttp, self._address
        method = "GET" if body is None else "POST"
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(
                    method, self._server + path, data=body, headers=headers
                ) as answer,
            ):
                return answer.status, answer.headers, await answer.read()
        except TimeoutError as error:
            raise too_slow(where, timeout) from error
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            raise ServerError(f"no TLS connection to {where}: {short(error)}") from error
        except aiohttp.ClientConnectorError as error:
            raise ServerUnavailableError(
                f"{where} cannot be reached: {_system_reason(error.os_error, where)}"
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
            if isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError):
                raise foreign(where, error.__cause__.message) from error
            raise ServerUnavailableError(
                f"{where} broke the connection: {short(error) or type(error).__name__}"
            ) from error


def _reason_in(raw: bytes) -> str:
    """What a server says with an error: in KServe's words, or whatever a proxy sent."""
    text = raw.decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except _UNREADABLE:
        return text


def _system_reason(error: OSError, address: ServerAddress) -> str:
    # asyncio puts a sentence with the address where the system's reason belongs.
    if error.errno in errno.errorcode and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno or 0)
    if told := short(error.strerror or error):
        return told
    return "it closed the connection" + ("; does it speak TLS?" if address.secure else "")


def _specs(raw: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec.of(spec["name"], spec["datatype"], spec["shape"]) for spec in raw)


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
