"""Where a served model is: one URL with protocol, host, port, model and version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ov_emotions.errors import InputError

EXAMPLE = "grpc://host:9000/emotions or http://host:8000/emotions"

_PORTS = {"http": 80, "https": 443, "grpcs": 443}
_SCHEMES = ("http", "https", "grpc", "grpcs", "tfs+http", "tfs+grpc", "tfs+grpcs")
_MODEL = re.compile(r"[\w.\-]+")
_NAMED = r"(?P<model>[^/]+)(?:/versions/?(?P<version>[^/]*))?"
_PATH = re.compile(rf"(?:/{_NAMED})?")
_REST_PATH = re.compile(rf"(?P<prefix>(?:/[^/]+)*?)/v2(?:/models(?:/{_NAMED})?)?")
_VERSION = re.compile(r"0*[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class ServerAddress:
    """The parts of a server's URL.

    :param scheme: `http` or `grpc`, with an `s` for TLS; after `tfs+` for the TensorFlow Serving
        API of Model Server up to 2026.2.1.
    :param host: name or address, an IPv6 address without brackets.
    :param port: TCP port.
    :param prefix: path before `/v2`, where a proxy adds one; empty, or starts with a slash.
    :param model: the model's name on the server; may be empty where only the server is meant.
    :param version: a version of it, or empty for the one that the server prefers.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    model: str = ""
    version: str = ""

    @property
    def secure(self) -> bool:
        """Whether the connection is TLS."""
        return self.scheme.endswith("s")

    @property
    def grpc(self) -> bool:
        """Whether the protocol is gRPC rather than REST."""
        return "grpc" in self.scheme

    @property
    def legacy(self) -> bool:
        """Whether the API is TensorFlow Serving's rather than KServe's."""
        return self.scheme.startswith("tfs+")

    @property
    def target(self) -> str:
        """Host, port and prefix, as clients that know the scheme want them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.prefix}"

    def __str__(self) -> str:
        version = f"/versions/{self.version}" if self.version else ""
        return f"{self.scheme}://{self.target}/{self.model}{version}"


def parse_url(url: str, *, schemes: tuple[str, ...] = _SCHEMES) -> ServerAddress:
    """Read the URL of a served model.

    Both `scheme://host:port/MODEL[/versions/N]` and the REST path
    `http://host:port/[prefix/]v2/models/MODEL[/versions/N]` are understood.

    :raises InputError: if something is wrong with it; the message says what.
    """
    if not isinstance(url, str):
        raise InputError(f"a server is given as a URL ({EXAMPLE}), not a {type(url).__name__}")
    if not url.isprintable() or " " in url:
        raise InputError(f"the URL {url!r} holds a space or a character that cannot be printed")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise InputError(
            f"the URL {_without_secrets(url)!r} must start with one of "
            f"{', '.join(f'{known}://' for known in schemes)}, as in {EXAMPLE}"
        )
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise InputError(f"the URL {_without_secrets(url)!r} is malformed: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"the URL {_without_secrets(url)!r} holds credentials; give them as headers, "
            "an authorization header say"
        )
    if not parts.hostname:
        raise InputError(f"the URL {url!r} has no host")
    if not port:
        raise InputError(f"the URL {url!r} has no port; Model Server's is usually 9000 for gRPC")
    if parts.query or parts.fragment:
        raise InputError(f"the URL {url!r} has a query or fragment, which no server's URL has")
    path = re.sub("/+", "/", f"/{parts.path}").rstrip("/")
    found = _REST_PATH.fullmatch(path) or _PATH.fullmatch(path)
    if found is None:
        raise InputError(
            f"the path of the URL {url!r} should be /MODEL, /MODEL/versions/N or "
            "/PREFIX/v2/models/MODEL"
        )
    told = found.groupdict()
    prefix, model, version = told.get("prefix") or "", unquote(told["model"] or ""), told["version"]
    if prefix and "grpc" in parts.scheme:
        raise InputError(f"a gRPC URL has no path before the model's name, unlike {url!r}")
    if model and not _MODEL.fullmatch(model):
        raise InputError(f"the URL {url!r} names the model {model!r}, which no server would accept")
    if version is not None and not _VERSION.fullmatch(version):
        raise InputError(
            f"the URL {url!r} asks for version {version!r}; versions are numbers above 0"
        )
    return ServerAddress(parts.scheme, parts.hostname, port, prefix, model, version or "")


def parse_model_url(url: str) -> ServerAddress:
    """Read the URL of a served model that must name the model; see `parse_url`."""
    address = parse_url(url)
    if not address.model:
        raise InputError(f"the URL {url!r} names no model; add its name, as in {EXAMPLE}")
    return address


def _without_secrets(url: str) -> str:
    # Messages end up in logs; what stands before an @ may be a password.
    return re.sub(r"//[^/@]*@", "//...@", url)
