"""infinity-emb: a server that classifies, asked over HTTP on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from worker import BATCH, Loaded, Way

START_SECONDS = 180
CLIENTS = 4


def build(options: Mapping[str, Any]) -> Loaded:
    """Start the server.

    :param options: `model` (folder), `labels`, `thresholds`.
    :return: the way `server`: requests of a batch each, several at a time.
    :raises RuntimeError: if it does not come up.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("infinity_emb")), "v2"]
    command += ["--model-id", options["model"], "--served-model-name", "emotions"]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32"]
    command += ["--batch-size", str(BATCH), "--port", str(port), "--host", "127.0.0.1"]
    command += ["--trust-remote-code", "--no-bettertransformer", "--no-model-warmup"]
    server = subprocess.Popen(command, stdout=sys.stderr, env={**os.environ, "DO_NOT_TRACK": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        _await(server, url)
    except RuntimeError:
        server.kill()
        raise
    cuts = dict(zip(options["labels"], options["thresholds"], strict=True))

    def ask(texts: list[str]) -> list[list[str]]:
        body = json.dumps({"model": "emotions", "input": texts, "raw_scores": True}).encode()
        request = urllib.request.Request(
            f"{url}/classify", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                found = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"HTTP {error.code}: {error.read(300).decode()}") from error
        return [[s["label"] for s in row if s["score"] >= cuts[s["label"]]] for row in found]

    clients = ThreadPoolExecutor(CLIENTS)

    def predict(texts: list[str]) -> list[list[str]]:
        parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        return [labels for part in clients.map(ask, parts) for labels in part]

    def close() -> None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()

    return Loaded({"server": Way(predict)}, close=close)


def _await(server: Any, url: str) -> None:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the server did not answer within {START_SECONDS} s")
