"""TLS over both protocols, with certificates made for the test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kserve import FAST, ServedBundle, grpc_server, http_server

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.errors import InputError, ServerError, ServerUnavailableError

SUBJECT = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *SUBJECT]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    return cert, key


def test_tls_over_rest(served: ServedBundle, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with http_server(served.rest, ssl_context=context) as (port, _):
        url = f"https://127.0.0.1:{port}/emotions"
        options = replace(FAST, ca_file=cert)
        with EmotionClassifier.from_server(url, options=options) as remote:
            assert remote("злость").labels == ("anger",)
        with pytest.raises(ServerError, match=r"no TLS connection.*certificate") as raised:
            EmotionClassifier.from_server(url, options=FAST)
        assert not isinstance(raised.value, ServerUnavailableError), "again would not help"


def test_a_client_certificate_over_rest(
    served: ServedBundle, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    with http_server(served.rest, ssl_context=context) as (port, _):
        url = f"https://127.0.0.1:{port}/emotions"
        options = replace(FAST, ca_file=cert, cert_file=cert, key_file=key)
        with EmotionClassifier.from_server(url, options=options) as remote:
            assert remote("злость").labels == ("anger",)
        with pytest.raises(ServerError):
            EmotionClassifier.from_server(url, options=replace(FAST, ca_file=cert))


def test_tls_over_grpc(
    served: ServedBundle, tiny_bundle: Bundle, certificate: tuple[Path, Path]
) -> None:
    import grpc

    cert, key = certificate
    credentials: Any = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    with grpc_server(served.grpc, credentials=credentials) as (port, _):
        url = f"grpcs://localhost:{port}/emotions"
        options = replace(FAST, ca_file=cert)
        with EmotionClassifier.from_server(url, model=tiny_bundle, options=options) as remote:
            assert remote("злость").labels == ("anger",)
        with pytest.raises(ServerUnavailableError, match="cannot be reached"):
            EmotionClassifier.from_server(url, model=tiny_bundle, options=FAST)


def test_tls_where_there_is_none(served: ServedBundle, certificate: tuple[Path, Path]) -> None:
    with http_server(served.rest) as (port, _), pytest.raises(ServerError) as raised:
        EmotionClassifier.from_server(
            f"https://127.0.0.1:{port}/emotions", options=replace(FAST, ca_file=certificate[0])
        )
    assert "TLS" in str(raised.value)


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text("nothing")
    with pytest.raises(InputError, match="cannot be used"):
        EmotionClassifier.from_server(
            "https://127.0.0.1:1/emotions", options=replace(FAST, ca_file=path)
        )
