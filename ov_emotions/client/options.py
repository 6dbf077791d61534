"""How a client talks to a server: time limits, repetitions, sizes, TLS and headers."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal

from ov_emotions.errors import InputError
from ov_emotions.schema import check_count

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
_RESERVED = ("transfer-encoding", "content-length", "inference-header-content-length")

OnModelChange = Literal["error", "follow"]
"""What is done when a server serves another model than was verified."""


@dataclass(frozen=True)
class ServerOptions:
    """What may be chosen about the talk with a server.

    A prediction changes nothing on a server, so that every request may be repeated: after a
    connection that was refused or broken, a server that is not ready (502, 503 and 504, or
    UNAVAILABLE and ABORTED), and an answer that took longer than `timeout`, for `attempts` times;
    and until the deadline where it is overloaded (429 or RESOURCE_EXHAUSTED) or still loads the
    model. Nothing else is repeated: what was refused once is refused again.

    :param timeout: seconds that one attempt may take.
    :param deadline: seconds that one request may take with all its repetitions and pauses.
    :param attempts: how often a request is tried at most; 1 is once, whatever comes.
    :param backoff: seconds of the first pause at most; each further one may be twice as long, and
        all are shortened at random, so that clients do not return all at once.
    :param max_backoff: seconds of any pause at most.
    :param recheck: seconds after which the model is verified again, even where the server still
        gives it the same version number.
    :param batch_texts: texts in one request at most, where the server takes texts; fewer where it
        takes fewer.
    :param batch_bytes: bytes of text in one request at most; a longer text goes alone.
    :param batch_tokens: tokens in one request at most, padding included, where it takes tokens.
    :param concurrency: requests of one call that are under way at a time.
    :param binary: send and take tensors as bytes over REST, not as JSON; gRPC always does.
    :param headers: sent with every request: authorization, say. They are kept out of messages.
    :param ca_file: certificates (PEM) to trust in place of the system's.
    :param cert_file: this client's certificate (PEM).
    :param key_file: its private key (PEM).
    :raises InputError: if a value makes no sense.
    """

    timeout: float = 10.0
    deadline: float = 30.0
    attempts: int = 4
    backoff: float = 0.2
    max_backoff: float = 5.0
    recheck: float = 60.0
    batch_texts: int = 64
    batch_bytes: int = 1 << 19
    batch_tokens: int = 4096
    concurrency: int = 4
    binary: bool = True
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("timeout", "deadline", "backoff", "max_backoff", "recheck"):
            _check_seconds(name, getattr(self, name))
        for name in ("attempts", "batch_texts", "batch_bytes", "batch_tokens", "concurrency"):
            check_count(name, getattr(self, name))
        _check_headers(self.headers)
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise InputError(f"{name} {path} is no file that can be read")
        if (self.cert_file is None) != (self.key_file is None):
            raise InputError("cert_file and key_file belong together; give both or neither")

    def pause(self, failures: int) -> float:
        """Choose how long to wait before the next attempt.

        :param failures: attempts that failed so far, at least 1.
        :return: seconds: between half and all of the backoff for that many failures.
        """
        longest = min(self.max_backoff, self.backoff * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)


def _check_seconds(name: str, value: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not isfinite(value) or value <= 0:
        raise InputError(f"{name} must be a number of seconds above 0, not {value!r}")


def _check_headers(headers: Mapping[str, str]) -> None:
    if not isinstance(headers, Mapping):
        raise InputError(f"headers must map names to values, not be a {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot be the name of a header")
        if name.lower() in _RESERVED:
            raise InputError(f"the header {name} is set by the client itself")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            # The value itself may be a secret, so it is not told.
            raise InputError(f"the value of header {name} must be printable ASCII text")
