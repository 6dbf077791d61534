"""`ov-emotions serve` under steady load: what is lost, how long answers take, whether it grows.

Starts the server as a user would, lets closed-loop clients ask it, every other one over
`/v1/emotions` and over KServe v2, and compares every answer with the classifier's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import SPLIT, record, rendered
from benchmarks.serving.load import Limits, Run, closed_loop, run_precisely
from benchmarks.serving.target import choose_texts
from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.output import print_json, print_text
from ov_emotions.client.caller import connect
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import Tensor, Transport, text_bytes
from ov_emotions.client.url import parse_model_url
from ov_emotions.errors import OvEmotionsError, ServerError, ServerUnavailableError
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise
from ov_emotions.schema import DEFAULT_MODEL, Count
from ov_emotions.system import require, resident_mb

APIS = ("/v1/emotions", "KServe v2")

TOLERANCE = 0.05
"""A text's INT8 probabilities differ this much at most between the server's graphs: that for single
texts rounds otherwise than that for lists. A wrong answer is another text's, and far more off."""

PACKAGES = "openvino tokenizers numpy fastapi starlette uvicorn h11 pydantic"
GROWTH = 0.05
"""From the second quarter of the load to the last; the first one meets new shapes of batches."""

_SAMPLE_SECONDS = 0.5


@dataclass
class Served:
    """The server's process."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> int:
        """End it as an orchestrator would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def served(model: str, threads: int | None) -> Iterator[Served]:
    """Start `ov-emotions serve` on a free port of loopback; yield it once it takes requests.

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
    :param memory: of the server's process, 10^6 bytes by the seconds of the load.
    """

    url: str
    texts: Sequence[str]
    expected: NDArray[np.float32]
    labels: Sequence[str]
    wrong: int = 0
    largest: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {api: [] for api in APIS})
    memory: list[tuple[float, float]] = field(default_factory=list)

    def compare(self, position: int, scores: Sequence[float]) -> None:
        difference = float(np.abs(self.expected[position] - np.array(scores, np.float32)).max())
        self.largest = max(self.largest, difference)
        self.wrong += difference > TOLERANCE


async def load(
    asked: Asked, clients: int, warm_up: float, seconds: float, process: int
) -> tuple[Run, Run]:
    """Warm up, then load, and watch the memory of the server's process."""
    aiohttp = require("aiohttp", extra="serving")
    options = ServerOptions(timeout=60, deadline=60, attempts=1, concurrency=clients)
    transport = connect(parse_model_url(f"{asked.url}/emotions"), options)
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=0)
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

        async def watch() -> None:
            start = time.perf_counter()
            while True:
                asked.memory.append((time.perf_counter() - start, resident_mb(process)))
                await asyncio.sleep(_SAMPLE_SECONDS)

        try:
            before = await closed_loop(send, clients, Limits(warm_up, sys.maxsize))
            asked.seconds = {api: [] for api in APIS}
            watcher = asyncio.ensure_future(watch())
            run = await closed_loop(send, clients, Limits(seconds, sys.maxsize))
            watcher.cancel()
        finally:
            await transport.close()
        async with session.get("/metrics") as answer:
            asked.told = server_counts(await answer.text())
    return before, run


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
    """Read what the server counted itself, from metrics in Prometheus' text format."""

    def total(pattern: str) -> float:
        found = re.findall(rf"^{pattern} (\S+)$", metrics, re.MULTILINE)
        return sum(float(value) for value in found)

    endpoint = r'endpoint="(?:/v1/emotions|/v2/models/\{name\}/infer)"'
    batches = total("ov_emotions_batch_requests_count")
    requests = total("ov_emotions_batch_requests_sum")
    return {
        "answered": round(total(rf'ov_emotions_requests_total\{{{endpoint},status="200"\}}')),
        "texts": round(total("ov_emotions_texts_total")),
        "inferences": round(batches),
        "requests_per_inference": round(requests / max(batches, 1), 2),
        "rejected": round(total(r"ov_emotions_rejected_total\{[^}]*\}")),
    }


def serve(
    *,
    data: Path,
    model: str = DEFAULT_MODEL,
    threads: Count | None = None,
    clients: Count = 64,
    seconds: Count = 60,
    warm_up: Count = 10,
    texts: Count = 2000,
    seed: int = 20261125,
    output: Path | None = None,
    json: bool = False,
) -> int:
    """Start `ov-emotions serve`, and see whether it loses anything or grows.

    :param threads: of the server's model.
    :param seconds: of load.
    :param warm_up: seconds of the same load before, which are not counted.
    :param json: print the JSON in place of a sentence.
    :return: 0; 1 if an answer was lost or wrong, the server did not end well, or it grew.
    """
    bundle, chosen = Bundle.load(model), choose_texts(data, texts, seed)
    with EmotionClassifier(bundle, threads=threads) as classifier:
        expected, labels = classifier.predict_proba(list(chosen)), classifier.labels
    busy, ticks = os.getloadavg()[0], cpu_jiffies()
    with served(model, threads) as server:
        asked = Asked(server.url, chosen, expected, labels)
        before, seen = run_precisely(load(asked, clients, warm_up, seconds, server.process.pid))
        noise = judge_noise({}, ticks, cpu_jiffies())
        code = server.stop()
    answer = record(
        output,
        PACKAGES,
        model=bundle.manifest.name,
        precision=bundle.manifest.precision,
        split=SPLIT,
        seed=seed,
        texts=len(chosen),
        clients=clients,
        load_average_before=round(busy, 2),
        noise=noise,
        seconds=round(seen.seconds, 2),
        answered=len(seen.latencies),
        answered_before=len(before.latencies),
        lost=sum(seen.errors.values()) + sum(before.errors.values()),
        errors={**before.errors, **seen.errors},
        wrong=asked.wrong,
        largest_difference=round(asked.largest, 6),
        per_second=round(len(seen.latencies) / seen.seconds, 1),
        latency_ms={
            name: percentiles(np.array(found))
            for name, found in {"all": seen.latencies, **asked.seconds}.items()
        },
        driver_cpu=round(seen.cpu_seconds / seen.seconds, 3),
        server=asked.told,
        memory=_memory(asked.memory),
        exit_code=code,
    )
    if json:
        print_json(answer)
    else:
        print_text(rendered("steady.md", steady=answer))
    grown = answer["memory"]["grown"] > GROWTH
    return int(bool(answer["lost"] or answer["wrong"] or grown or code))


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Sum latencies up, shape (answers,), as milliseconds by name; empty where there are none."""
    shares = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100} if len(seconds) else {}
    return {n: round(1000 * float(np.percentile(seconds, p)), 2) for n, p in shares.items()}


def _memory(samples: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Tell how memory went: medians of quarters, and growth from the second to the last."""
    values = np.array([mb for _, mb in samples] or [0.0])
    quarters = [float(np.median(part)) for part in np.array_split(values, 4) if len(part)]
    settled, end = quarters[min(1, len(quarters) - 1)], quarters[-1]
    return {
        "samples_mb": [[round(second, 1), mb] for second, mb in samples],
        "settled_mb": round(settled, 1),
        "end_mb": round(end, 1),
        "max_mb": float(values.max()),
        "grown": round((end - settled) / settled, 4) if settled else 0.0,
    }
