"""Every option of the server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import get_args

from ov_emotions.errors import InputError
from ov_emotions.schema import LabelNames, LongTexts
from ov_emotions.serving.repository import MODEL_NAME

API_KEY_VARIABLE = "OV_EMOTIONS_API_KEY"
ENVIRONMENT = "OV_EMOTIONS_SERVE_"
"""What the variables that stand for flags begin with: OV_EMOTIONS_SERVE_MAX_TEXTS, for one."""
SERVED_VERSION = "1"

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

_COUNTS = (
    "batch_tokens",
    "queue_tokens",
    "queue_requests",
    "max_body_bytes",
    "max_texts",
    "max_text_characters",
    "max_connections",
    "workers",
)


@dataclass(frozen=True)
class ServerSettings:
    """What may be chosen about a server.

    :param host: address to listen on; 0.0.0.0 is every interface.
    :param port: to listen on; 0 takes a free one.
    :param unix_socket: path of a Unix socket to listen on, in place of host and port.
    :param grpc_port: where KServe v2 is spoken over gRPC too; 0 takes a free one. Needs the extra
        serving.
    :param root_path: the path below which a proxy in front shows the server, such as /emotions;
        the proxy may take it off or leave it.
    :param model: a shipped name, a bundle's folder or a Hub id (default: the shipped model).
    :param name: of the model in the addresses of KServe v2: /v2/models/NAME.
    :param threads: CPU threads of an inference (default: all cores, shared between workers).
    :param workers: processes that share the address, each with a model of its own.
    :param precision: of the inference, f32 or bf16 (default: the one that the model was measured
        at).
    :param cache_dir: folder for compiled models, so that the next start is quicker.
    :param long_texts: window reads long texts whole, truncate their beginning only.
    :param label_names: language of the names in the output `labels` of KServe v2.
    :param batch_tokens: requests merge until they hold about this many tokens; a larger request is
        computed in parts, which small ones may join.
    :param batch_wait_ms: milliseconds that a batch waits for company at most, where there was some
        lately; a lone client never waits.
    :param queue_tokens: tokens that may wait, about; a request that finds no room gets 429.
    :param queue_requests: requests that may wait.
    :param max_body_bytes: bytes of a body; more gets 413.
    :param max_texts: texts of a request; more gets 422.
    :param max_text_characters: characters of a text; more gets 422.
    :param deadline: seconds in which a request is answered, else it gets 504; what cannot be ready
        in time is refused at once, with 429 or 413.
    :param receive_seconds: seconds in which a request has to arrive whole, else it gets 408.
    :param grace_seconds: seconds that requests under way are given when the server is told to stop.
    :param max_connections: open at a time; more get 503, but for the health probes.
    :param api_key_file: file of keys, one a line; requests must bring one of them. The environment
        variable OV_EMOTIONS_API_KEY holds one too. No key is asked for where there is none.
    :param cors_origins: origins whose pages may ask from a browser, such as https://example.org.
    :param log_texts: write the texts into the log as well.
    :param tracing: tell OpenTelemetry of every request; where to is said in the variables
        OTEL_EXPORTER_OTLP_ENDPOINT and so on. Needs the extra tracing.
    :raises InputError: if a value makes no sense.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    unix_socket: Path | None = None
    grpc_port: int | None = None
    root_path: str = ""
    model: str | None = None
    name: str = "emotions"
    threads: int | None = None
    workers: int = 1
    precision: str | None = None
    cache_dir: Path | None = None
    long_texts: LongTexts = "window"
    label_names: LabelNames = "ru"
    batch_tokens: int = 4096
    batch_wait_ms: float = 2.0
    queue_tokens: int = 262_144
    queue_requests: int = 1024
    max_body_bytes: int = 8 * 1024 * 1024
    max_texts: int = 10_000
    max_text_characters: int = 20_000
    deadline: float = 30.0
    receive_seconds: float = 30.0
    grace_seconds: float = 30.0
    max_connections: int = 1000
    api_key_file: Path | None = None
    cors_origins: tuple[str, ...] = ()
    log_texts: bool = False
    tracing: bool = False

    def __post_init__(self) -> None:
        if not MODEL_NAME.fullmatch(self.name):
            raise InputError(
                f"{self.name!r} cannot name a model: use up to 100 letters, digits, dots, dashes "
                "and underscores, the first a letter or digit"
            )
        for name in ("port", "grpc_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65535:
                raise InputError(f"{name} must lie in 0 to 65535, not be {port}")
        if self.root_path and (self.root_path[0] != "/" or self.root_path[-1] == "/"):
            raise InputError(
                f"root_path must begin with a slash and not end with one, as in /emotions, not be "
                f"{self.root_path!r}"
            )
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("deadline", "receive_seconds", "grace_seconds"):
            value = getattr(self, name)
            if not isfinite(value) or value <= 0:
                raise InputError(f"{name} must be a number of seconds above 0, not {value}")
        if not 0 <= self.batch_wait_ms <= 1000:
            raise InputError(f"batch_wait_ms must lie in 0 to 1000, not be {self.batch_wait_ms}")
        for name, kind in (("long_texts", LongTexts), ("label_names", LabelNames)):
            if getattr(self, name) not in get_args(kind):
                choices = " or ".join(repr(choice) for choice in get_args(kind))
                raise InputError(f"{name} must be {choices}, not {getattr(self, name)!r}")
        for origin in self.cors_origins:
            if origin != "*" and (
                not origin.startswith(("http://", "https://")) or "/" in origin[8:]
            ):
                raise InputError(
                    f"{origin!r} is no origin: give scheme and host, such as https://example.org"
                )

    @property
    def url(self) -> str:
        """Where this machine reaches the server: http://…, or unix:PATH."""
        if self.unix_socket is not None:
            return f"unix:{self.unix_socket}"
        host = _LOOPBACK.get(self.host, self.host)
        try:
            bracketed = ipaddress.ip_address(host).version == 6
        except ValueError:  # a name
            bracketed = False
        return f"http://{f'[{host}]' if bracketed else host}:{self.port}"
