"""Clients that misbehave below HTTP, and the server as a process: signals, logs, its bundle."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from live_server import HOST, Held, Live, live, process, read_all, until

from ov_emotions.bundle import Bundle, shipped
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.main import main

BODY = '{"texts": ["радость"]}'.encode()


def head(length: object, *lines: str, path: str = "/v1/emotions") -> bytes:
    found = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines]
    if length is not None:
        found.append(f"Content-Length: {length}")
    return ("\r\n".join(found) + "\r\n\r\n").encode()


CLOSE = "Connection: close"
WHOLE = head(len(BODY), CLOSE) + BODY


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.fixture(scope="module")
def server(tiny_classifier: EmotionClassifier) -> Iterator[Live]:
    with live(tiny_classifier, receive_seconds=0.4, max_body_bytes=100_000) as found:
        yield found


@pytest.fixture(autouse=True)
def still_answers(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        assert status(request.getfixturevalue("server").raw(WHOLE)) == 200


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v1/model HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET /v1/model HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: b\r\n" % i for i in range(9000)), 400),
        (head(-5) + BODY, 400),
        (head(f"{len(BODY)}\r\nContent-Length: 3") + BODY, 400),
        (head(None, "Transfer-Encoding: chunked") + b"zz\r\nabc", 400),
        (head(len(BODY), "Transfer-Encoding: chunked") + BODY, 400),
        (head(10**15, CLOSE) + BODY, 413),
        (head(None, "Transfer-Encoding: chunked") + b"30000\r\n" + b"x" * 0x30000, 413),
        (head(len(BODY) - 3, CLOSE) + BODY, 400),  # the rest of it is no request
        (head(None, CLOSE), 400),  # no body at all
        (head(None, "Transfer-Encoding: gzip, chunked, gzip") + BODY, 400),
        (head(len(BODY), CLOSE, "Expect: 100-continue") + BODY, 100),
        (b"GET /v1/model HTTP/1.0\r\n\r\n", 200),
    ],
)  # fmt: skip
def test_bytes_that_are_no_proper_request_get_an_answer_and_the_connection_closed(
    server: Live, sent: bytes, expected: int
) -> None:
    with server.connect() as connection:
        try:
            connection.sendall(sent)
        except OSError:
            assert expected in (400, 413)  # it had heard enough
        try:
            assert status(read_all(connection)) == expected
        except ConnectionResetError:
            assert expected == 413  # much of the body was still under way


def test_a_client_that_sends_far_too_much_still_reads_why(server: Live) -> None:
    sent = head(3_000_000) + b"x" * 3_000_000 + WHOLE
    answer = server.raw(sent)
    assert status(answer) == 413
    assert b"larger than 100,000 bytes" in answer
    assert answer.count(b"HTTP/1.1 ") == 2, "the connection can be used again"


UPGRADE = b"Upgrade: websocket\r\nConnection: close, upgrade\r\n\r\n"
CHUNKS = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"GET /v1/model HTTP/1.1\r\nHost: x\r\n" + UPGRADE, 1),  # as if it had not asked
        (WHOLE + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 1),  # more than it said is no request
        (head(None, CLOSE, "Transfer-Encoding: chunked") + CHUNKS, 1),
        ((head(len(BODY)) + BODY) * 5 + WHOLE, 6),
    ],
)
def test_proper_requests_are_answered_one_after_the_other(
    server: Live, sent: bytes, answers: int
) -> None:
    answer = server.raw(sent)
    assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 200") == answers


def test_a_head_that_trickles_is_given_up(server: Live) -> None:
    with server.connect() as connection:
        start = time.monotonic()
        connection.sendall(b"GET /v1/model HTTP/1.1\r\nX-Slow: ")
        try:
            while time.monotonic() - start < 10:
                connection.sendall(b"G")
                time.sleep(0.05)
        except OSError:
            pass
        took = time.monotonic() - start
    assert 1.0 < took < 5.0


def test_a_connection_that_says_nothing_is_given_up_with_408(server: Live) -> None:
    with server.connect() as connection:
        start = time.monotonic()
        answer = read_all(connection)
        assert time.monotonic() - start < 5
    assert status(answer) == 408
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def test_a_body_that_trickles_is_given_up_with_408(server: Live) -> None:
    with server.connect() as connection:
        connection.sendall(head(1000) + BODY)
        connection.settimeout(0.05)
        answer = b""
        start = time.monotonic()
        while not answer and time.monotonic() - start < 5:
            try:
                connection.sendall(b" ")
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        # Its head and its body need not come in one piece, and a byte that the server has not read
        # when it closes turns the end into a reset.
        connection.settimeout(5)
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
    assert status(answer) == 408
    assert b"the body did not arrive within 0.4 s" in answer


def test_many_silent_connections_do_not_keep_others_out(server: Live) -> None:
    silent = [server.connect() for _ in range(100)]
    try:
        for connection in silent:
            connection.sendall(b"POST /v1/emotions HT")
        assert status(server.raw(WHOLE)) == 200
    finally:
        for connection in silent:
            connection.close()


def post(text: str) -> bytes:
    body = json.dumps({"texts": [text]}).encode()
    return head(len(body)) + body


@pytest.mark.parametrize("way", ["close", "half", "reset"])
def test_a_client_that_goes_away_or_half_closes_is_dropped_before_its_texts_are_computed(
    tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    held = Held(tiny_classifier, monkeypatch)
    with live(tiny_classifier) as server:
        batcher = server.service.batcher
        with server.connect() as first, server.connect() as leaving, server.connect() as stays:
            first.sendall(post("first"))
            assert held.begun.wait(5)
            leaving.sendall(post("leaves"))
            assert until(lambda: batcher.waiting_requests == 1)
            if way == "half":
                leaving.shutdown(socket.SHUT_WR)
            elif way == "reset":
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                leaving.close()
            else:
                leaving.close()
            assert until(lambda: batcher.waiting_requests == 0)
            stays.sendall(post("stays"))
            assert until(lambda: batcher.waiting_requests == 1)
            held.go.set()
            assert stays.recv(65536).startswith(b"HTTP/1.1 200")
            assert first.recv(65536).startswith(b"HTTP/1.1 200")
            if way == "half":
                assert read_all(leaving) == b""
        told = httpx.get(f"{server.url}/metrics").text
    assert held.seen == ["first", "stays"]
    assert 'ov_emotions_rejected_total{reason="gone"} 1.0' in told
    assert 'status="499"' in told


def test_a_client_that_goes_while_it_sends_is_counted_and_nothing_else(server: Live) -> None:
    connection = server.connect()
    connection.sendall(head(1000) + BODY)
    connection.close()
    gone = 'ov_emotions_rejected_total{reason="gone"}'
    assert until(lambda: gone in httpx.get(f"{server.url}/metrics").text)


def test_a_client_that_never_reads_its_answer_does_not_hold_up_others(
    tiny_classifier: EmotionClassifier,
) -> None:
    body = json.dumps({"texts": ["слово"] * 9000}, ensure_ascii=False).encode()
    with live(tiny_classifier) as server, server.connect() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(head(len(body)) + body)
        time.sleep(0.5)
        assert status(server.raw(WHOLE)) == 200


def test_more_connections_than_are_allowed_get_503_but_the_probes_are_answered(
    tiny_classifier: EmotionClassifier,
) -> None:
    with live(tiny_classifier, max_connections=3) as server:
        others = [server.connect() for _ in range(2)]
        time.sleep(0.1)
        full = server.raw(WHOLE)
        assert status(full) == 503
        assert b"connection: close" in full.lower() and b"x-request-id" in full.lower()
        assert "too many connections" in json.loads(full.partition(b"\r\n\r\n")[2])["error"]
        for probe in ("/v2/health/live", "/v2/health/ready", "/health"):
            asked = f"GET {probe} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            assert status(server.raw(asked.encode())) == 200, probe
        for other in others:
            other.close()
        assert until(lambda: status(server.raw(WHOLE)) == 200)


# --- stopping -----------------------------------------------------------------------------------


def test_at_its_end_it_finishes_what_it_took_and_refuses_what_comes(
    tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(tiny_classifier, monkeypatch)
    with live(tiny_classifier) as server:
        kept = httpx.Client(base_url=server.url)
        with server.connect() as taken, kept:
            assert kept.get("/v2/health/ready").status_code == 200
            taken.sendall(post("taken"))
            assert held.begun.wait(5)
            server.runner.should_exit = True
            assert until(lambda: not server.service.ready)
            refused = kept.post("/v1/emotions", json={"texts": ["new"]})
            assert refused.status_code == 503
            assert "the server is stopping" in refused.json()["error"]
            assert refused.headers["retry-after"]
            assert status(server.raw(WHOLE)) == 503  # a new connection
            ready = kept.get("/v2/health/ready")
            assert (ready.status_code, ready.json()) == (503, {"error": "the server is stopping"})
            assert kept.get("/health").status_code == 503
            assert kept.get("/v2/models/emotions/ready").status_code == 503
            assert kept.get("/v2/health/live").status_code == 200
            held.go.set()
            assert taken.recv(65536).startswith(b"HTTP/1.1 200")
    assert held.seen == ["taken"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, server.port), timeout=2)


def test_a_stop_does_not_wait_for_ever(
    tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(tiny_classifier, monkeypatch)
    start = time.monotonic()
    with live(tiny_classifier, grace_seconds=0.3) as server:
        stuck = server.connect()
        stuck.sendall(post("stuck"))
        assert held.begun.wait(5)
        threading.Timer(2.5, held.go.set).start()
    stuck.close()
    assert time.monotonic() - start < 8


# --- the process --------------------------------------------------------------------------------


def ask(url: str, text: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/emotions", json={"texts": [text]}, timeout=20)


def test_a_process_answers_logs_without_texts_and_ends_well_at_sigterm(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(shipped("emotions-ru-tiny"), folder)
    with process(Bundle.load(folder)) as server:
        before = ask(server.url, "тайная радость")
        assert ask(server.url, "x" * 200_000).status_code == 422
        # The model was read: neither a file cut short nor one that is gone does any harm.
        (folder / "model.bin").write_bytes(b"")
        assert ask(server.url, "тайная радость").json() == before.json()
        shutil.rmtree(folder)
        assert ask(server.url, "другая тайная печаль подлиннее").status_code == 200
        log = server.log()
        assert server.popen.returncode == 0
    lines = [line for line in log if line["message"] == "request"]
    assert [line["status"] for line in lines] == [200, 422, 200, 200]
    assert (lines[0]["texts"], lines[0]["characters"], lines[0]["path"]) == (1, 14, "/v1/emotions")
    assert lines[1]["reason"] == "too_long"
    assert all(line["request"] and line["ms"] > 0 and line["time"] for line in lines)
    assert "тайная" not in json.dumps(log, ensure_ascii=False)


def test_what_is_wrong_at_the_start_is_one_sentence_and_nothing_listens(
    own_bundle: Bundle, server: Live, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (own_bundle.folder / "model.bin").write_bytes(b"")
    model = ["--model", str(own_bundle.folder), "--port", "0"]
    for arguments, words in [
        (["--model", str(tmp_path / "nosuch"), "--port", "0"], "nosuch"),
        (model, "model.bin"),
        (["--port", str(server.port)], f"cannot listen on 127.0.0.1 port {server.port}"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 8000"),
        (["--host", "nosuch.invalid"], "cannot listen on nosuch.invalid port 8000"),
        (["--port", "70000"], "port must lie in 0 to 65535"),
        (["--deadline", "nan"], "deadline must be a number of seconds above 0"),
        (["--max-texts", "0"], "max_texts must be at least 1"),
        (["--batch-wait-ms", "-1"], "batch_wait_ms must lie in 0 to 1000"),
        (["--name", "a/b"], "'a/b' cannot name a model"),
        (["--cors-origins", "example.org"], "'example.org' is no origin"),
        (["--api-key-file", str(tmp_path / "keys"), "--port", "0"], "the file of keys"),
    ]:
        assert main(["serve", *arguments]) == 1, arguments
        found = capsys.readouterr()
        assert found.out == ""
        assert found.err.startswith("ov-emotions: error: "), found.err
        assert words in found.err
        assert found.err.count("\n") == 1
