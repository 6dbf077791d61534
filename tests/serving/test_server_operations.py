"""What runs the server: variables, a Unix socket, workers, reloading, traces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from live_server import Process, live, process, until

from ov_emotions.bundle import Bundle, shipped
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.main import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and sockets of POSIX")

ASKED = {"texts": ["какая радость"]}


# --- environment variables ----------------------------------------------------------------------


def test_variables_give_what_flags_give_and_flags_win(tiny_bundle: Bundle) -> None:
    variables = {
        "OV_EMOTIONS_SERVE_MAX_TEXTS": "3",
        "OV_EMOTIONS_SERVE_MAX_TEXT_CHARACTERS": "50",
        "OV_EMOTIONS_SERVE_LOG_TEXTS": "yes",
        "OV_EMOTIONS_SERVE_CORS_ORIGINS": "https://a.org https://b.org",
    }
    with process(tiny_bundle, "--max-texts", "4", **variables) as server:
        told = httpx.get(f"{server.url}/v1/model", headers={"Origin": "https://b.org"})
        httpx.post(f"{server.url}/v1/emotions", json=ASKED)
        log = server.log(signal.SIGINT)
        assert server.popen.returncode == 0
    assert (told.json()["max_texts"], told.json()["max_text_characters"]) == (4, 50)
    assert told.headers["access-control-allow-origin"] == "https://b.org"
    assert [line["contents"] for line in log if "contents" in line] == [ASKED["texts"]]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_TEXTS", "many", "OV_EMOTIONS_SERVE_MAX_TEXTS: 'many' is not a whole number"),
        ("LOG_TEXTS", "perhaps", "OV_EMOTIONS_SERVE_LOG_TEXTS must be true or false"),
        ("LONG_TEXTS", "cut", "OV_EMOTIONS_SERVE_LONG_TEXTS"),
        ("ROOT_PATH", "emotions/", "root_path must begin with a slash"),
        ("WORKERS", "0", "workers must be at least 1"),
    ],
)
def test_a_wrong_variable_is_named(
    name: str,
    value: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"OV_EMOTIONS_SERVE_{name}", value)
    assert main(["serve", "--port", "0"]) == 1
    assert words in capsys.readouterr().err


# --- a Unix socket ------------------------------------------------------------------------------


def test_a_unix_socket(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "serve.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # by a server that was killed
    with process(tiny_bundle, "--unix-socket", str(path)) as server:
        assert server.url == f"unix:{path}"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            answer = client.post("http://server/v1/emotions", json=ASKED)
        assert answer.json()["predictions"][0]["labels"] == ["joy"]
        assert main(["serve", "--unix-socket", str(path)]) == 1
        assert "another server does" in capsys.readouterr().err
        server.log()
        assert server.popen.returncode == 0
    assert not path.exists()


# --- workers ------------------------------------------------------------------------------------


def workers_of(server: Process) -> set[int]:
    """The worker processes: the children but for multiprocessing's own."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (OSError, IndexError, ValueError):
            continue
        if parent == server.popen.pid and b"spawn_main" in command:
            found.add(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_share_an_address_count_together_and_are_replaced(tiny_bundle: Bundle) -> None:
    with process(tiny_bundle, "--workers", "2") as server:

        def ask(_number: int) -> int:
            return httpx.post(f"{server.url}/v1/emotions", json=ASKED, timeout=20).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(40))) == {200}
        told = httpx.get(f"{server.url}/metrics").text
        assert "ov_emotions_texts_total 40.0" in told
        before = workers_of(server)
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        assert until(lambda: len(workers_of(server) - before) == 1)
        assert until(lambda: ask(0) == 200)
        log = server.log()
        assert server.popen.returncode == 0
        assert workers_of(server) == set()
    assert any("another is started" in line["message"] for line in log)


def test_a_worker_that_cannot_start_ends_it_all_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "nosuch")
    assert main(["serve", "--workers", "2", "--port", "0", "--model", missing]) == 1
    assert "nosuch" in capsys.readouterr().err


# --- SIGHUP -------------------------------------------------------------------------------------


def test_sighup_loads_the_model_anew_and_loses_nothing(own_bundle: Bundle) -> None:
    ended = threading.Event()
    statuses: list[int] = []

    def client(url: str) -> None:
        with httpx.Client(base_url=url, timeout=20) as http:
            while not ended.is_set():
                statuses.append(http.post("/v1/emotions", json=ASKED).status_code)

    with process(own_bundle) as server:

        def version() -> str:
            return str(httpx.get(f"{server.url}/v1/model").json()["version"])

        before = version()
        threads = [threading.Thread(target=client, args=(server.url,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        try:
            shutil.rmtree(own_bundle.folder)
            shutil.copytree(shipped("emotions-ru-tiny"), own_bundle.folder)
            server.popen.send_signal(signal.SIGHUP)
            assert until(lambda: version() != before, 60)
            (own_bundle.folder / "model.bin").write_bytes(b"")
            after = version()
            server.popen.send_signal(signal.SIGHUP)
            time.sleep(1)
            assert version() == after, "a broken bundle leaves the old model"
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        told = httpx.get(f"{server.url}/metrics").text
        log = server.log()
        assert server.popen.returncode == 0
    assert set(statuses) == {200}
    assert f'model_info{{model="emotions-ru-tiny",version="{after}"}} 1.0' in told
    messages = [line["message"] for line in log]
    assert any("was reloaded" in message for message in messages)
    assert any("was not reloaded" in message for message in messages)


def test_sighup_stops_a_server_that_was_given_its_model(tiny_classifier: EmotionClassifier) -> None:
    with live(tiny_classifier) as server:
        server.runner.reload()
        assert until(lambda: server.runner.should_exit)


# --- traces -------------------------------------------------------------------------------------


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Takes traces as an OpenTelemetry collector does."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_requests_are_traced_below_their_callers(
    tiny_bundle: Bundle, collector: tuple[str, list[bytes]]
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="no extra tracing")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, received = collector
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace}-{parent}-01", "X-Request-Id": "call-7"}
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_SERVICE_NAME": "feelings",
    }
    with process(tiny_bundle, "--tracing", **variables) as server:
        answer = httpx.post(f"{server.url}/v1/emotions", json=ASKED, headers=headers)
        assert answer.status_code == 200
        server.log()
    spans = []
    for body in received:
        told = ExportTraceServiceRequest.FromString(body)
        for resource in told.resource_spans:
            [name] = [a for a in resource.resource.attributes if a.key == "service.name"]
            assert name.value.string_value == "feelings"
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    [span] = spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)
    assert span.name == "POST /v1/emotions"
    found = {one.key: one.value for one in span.attributes}
    assert found["http.response.status_code"].int_value == 200
    assert found["ov_emotions.texts"].int_value == 1
    assert found["ov_emotions.request_id"].string_value == "call-7"
    assert "радость" not in json.dumps([str(value) for value in found.values()])
