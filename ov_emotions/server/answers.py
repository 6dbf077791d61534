"""Bodies in and out as JSON, with the native parser and writer that pydantic brings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic_core import from_json, to_json

JSON = "application/json"


class NotJsonError(ValueError):
    """Bytes that are no JSON; the message says why and where."""


def parse_json(body: bytes) -> Any:
    """Read JSON.

    Halves of surrogate pairs, which RFC 8259 leaves open, are let through: some clients cut texts
    in the middle of a character, and the normaliser drops the rest of it.

    :param body: UTF-8; a byte order mark is passed over.
    :return: the value.
    :raises NotJsonError: if it is none, or is nested more than some hundred levels deep.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return from_json(body)
    except ValueError as error:
        if "surrogate" not in str(error):
            raise NotJsonError(str(error)) from None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotJsonError(str(error)) from None


def json_kind(value: object) -> str:
    """Name a JSON value's kind in a message.

    :param value: what `parse_json` gave.
    :return: `a string`, `null` and so on.
    """
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Write a value as JSON.

    :param value: plain values.
    :param status: of HTTP.
    :param headers: further ones.
    :return: the answer.
    """
    return Response(to_json(value), status, headers, JSON)


def error_answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Say what was wrong, in the form that every error has here and at Model Server.

    :param status: of HTTP.
    :param message: a sentence.
    :param headers: further ones.
    :return: the answer: `{"error": message}`.
    """
    return json_answer({"error": message}, status, headers)
