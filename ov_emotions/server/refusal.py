"""Why a request was not answered: a status, a reason to count, and a sentence for the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ov_emotions.errors import ServerError

Reason = Literal[
    "not_json",
    "bad_request",
    "too_large",
    "too_long",
    "encoding",
    "media_type",
    "slow_body",
    "no_key",
    "queue_full",
    "stopping",
    "deadline",
    "gone",
    "failed",
]
"""The `reason` of the metric `ov_emotions_rejected_total`."""

CLIENT_GONE = 499
"""What is logged for a client that did not wait; nobody is there to get it."""


class RefusedError(ServerError):
    """A request that gets an error; handlers turn it into `{"error": message}`.

    :param status: of HTTP.
    :param reason: to count it by.
    :param message: a sentence for the caller.
    :param headers: of the answer.
    """

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
