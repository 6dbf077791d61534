"""The server of `ov-emotions serve` on a free port of loopback: in a thread, or as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.server import ServerSettings, create_app
from ov_emotions.server.run import listen, server
from ov_emotions.server.service import Service

HOST = "127.0.0.1"


@dataclass
class Live:
    """A server that runs."""

    port: int
    service: Service
    runner: Any

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def model_url(self) -> str:
        return f"{self.url}/{self.service.settings.name}"

    def connect(self) -> socket.socket:
        found = socket.create_connection((HOST, self.port), timeout=10)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found

    def raw(self, sent: bytes) -> bytes:
        """Send bytes on a connection of their own, and read until the server closes it."""
        with self.connect() as connection:
            connection.sendall(sent)
            return read_all(connection)


class Held:
    """Holds back a classifier's batches until it is let go."""

    def __init__(self, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.seen: list[str] = []
        before = classifier._score

        def score(texts: Any, **options: Any) -> Any:
            self.begun.set()
            assert self.go.wait(20)
            self.seen += texts
            return before(texts, **options)

        monkeypatch.setattr(classifier, "_score", score)
        # One batch at a time, so that what comes meanwhile waits.
        monkeypatch.setattr("ov_emotions.server.service._SIDES", 1)


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.03)
    return true()


def read_all(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


@contextmanager
def live(classifier: EmotionClassifier, **options: Any) -> Iterator[Live]:
    settings = ServerSettings(**{"host": HOST, "port": 0, "grace_seconds": 5.0, **options})
    app = create_app(settings, classifier)
    started = threading.Event()
    ports: list[int] = []

    def tell(port: int) -> None:
        ports.append(port)
        started.set()

    with listen(settings) as sock:
        runner = server(app, settings, tell)
        thread = threading.Thread(target=runner.run, args=([sock],), name="live-server")
        thread.start()
        try:
            assert started.wait(30), "the server did not start"
            yield Live(ports[0], app.state.service, runner)
        finally:
            runner.should_exit = True
            thread.join(30)
    assert not thread.is_alive(), "the server did not stop"


@dataclass
class Process:
    """`ov-emotions serve` as a user starts it."""

    url: str
    popen: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self, number: signal.Signals = signal.SIGTERM) -> list[dict[str, Any]]:
        """End it, and return what it logged."""
        self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=30)
        return [json.loads(line) for line in errors.splitlines()]


@contextmanager
def process(bundle: Bundle, *arguments: str, **environment: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "ov_emotions", "serve", "--json", "--port", "0"]
    command += ["--threads", "1", "--model", str(bundle.folder), *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as popen:
        try:
            assert popen.stdout is not None
            line = popen.stdout.readline()
            assert line, popen.communicate()[1]
            yield Process(json.loads(line)["url"], popen)
        finally:
            if popen.poll() is None:
                popen.kill()
            popen.communicate()
