"""The clients of the steady load, and the process that they ask."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.load import Limits, Run, closed_loop
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import Tensor, Transport, connect, text_bytes
from ov_emotions.client.url import parse_model_url
from ov_emotions.errors import OvEmotionsError, ServerError, ServerUnavailableError
from ov_emotions.system import require, resident_mb

APIS = ("/v1/emotions", "KServe v2")

TOLERANCE = 0.05
"""A text's INT8 probabilities differ this much at most between the server's graphs: that for single
texts rounds otherwise than that for lists. A wrong answer is another text's, and far more off."""

_SAMPLE_SECONDS = 0.5


@dataclass
class Served:
    """The server's process."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> int:
        """End it as an orchestrator would, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def served(model: str, threads: int | None) -> Iterator[Served]:
    """Start `ov-emotions serve` on a free port of loopback.

    :param model: a shipped name or a bundle's folder.
    :param threads: CPU threads of its model; None for all cores.
    :return: yields the server once it takes requests.
    :raises OvEmotionsError: if it does not start; with its last words.
    """
    command = [sys.executable, "-m", "ov_emotions", "serve", "--json", "--port", "0"]
    command += ["--model", model, *([] if threads is None else ["--threads", str(threads)])]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            line = b"" if process.stdout is None else process.stdout.readline()
            if not line:
                log.seek(0)
                raise OvEmotionsError(f"the server does not start: {log.read().decode()[-500:]}")
            yield Served(json.loads(line)["url"], process)
        finally:
            if process.poll() is None:
                process.kill()


@dataclass
class Asked:
    """What is asked, and what came back.

    :param expected: float32, shape (texts, labels): the classifier's own probabilities.
    :param told: what the server counted.
    """

    url: str
    texts: Sequence[str]
    expected: NDArray[np.float32]
    labels: Sequence[str]
    wrong: int = 0
    largest: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {api: [] for api in APIS})

    def compare(self, position: int, scores: Sequence[float]) -> None:
        """Hold an answer against the classifier's."""
        difference = float(np.abs(self.expected[position] - np.array(scores, np.float32)).max())
        self.largest = max(self.largest, difference)
        self.wrong += difference > TOLERANCE


@dataclass(frozen=True)
class Seen:
    """What warming up and load saw, and the server's memory meanwhile: seconds, 10^6 bytes."""

    before: Run
    run: Run
    memory: list[tuple[float, float]]


async def load(asked: Asked, args: argparse.Namespace, process: int) -> Seen:
    """Warm up, then load.

    :param asked: what to ask, and whom.
    :param args: `clients`, `warm_up` and `seconds`.
    :param process: the server's, whose memory is watched.
    :return: what was seen.
    """
    aiohttp = require("aiohttp", extra="serving")
    options = ServerOptions(timeout=60, deadline=60, attempts=1, concurrency=args.clients)
    transport = connect(parse_model_url(f"{asked.url}/emotions"), options)
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=0)
    memory: list[tuple[float, float]] = []
    async with aiohttp.ClientSession(asked.url, timeout=timeout, connector=connector) as session:

        async def send(number: int) -> None:
            position, start = number % len(asked.texts), time.perf_counter()
            api = APIS[number // len(asked.texts) % 2 ^ number % 2]
            if api == APIS[0]:
                scores = await _people(aiohttp, session, asked, position)
            else:
                scores = await _kserve(transport, asked, position)
            asked.seconds[api].append(time.perf_counter() - start)
            asked.compare(position, scores)

        try:
            before = await closed_loop(send, args.clients, Limits(args.warm_up, sys.maxsize))
            asked.seconds = {api: [] for api in APIS}
            watcher = asyncio.ensure_future(_watch(process, memory))
            run = await closed_loop(send, args.clients, Limits(args.seconds, sys.maxsize))
            watcher.cancel()
        finally:
            await transport.close()
        async with session.get("/metrics") as answer:
            asked.told = server_counts(await answer.text())
    return Seen(before, run, memory)


async def _watch(process: int, memory: list[tuple[float, float]]) -> None:
    start = time.perf_counter()
    while True:
        memory.append((time.perf_counter() - start, resident_mb(process)))
        await asyncio.sleep(_SAMPLE_SECONDS)


async def _people(aiohttp: Any, session: Any, asked: Asked, position: int) -> list[float]:
    try:
        async with session.post("/v1/emotions", json={"texts": [asked.texts[position]]}) as answer:
            body = await answer.json()
            if answer.status != 200:
                raise ServerError(f"refused the request ({answer.status}): {body.get('error')}")
    except TimeoutError as error:
        raise ServerUnavailableError("did not answer within 60 s") from error
    except aiohttp.ClientError as error:
        raise ServerUnavailableError(f"broke the connection: {error}") from error
    [prediction] = body["predictions"]
    return [prediction["scores"][label] for label in asked.labels]


async def _kserve(transport: Transport, asked: Asked, position: int) -> list[float]:
    raw = np.array([text_bytes(asked.texts[position])], dtype=np.object_)
    answer = await transport.infer([Tensor("text", "BYTES", raw)], ["probabilities"], "", 60)
    scores: list[float] = answer.arrays["probabilities"][0].tolist()
    return scores


def server_counts(metrics: str) -> dict[str, Any]:
    """Read what the server counted itself.

    :param metrics: in Prometheus' text format.
    :return: answers with status 200, texts, inferences, and requests an inference.
    """

    def total(pattern: str) -> float:
        found = re.findall(rf"^{pattern} (\S+)$", metrics, re.MULTILINE)
        return sum(float(value) for value in found)

    endpoint = r'endpoint="(?:/v1/emotions|/v2/models/\{name\}/infer)"'
    batches = total("ov_emotions_batch_requests_count")
    return {
        "answered": round(total(rf'ov_emotions_requests_total\{{{endpoint},status="200"\}}')),
        "texts": round(total("ov_emotions_texts_total")),
        "inferences": round(batches),
        "requests_per_inference": round(
            total("ov_emotions_batch_requests_sum") / max(batches, 1), 2
        ),
        "rejected": round(total(r"ov_emotions_rejected_total\{[^}]*\}")),
    }
