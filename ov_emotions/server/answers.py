"""JSON in and out, compressed where that is asked for, and refusals in one form."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ov_emotions.errors import ServerError
from ov_emotions.normalize import replace_surrogates

Reason = Literal[
    "not_json",
    "bad_request",
    "too_large",
    "too_long",
    "too_slow",
    "encoding",
    "media_type",
    "slow_body",
    "no_key",
    "connections",
    "queue_full",
    "stopping",
    "deadline",
    "gone",
    "failed",
]
"""The `reason` of the metric `ov_emotions_rejected_total`."""

CLIENT_GONE = 499
"""What is logged for a client that did not wait; nobody is there to get it."""

JSON = "application/json"

_WORTH_PACKING = 1024  # bytes
_LEVEL = 1  # of gzip: scores shrink to a quarter, and higher levels take long for little more
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

T = TypeVar("T", bound=BaseModel)


class RefusedError(ServerError):
    """A request that gets an error; handlers turn it into `{"error": message}`."""

    def __init__(
        self,
        status: int,
        reason: Reason,
        message: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


class ClientGoneError(Exception):
    """The client closed the connection, or its half of it, before it was answered."""


class NotJsonError(ValueError):
    """Bytes that are no JSON; the message says why and where."""


class UnfitError(ValueError):
    """JSON of another form; `first` is what pydantic found first."""

    def __init__(self, first: ErrorDetails) -> None:
        self.place = first["loc"]
        super().__init__(_sentence(first))


def read_json(body: bytes, kind: type[T]) -> T:
    """Read JSON.

    Halves of surrogate pairs, which RFC 8259 leaves open, are let through: some clients cut texts
    in the middle of a character, and the normaliser drops the rest of it.

    :param body: UTF-8; a byte order mark is passed over.
    :raises NotJsonError: if it is none, or is nested more than some hundred levels deep.
    :raises UnfitError: if it is something else.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        refused = _refused(error)
    if isinstance(refused, UnfitError) or not _SURROGATE.search(body):
        raise refused
    try:
        value = json.loads(body)
        return kind.model_validate_json(replace_surrogates(json.dumps(value, ensure_ascii=False)))
    except ValidationError as error:
        raise _refused(error) from None
    except (ValueError, RecursionError) as error:
        raise NotJsonError(str(error)) from None


def _refused(error: ValidationError) -> NotJsonError | UnfitError:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return NotJsonError(str(first.get("ctx", {}).get("error", "invalid")))
    return UnfitError(first)


def _sentence(found: ErrorDetails) -> str:
    """Say what and where: `the item at position 3 of texts is a number, not a string`."""
    names = [
        f"the item at position {part} of" if isinstance(part, int) else part
        for part in reversed(found["loc"])
    ]
    place = " ".join(names) or "the body"
    match found["type"]:
        case "missing":
            return f"{place} is missing"
        case "extra_forbidden":
            return f"{place[:40]!r} means nothing here"
        case "string_type" | "list_type" | "dict_type" | "model_type" | "model_attributes_type":
            wanted = {"st": "a string", "li": "a list"}.get(found["type"][:2], "an object")
            return f"{place} is {_kind(found['input'])}, not {wanted}"
    told = found["msg"]
    return f"{place}: {told[:1].lower()}{told[1:]}"


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def json_answer(
    value: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    request: Request | None = None,
) -> Response:
    """Write a value as JSON.

    :param request: whose client may take it compressed; None for a short answer.
    """
    body = msgspec.json.encode(value)
    if request is not None:
        body, more = pack(request, body)
        headers = {**(headers or {}), **more}
    return Response(body, status, headers, JSON)


def pack(request: Request, body: bytes) -> tuple[bytes, dict[str, str]]:
    """Compress a body that is long enough for a client that takes it so.

    :return: the bytes to send, and headers that go with them.
    """
    if len(body) < _WORTH_PACKING:
        return body, {}
    vary = {"Vary": "Accept-Encoding"}
    for coding in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = coding.partition(";")
        if name.strip() == "gzip" and not re.fullmatch(r"\s*q=0(\.0*)?\s*", quality):
            return gzip.compress(body, _LEVEL, mtime=0), {"Content-Encoding": "gzip"} | vary
    return body, vary


def error_answer(
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
) -> Response:
    """Say what was wrong, in the form that every error has here and at Model Server.

    :param request_id: of the request, to stand in the body too; None where KServe's form is asked
        for, in which it stands in the header X-Request-Id alone.
    :return: `{"error": message}`.
    """
    value = {"error": replace_surrogates(message)}
    if request_id is not None:
        value["request_id"] = request_id
    return json_answer(value, status, headers)
