"""`ov-emotions serve` under steady load: what is lost, how long answers take, whether it grows.

Starts the server as a user would, lets closed-loop clients ask it, every other one over
`/v1/emotions` and over KServe v2, and compares every answer with the classifier's own.
"""

from __future__ import annotations

import argparse
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

from benchmarks.common import SPLIT, add_flags
from benchmarks.serving.load import Limits, Run, closed_loop, run_precisely
from benchmarks.serving.noise import Others
from benchmarks.serving.target import choose_texts, open_answer
from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.frame import positive_int
from ov_emotions.cli.output import print_json, utf8_stdout
from ov_emotions.client.caller import connect
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import Tensor, Transport, text_bytes
from ov_emotions.client.url import parse_model_url
from ov_emotions.errors import OvEmotionsError, ServerError, ServerUnavailableError
from ov_emotions.quantization.timing import judge_noise
from ov_emotions.system import environment, require, resident_mb

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
        difference = float(np.abs(self.expected[position] - np.array(scores, np.float32)).max())
        self.largest = max(self.largest, difference)
        self.wrong += difference > TOLERANCE


async def load(
    asked: Asked, args: argparse.Namespace, process: int
) -> tuple[Run, Run, list[tuple[float, float]]]:
    """Warm up, then load, and watch the memory of the server's process: seconds, 10^6 bytes."""
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
    return before, run, memory


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
    """Read what the server counted itself, from metrics in Prometheus' text format."""

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


# The verb

PACKAGES = ("openvino", "tokenizers", "numpy", "fastapi", "starlette", "uvicorn", "h11", "pydantic")
GROWTH = 0.05
"""From the second quarter of the load to the last; the first one meets new shapes of batches."""


def add_parser(verbs: Any) -> None:
    """Add the verb to what `add_subparsers` returned."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "serve",
        help="start `ov-emotions serve`, and see whether it loses anything or grows",
        description=__doc__,
    )
    parser.set_defaults(run=run)
    add_flags(
        parser,
        data=(Path, ..., "what `data prepare` wrote"),
        model=(str, DEFAULT_MODEL, "bundle"),
        threads=(positive_int, None, "of the server's model"),
        clients=(positive_int, 64, ""),
        seconds=(positive_int, 60, "of load"),
        warm_up=(positive_int, 10, "seconds of the same load before, which are not counted"),
        texts=(positive_int, 2000, "to send"),
        seed=(int, 20261125, "of their choice"),
        output=(Path, None, "JSON to write"),
    )
    parser.add_argument("--json", action="store_true", help="print the JSON in place of a table")


def run(args: argparse.Namespace) -> int:
    """Load the server and report.

    :return: 0; 1 if an answer was lost or wrong, the server did not end well, or it grew.
    """
    bundle = Bundle.load(args.model)
    texts = choose_texts(args.data, args.texts, args.seed)
    with open_answer(args.output) as write:
        answer = _measure(args, bundle, texts)
        write(answer)
    if args.json:
        print_json(answer)
    else:
        print(sentence(answer), file=utf8_stdout())
    good = not (answer["lost"] or answer["wrong"] or answer["memory"]["grown"] > GROWTH)
    return 0 if good and answer["exit_code"] == 0 else 1


def _measure(args: argparse.Namespace, bundle: Bundle, texts: Sequence[str]) -> dict[str, Any]:
    with EmotionClassifier(bundle, threads=args.threads) as classifier:
        expected = classifier.predict_proba(list(texts))
        labels = classifier.labels
    busy = os.getloadavg()[0]
    with served(args.model, args.threads) as server:
        others = Others([])  # the server is a child of this process
        asked = Asked(server.url, texts, expected, labels)
        before, seen, memory = run_precisely(load(asked, args, server.process.pid))
        told, noise = asked.told, judge_noise({}, *others.since())
        code = server.stop()
    return {
        "command": args.command,
        "model": bundle.manifest.name,
        "precision": bundle.manifest.precision,
        "split": SPLIT,
        "seed": args.seed,
        "texts": len(texts),
        "clients": args.clients,
        "load_average_before": round(busy, 2),
        "noise": noise,
        **environment(*PACKAGES),
        "seconds": round(seen.seconds, 2),
        "answered": len(seen.latencies),
        "answered_before": len(before.latencies),
        "lost": sum(seen.errors.values()) + sum(before.errors.values()),
        "errors": {**before.errors, **seen.errors},
        "wrong": asked.wrong,
        "largest_difference": round(asked.largest, 6),
        "per_second": round(len(seen.latencies) / seen.seconds, 1),
        "latency_ms": {
            "all": percentiles(seen.latencies),
            **{api: percentiles(np.array(asked.seconds[api])) for api in APIS},
        },
        "driver_cpu": round(seen.cpu_seconds / seen.seconds, 3),
        "server": told,
        "memory": _memory(memory),
        "exit_code": code,
    }


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Sum latencies up, shape (answers,), as milliseconds by name; empty where there are none."""
    if not len(seconds):
        return {}
    found = [*np.percentile(1000 * seconds, [50, 90, 99, 99.9]), 1000 * seconds.max()]
    return dict(
        zip(("p50", "p90", "p99", "p99.9", "max"), (round(float(v), 2) for v in found), strict=True)
    )


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


def sentence(answer: dict[str, Any]) -> str:
    """Say in a few lines what was found."""
    latency, memory, machine = answer["latency_ms"]["all"], answer["memory"], answer["machine"]
    return "\n".join(
        [
            f"{answer['clients']} clients for {answer['seconds']:.0f} s on {answer['model']} "
            f"({answer['precision']}): {answer['answered']:,} answers, "
            f"{answer['per_second']:,.0f} a second; {answer['lost']} lost, {answer['wrong']} wrong "
            f"(largest difference {answer['largest_difference']:.4f})",
            f"p50 {latency.get('p50', 0):.1f} ms, p99 {latency.get('p99', 0):.1f} ms, slowest "
            f"{latency.get('max', 0):.1f} ms; {answer['server']['requests_per_inference']:.1f} "
            "requests an inference",
            f"memory {memory['settled_mb']:.0f} MB in the second quarter, "
            f"{memory['end_mb']:.0f} MB in the last; exit code {answer['exit_code']} at SIGTERM",
            f"clients and server on {machine['cores']} cores of {machine['cpu']}",
        ]
    )
