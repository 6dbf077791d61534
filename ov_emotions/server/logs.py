"""One line a request: JSON for machines. Texts are not in it unless that is asked for."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ov_emotions.normalize import replace_surrogates
from ov_emotions.server.answers import error_answer
from ov_emotions.server.metrics import Metrics
from ov_emotions.server.refusal import CLIENT_GONE, ClientGoneError

_LOGGER = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.\-]{1,64}", re.ASCII)
_FIELDS = "fields"
OTHER = "other"
"""Stands for every address that is no endpoint of ours: labels of metrics must stay few."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, message, and what else the record holds.

        :param record: to write.
        :return: a line without its end.
        """
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return replace_surrogates(json.dumps(line, ensure_ascii=False))


class RequestMiddleware:
    """Counts, times and logs every request, gives it an id, and catches what nobody else did.

    :param app: what is behind it.
    :param metrics: to count in.
    :param log_texts: whether texts are written into the log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_texts: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_texts = log_texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write down what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(scope)
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
            await send(message)

        state = scope.setdefault("state", {})
        try:
            await self._app(scope, receive, note)
        except ClientGoneError:
            status = CLIENT_GONE
            state["refused"] = "gone"
        except Exception:
            _LOGGER.exception("a request failed", extra={_FIELDS: {"request": request_id}})
            state["refused"] = "failed"
            if status == 0:
                await error_answer(500, "the server failed; its log says why")(scope, receive, note)
        finally:
            self._write(scope, request_id, status or CLIENT_GONE, time.perf_counter() - start)

    def _write(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        state = scope["state"]
        endpoint = getattr(scope.get("route"), "path", OTHER)
        metrics = self._metrics
        metrics.requests.labels(endpoint, str(status)).inc()
        metrics.seconds.labels(endpoint).observe(seconds)
        if reason := state.get("refused"):
            metrics.rejected.labels(reason).inc()
        if not _LOGGER.isEnabledFor(logging.INFO):
            return
        fields: dict[str, Any] = {
            "request": request_id,
            "method": scope["method"],
            "path": scope["path"][:200],
            "status": status,
            "ms": round(1000 * seconds, 2),
        }
        if reason:
            fields["reason"] = reason
        if (texts := state.get("texts")) is not None:
            fields |= {"texts": len(texts), "characters": sum(map(len, texts))}
            if self._log_texts:
                fields["contents"] = list(texts)
        _LOGGER.info("request", extra={_FIELDS: fields})


def _request_id(scope: Scope) -> str:
    """Take the caller's id where it is one that can stand in a log and a header."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else secrets.token_hex(8)
