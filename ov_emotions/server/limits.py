"""What is let in: bodies within size and time, requests with a key."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Sequence

from fastapi import Request
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ov_emotions.errors import InputError
from ov_emotions.server.answers import error_answer
from ov_emotions.server.refusal import ClientGoneError, RefusedError
from ov_emotions.server.settings import API_KEY_VARIABLE, ServerSettings

OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")
"""Probes bring no key."""

_CLOSE = {"Connection": "close"}


async def read_body(request: Request, settings: ServerSettings, *, json_only: bool) -> bytes:
    """Read a body whole, within the limits.

    :param request: whose.
    :param settings: the limits.
    :param json_only: whether another media type than JSON is refused.
    :return: the bytes.
    :raises RefusedError: 413, 415 or 408.
    :raises ClientGoneError: if the client went before it was there.
    """
    _check_head(request.headers, settings, json_only=json_only)
    limit, size = settings.max_body_bytes, 0
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(settings.receive_seconds):
            async for chunk in request.stream():
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
    return b"".join(chunks)


def _check_head(headers: Headers, settings: ServerSettings, *, json_only: bool) -> None:
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise RefusedError(
            415,
            "encoding",
            f"the body is compressed ({coding[:40]}); send it as it is",
            {"Accept-Encoding": "identity", **_CLOSE},
        )
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if json_only and media != "application/json":
        raise RefusedError(
            415,
            "media_type",
            f"the body is {media[:60] or 'of no stated type'}; send JSON, with the header "
            "Content-Type: application/json",
            _CLOSE,
        )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > settings.max_body_bytes:
        raise _too_large(settings.max_body_bytes)


def _too_large(limit: int) -> RefusedError:
    # What is still under way of the body is not read, so the connection cannot be used again.
    return RefusedError(413, "too_large", f"the body is larger than {limit:,} bytes", _CLOSE)


def check_texts(texts: Sequence[str], settings: ServerSettings) -> None:
    """Refuse too many texts and too long ones.

    :param texts: of a request.
    :param settings: the limits.
    :raises RefusedError: 422.
    """
    if len(texts) > settings.max_texts:
        raise RefusedError(
            422,
            "too_long",
            f"{len(texts):,} texts are too many: a request holds {settings.max_texts:,} at most",
        )
    limit = settings.max_text_characters
    if max(map(len, texts), default=0) > limit:
        position = next(i for i, text in enumerate(texts) if len(text) > limit)
        raise RefusedError(
            422,
            "too_long",
            f"the text at position {position} has {len(texts[position]):,} characters; "
            f"{limit:,} are read at most",
        )


def read_api_keys(settings: ServerSettings) -> tuple[bytes, ...]:
    """Collect the keys of the file and of the environment.

    :param settings: which name the file.
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


class KeyMiddleware:
    """Refuses requests without a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    :param app: what is behind it.
    :param keys: any of them will do.
    """

    def __init__(self, app: ASGIApp, keys: tuple[bytes, ...]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._known(scope):
            scope.setdefault("state", {})["refused"] = "no_key"
            answer = error_answer(
                401,
                "a key is needed: send the header Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        return any(hmac.compare_digest(given, key) for key in self._keys)
