"""nginx in front of a stand-in server: passwords, hidden paths, and a server that is down."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures
from contextlib import closing
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_kserve import FAST, ServedBundle, answer_by_rule, classify
from machine import free_port, make_certificate, run, tool

CONFIG = Path(__file__).resolve().parents[2] / "ovms_config" / "nginx" / "nginx.conf"
PASSWORD = "Basic " + base64.b64encode(b"asr:secret").decode()

pytestmark = pytest.mark.skipif(not CONFIG.is_file(), reason=f"{CONFIG} is not here")


class StandIn(BaseHTTPRequestHandler):
    """Tells what reached it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = f"{self.command} {self.path} {self.headers.get('Authorization')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815  # the name is http.server's

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Front:
    rest: int
    grpc: int
    upstream_grpc: int
    certificate: Path


def make_secrets(folder: Path) -> None:
    folder.mkdir()
    make_certificate(folder)
    hashed = run(tool("openssl"), "passwd", "-apr1", "secret")
    (folder / "htpasswd").write_text(f"asr:{hashed}", encoding="utf-8")


def local_config(folder: Path, ports: dict[str, int]) -> str:
    """Point the committed file at ports and folders of this machine, and change nothing else."""
    text = CONFIG.read_text(encoding="utf-8")
    changes = {
        "/tmp/": f"{folder}/",
        "/etc/nginx/secrets": str(folder / "secrets"),
        "ovms:8000": f"127.0.0.1:{ports['upstream rest']}",
        "ovms:9000": f"127.0.0.1:{ports['upstream grpc']}",
        "listen 8443": f"listen 127.0.0.1:{ports['rest']}",
        "listen 9443": f"listen 127.0.0.1:{ports['grpc']}",
        "/dev/stdout": f"{folder}/access.log",
    }
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    # Its workers would change to another user and could not read the temporary folder.
    return ("user root;\n" if os.geteuid() == 0 else "") + text


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            pytest.fail(f"nginx ended: {process.stderr.read() if process.stderr else ''}")
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("nginx does not listen")


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    nginx = tool("nginx")
    folder = tmp_path_factory.mktemp("front")
    make_secrets(folder / "secrets")
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    names = ("rest", "grpc", "upstream grpc")
    ports = {name: free_port() for name in names} | {"upstream rest": upstream.server_port}
    path = folder / "nginx.conf"
    path.write_text(local_config(folder, ports), encoding="utf-8")
    run(nginx, "-t", "-c", path, "-p", folder)
    process = subprocess.Popen(
        [nginx, "-c", path, "-p", folder, "-g", "daemon off;"], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(ports["rest"], process)
        wait_for(ports["grpc"], process)
        certificate = folder / "secrets" / "tls.crt"
        yield Front(ports["rest"], ports["grpc"], ports["upstream grpc"], certificate)
    finally:
        process.terminate()
        process.communicate(timeout=10)
        upstream.shutdown()
        upstream.server_close()


def ask(front: Front, path: str, password: str | None = PASSWORD, data: bytes | None = None) -> str:
    """Return the body, or the status of a refusal."""
    headers = {"Authorization": password} if password else {}
    request = urllib.request.Request(
        f"https://localhost:{front.rest}{path}", data=data, headers=headers
    )
    trust = ssl.create_default_context(cafile=str(front.certificate))
    try:
        with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
            body: str = answer.read().decode()
            return body
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)


@pytest.mark.parametrize(
    "path",
    [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/emotions",
        "/v2/models/emotions/ready",
        "/v2/models/emotions/versions/3/ready",
    ],
)
def test_requests_with_a_password_reach_the_server_without_it(front, path):
    assert ask(front, path) == f"GET {path} None"


def test_an_inference_request_reaches_the_server(front):
    path = "/v2/models/emotions/infer"
    assert ask(front, path, data=b"{}" * 1000) == f"POST {path} None"


@pytest.mark.parametrize("password", [None, "Basic YXNyOndyb25n", "Bearer x"])
def test_requests_without_the_password_do_not(front, password):
    assert ask(front, "/v2/models/emotions/infer", password, b"{}") == "401"
    assert ask(front, "/v2/health/ready", password) == "401"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/v1/config",
        "/v1/config/reload",
        "/v2/models/other/infer",
        "/v2/models/emotions/infer/../../../../metrics",
        "/v2/repository/index",
        "/v3/completions",
    ],
)
def test_what_a_client_does_not_need_is_hidden(front, path):
    assert ask(front, path) == "404"


def test_the_front_tells_its_own_health_without_a_password(front):
    assert ask(front, "/healthz", None) == "ok\n"


def test_a_body_that_is_too_large_is_refused(front):
    assert ask(front, "/v2/models/emotions/infer", data=b"x" * (9 * 2**20)) == "413"


def test_grpc_needs_the_password_and_says_when_the_server_is_down(front):
    grpc = pytest.importorskip("grpc")

    def live(*metadata: tuple[str, str]) -> object:
        trust = grpc.ssl_channel_credentials(front.certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{front.grpc}", trust) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            try:
                return call(b"\x08", metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                return error.code()

    password = ("authorization", PASSWORD)
    assert live() == grpc.StatusCode.UNAUTHENTICATED
    assert live(password) == grpc.StatusCode.UNAVAILABLE

    def answer(request: bytes, context: object) -> bytes:
        told = dict(context.invocation_metadata())
        return request + str(told.get("authorization")).encode()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "inference.GRPCInferenceService", {"ServerLive": handler}
            )
        ]
    )
    server.add_insecure_port(f"127.0.0.1:{front.upstream_grpc}")
    server.start()
    try:
        # nginx asks a server that was down again after ten seconds at most.
        for _ in range(30):
            if (got := live(password)) != grpc.StatusCode.UNAVAILABLE:
                break
            time.sleep(0.5)
        assert got == b"\x08None"
        assert live() == grpc.StatusCode.UNAUTHENTICATED
    finally:
        server.stop(None).wait()


def test_the_directives_are_ones_that_nginx_knows():
    crossplane = pytest.importorskip("crossplane")
    parsed = crossplane.parse(
        str(CONFIG), strict=True, check_ctx=True, check_args=True, single=True
    )
    assert parsed["errors"] == []
    assert parsed["status"] == "ok"


def test_the_client_works_through_it(front, tiny_bundle, monkeypatch):
    pytest.importorskip("tritonclient", reason="the extra serving is not installed")
    served = ServedBundle(tiny_bundle)
    monkeypatch.setattr(StandIn, "do_GET", answer_by_rule)
    monkeypatch.setattr(StandIn, "do_POST", answer_by_rule)
    monkeypatch.setattr(ThreadingHTTPServer, "rule", staticmethod(served.rest), raising=False)
    monkeypatch.setattr(ThreadingHTTPServer, "seen", [], raising=False)
    headers = {"Authorization": PASSWORD, "Accept-Encoding": "gzip"}
    options = replace(FAST, headers=headers, ca_file=front.certificate)
    url = f"https://localhost:{front.rest}/emotions"
    with classify(url, model=tiny_bundle, options=options) as remote:
        assert [found.labels for found in remote(["злость", "радость"] * 50)] == [
            ("anger",),
            ("joy",),
        ] * 50
