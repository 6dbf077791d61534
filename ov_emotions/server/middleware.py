"""What every request passes: its id, the count of connections, the key; bodies within limits."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import logging
import os
import re
import secrets
import sys
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import Request, Response
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ov_emotions import __version__
from ov_emotions.errors import InputError
from ov_emotions.normalize import replace_surrogates
from ov_emotions.server.answers import CLIENT_GONE, ClientGoneError, RefusedError, error_answer
from ov_emotions.server.service import Metrics, Service
from ov_emotions.server.settings import API_KEY_VARIABLE, ServerSettings
from ov_emotions.system import require

_LOGGER = logging.getLogger(__name__)

PROBES = ("/v2/health/live", "/v2/health/ready", "/health")
"""They bring no key, and are answered when connections are full."""

OTHER = "other"
"""Stands for every address that is no endpoint of ours: labels of metrics must stay few."""

_CLOSE = {"Connection": "close"}
_REQUEST_ID = re.compile(r"[\w.\-]{1,64}", re.ASCII)
_PROCESS = secrets.token_hex(5)
_NUMBERS = itertools.count(1)
_FIELDS = "fields"
_LOG_SECONDS = 0.1
_LOG_END_SECONDS = 2.0
_MOST_LINES = 50_000
_NOT_TOLD = ("_srcfile", "logThreads", "logMultiprocessing", "logProcesses")
_GZIP = 31  # what zlib calls the gzip format


def request_id(given: str) -> str:
    """Take a caller's id where it is one that can stand in a log and a header, or make one."""
    if _REQUEST_ID.fullmatch(given):
        return given
    # Told apart by a number: to ask the system for chance costs more than to answer.
    return f"{_PROCESS}{next(_NUMBERS):07x}"


def id_in_body(scope: Scope) -> str | None:
    """Give the request's id for an error's body; None below /v2, where the form is KServe's."""
    path = get_route_path(scope)
    if path == "/v2" or path.startswith("/v2/"):
        return None
    found: str = scope["state"]["request_id"]
    return found


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, message, and what else the record holds."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(line).decode()
        except UnicodeEncodeError:
            return replace_surrogates(json.dumps(line, ensure_ascii=False))


Direct = tuple[str, Callable[[Request], Awaitable[Response]]]
"""An endpoint, by the path that it is described with, and what answers it."""


class BufferedHandler(logging.Handler):
    """Writes lines together, ten times a second, in a thread of its own.

    A write for each line costs as much as an answer; and whoever reads the log slowly, or not at
    all, holds up no request: lines that find no room are counted instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._dropped = 0
        self._ended = False
        self._wake = threading.Event()
        self._writer = threading.Thread(target=self._work, name="ov-emotions-log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; one that tells of something wrong is written soon."""
        if len(self._lines) >= _MOST_LINES:
            self._dropped += 1
            return
        self._lines.append(self.format(record))
        if record.levelno >= logging.WARNING:
            self._wake.set()

    def close(self) -> None:
        """Write what is kept."""
        self._ended = True
        self._wake.set()
        self._writer.join(_LOG_END_SECONDS)
        super().close()

    def _work(self) -> None:
        while not self._ended:
            self._wake.wait(_LOG_SECONDS)
            self._wake.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if self._dropped:
            told = {"level": "warning", "message": f"{self._dropped} lines found no room"}
            self._dropped = 0
            lines.append(json.dumps(told))
        if lines:
            with suppress(OSError, ValueError):  # whoever read the log is gone
                sys.stderr.write("\n".join(lines) + "\n")
                sys.stderr.flush()


@contextmanager
def json_log() -> Iterator[None]:
    """Log to standard error, a line of JSON an event, as long as the block runs."""
    handler = BufferedHandler()
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(name) for name in ("ov_emotions", "uvicorn")]
    before = [(logger, logger.handlers, logger.level) for logger in loggers]
    # What a line does not tell need not be found out for each; Python's logging HOWTO names these.
    found_out = {name: getattr(logging, name) for name in _NOT_TOLD}
    for name in _NOT_TOLD:
        setattr(logging, name, None)
    for logger in loggers:
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, handlers, level in before:
            logger.handlers = handlers
            logger.setLevel(level)
        for name, value in found_out.items():
            setattr(logging, name, value)
        handler.close()


def write_down(
    metrics: Metrics,
    endpoint: str,
    status: int,
    seconds: float,
    reason: str | None,
    fields: dict[str, Any],
) -> None:
    """Count and log a request, whichever protocol it came over.

    :param endpoint: one of few.
    :param status: of HTTP, or what it would be.
    """
    metrics.requests.labels(endpoint, str(status)).inc()
    metrics.seconds.labels(endpoint).observe(seconds)
    if reason:
        metrics.rejected.labels(reason).inc()
        fields["reason"] = reason
    if _LOGGER.isEnabledFor(logging.INFO):
        fields |= {"status": status, "ms": round(1000 * seconds, 2)}
        _LOGGER.info("request", extra={_FIELDS: fields})


class RequestMiddleware:
    """Counts, times and logs every request, gives it an id, and catches what nobody else did."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._metrics = service.metrics
        self._log_texts = service.settings.log_texts
        self._root_path = service.settings.root_path
        self._span = tracer() if service.settings.tracing else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write down what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        if self._root_path:
            scope["root_path"] = self._root_path
        state = scope.setdefault("state", {})
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        ident = state["request_id"] = request_id(given.decode("latin-1"))
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", ident.encode()))
            await send(message)

        with self._span(scope) if self._span else nullcontext() as span:
            try:
                await self._app(scope, receive, note)
            except ClientGoneError:
                status = CLIENT_GONE
                state["refused"] = "gone"
            except Exception:
                _LOGGER.exception("a request failed", extra={_FIELDS: {"request": ident}})
                state["refused"] = "failed"
                if status == 0:
                    told = "the server failed; its log says why"
                    answer = error_answer(500, told, None, id_in_body(scope))
                    await answer(scope, receive, note)
            finally:
                status = status or CLIENT_GONE
                endpoint = state.get("endpoint") or getattr(scope.get("route"), "path", OTHER)
                fields: dict[str, Any] = {
                    "request": ident,
                    "method": scope["method"],
                    "path": scope["path"][:200],
                }
                if (texts := state.get("texts")) is not None:
                    fields |= {"texts": len(texts), "characters": sum(map(len, texts))}
                if span is not None:
                    span.update_name(f"{scope['method']} {endpoint}")
                    span.set_attribute("http.response.status_code", status)
                    span.set_attribute("http.route", endpoint)
                    span.set_attribute("ov_emotions.texts", fields.get("texts", 0))
                if self._log_texts and texts is not None:
                    fields["contents"] = list(texts)
                seconds = time.perf_counter() - start
                write_down(self._metrics, endpoint, status, seconds, state.get("refused"), fields)


def tracer() -> Callable[[Scope], Any]:
    """Set OpenTelemetry up, unless the program did, by its own variables.

    :return: makes the span of a request, below that of its caller.
    :raises MissingExtraError: if the extra `tracing` is not installed.
    """
    trace = require("opentelemetry.trace", extra="tracing")
    propagate = require("opentelemetry.propagate", extra="tracing")
    sdk = require("opentelemetry.sdk.trace", extra="tracing")
    export = require("opentelemetry.sdk.trace.export", extra="tracing")
    otlp = require("opentelemetry.exporter.otlp.proto.http.trace_exporter", extra="tracing")
    if not isinstance(trace.get_tracer_provider(), sdk.TracerProvider):
        resources = require("opentelemetry.sdk.resources", extra="tracing")
        name = os.environ.get("OTEL_SERVICE_NAME", "ov-emotions")
        provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": name}))
        provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    found = trace.get_tracer("ov_emotions.server", __version__)

    def span(scope: Scope) -> Any:
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        return found.start_as_current_span(
            scope["method"],
            context=propagate.extract(headers),
            kind=trace.SpanKind.SERVER,
            attributes={
                "http.request.method": scope["method"],
                "url.path": scope["path"][:200],
                "ov_emotions.request_id": scope["state"]["request_id"],
            },
        )

    return span


def read_api_keys(settings: ServerSettings) -> tuple[bytes, ...]:
    """Collect the keys of the file and of the environment.

    :return: the keys; none where no key is asked for.
    :raises InputError: if the file cannot be read or holds none.
    """
    keys = []
    if (path := settings.api_key_file) is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the file of keys {path} cannot be read: {error}") from error
        keys = [line.strip() for line in lines if line.strip()]
        if not keys:
            raise InputError(f"the file of keys {path} is empty; one key a line is expected")
    if given := os.environ.get(API_KEY_VARIABLE, "").strip():
        keys.append(given)
    return tuple(key.encode() for key in keys)


def known(headers: dict[bytes, bytes], keys: Sequence[bytes]) -> bool:
    """Whether a request brings a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    given = headers.get(b"x-api-key", b"")
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        given = token.strip()
    return any(hmac.compare_digest(given, key) for key in keys)


def refuse(scope: Scope, error: RefusedError) -> Response:
    """Make the answer to a request that is refused, and note why it is."""
    scope["state"]["refused"] = error.reason
    return error_answer(error.status, str(error), error.headers, id_in_body(scope))


class FrontMiddleware:
    """Refuses requests without a key, or on too many connections; answers the busiest addresses.

    FastAPI finds and calls those as well, as it describes them, but takes as long for that as all
    the rest of a short answer.

    :param handlers: of POST, by path, with the endpoint that they are counted as.
    :param keys: any of them will do; none where no key is asked for.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        handlers: Mapping[str, Direct],
        keys: tuple[bytes, ...],
    ) -> None:
        self._app, self._service, self._handlers, self._keys = app, service, handlers, keys
        self._most = service.settings.max_connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, answer it, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = get_route_path(scope)
        try:
            if path not in PROBES:
                self._check(scope)
            found = self._handlers.get(path) if scope["method"] == "POST" else None
            if found is None:
                await self._app(scope, receive, send)
                return
            scope["state"]["endpoint"], handler = found
            answer = await handler(Request(scope, receive))
        except RefusedError as error:
            answer = refuse(scope, error)
        await answer(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        if self._service.connections() >= self._most:
            told = "there are too many connections; try again later"
            raise RefusedError(503, "connections", told, {"Retry-After": "1", **_CLOSE})
        if self._keys and not known(dict(scope["headers"]), self._keys):
            told = "a key is needed: send the header Authorization: Bearer KEY"
            raise RefusedError(401, "no_key", told, {"WWW-Authenticate": "Bearer"})


async def read_body(request: Request, settings: ServerSettings, *, json_only: bool) -> bytes:
    """Read a body whole, within the limits, which hold for what was compressed as well.

    :param json_only: whether another media type than JSON is refused.
    :return: the bytes, unpacked.
    :raises RefusedError: 400, 413, 415 or 408.
    :raises ClientGoneError: if the client went before it was there.
    """
    packed = _check_head(request.headers, settings, json_only=json_only)
    limit, size = settings.max_body_bytes, 0
    chunks: list[bytes] = []
    unpack = zlib.decompressobj(_GZIP) if packed else None
    try:
        async with asyncio.timeout(settings.receive_seconds):
            async for chunk in request.stream():
                if unpack is not None:
                    # A byte more than there is room for tells that there is more, at no cost.
                    chunk = unpack.decompress(chunk, limit - size + 1)
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except ClientDisconnect:
        raise ClientGoneError from None
    except TimeoutError:
        raise RefusedError(
            408,
            "slow_body",
            f"the body did not arrive within {settings.receive_seconds:g} s",
            _CLOSE,
        ) from None
    except zlib.error as error:
        raise _not_gzip(str(error)) from None
    if unpack is not None and (not unpack.eof or unpack.unused_data):
        raise _not_gzip("it goes on after its end" if unpack.eof else "its end is missing")
    return b"".join(chunks)


def _not_gzip(why: str) -> RefusedError:
    return RefusedError(400, "encoding", f"the body is not gzip, as its head says: {why}")


def _check_head(headers: Headers, settings: ServerSettings, *, json_only: bool) -> bool:
    """Refuse what is not read; else say whether the body is compressed."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise RefusedError(
            415,
            "encoding",
            f"the body is compressed ({coding[:40]}); send it with gzip or as it is",
            {"Accept-Encoding": "gzip, identity"},
        )
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if json_only and media != "application/json":
        raise RefusedError(
            415,
            "media_type",
            f"the body is {media[:60] or 'of no stated type'}; send JSON, with the header "
            "Content-Type: application/json",
        )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > settings.max_body_bytes:
        raise _too_large(settings.max_body_bytes)
    return coding in ("gzip", "x-gzip")


def _too_large(limit: int) -> RefusedError:
    # The connection stays: one that is closed while its client still sends is reset, and the client
    # does not get to read the answer. What still comes is thrown away, for a while.
    return RefusedError(413, "too_large", f"the body is larger than {limit:,} bytes")
