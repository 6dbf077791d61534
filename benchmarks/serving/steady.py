"""`ov-emotions serve` under steady load: what is lost, how long answers take, whether it grows.

Starts the server as a user would, lets closed-loop clients ask it, every other one over
`/v1/emotions` and over KServe v2, and compares every answer with the classifier's own.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.load import run_precisely
from benchmarks.serving.steady_clients import APIS, Asked, load, served
from benchmarks.serving.target import SPLIT, choose_texts
from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.frame import positive_int
from ov_emotions.cli.output import open_output, print_json, utf8_stdout
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise
from ov_emotions.system import environment

PACKAGES = ("openvino", "tokenizers", "numpy", "fastapi", "starlette", "uvicorn", "h11", "pydantic")
GROWTH = 0.05
"""From the second quarter of the load to the last; the first one meets new shapes of batches."""


def add_parser(verbs: Any) -> None:
    """Add the verb to the driver's parser.

    :param verbs: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        "serve",
        help="start `ov-emotions serve`, and see whether it loses anything or grows",
        description=__doc__,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--data", type=Path, required=True, help="what `data prepare` wrote")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"bundle (default: {DEFAULT_MODEL})")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="of the server's model")
    parser.add_argument("--clients", type=positive_int, default=64, metavar="N", help="default: 64")
    parser.add_argument(
        "--seconds", type=positive_int, default=60, metavar="N", help="of load (default: 60)"
    )
    parser.add_argument(
        "--warm-up",
        type=positive_int,
        default=10,
        metavar="N",
        help="seconds of the same load before, which are not counted (default: 10)",
    )
    parser.add_argument(
        "--texts", type=positive_int, default=2000, metavar="N", help="to send (default: 2000)"
    )
    parser.add_argument("--seed", type=int, default=20261125, metavar="N", help="of their choice")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write")
    parser.add_argument("--json", action="store_true", help="print the JSON in place of a table")


def run(args: argparse.Namespace) -> int:
    """Load the server and report.

    :param args: the parsed arguments.
    :return: 0; 1 if an answer was lost or wrong, the server did not end well, or it grew.
    """
    bundle = Bundle.load(args.model)
    texts = choose_texts(args.data, args.texts, args.seed)
    with nullcontext() if args.output is None else open_output(args.output) as output:
        answer = _measure(args, bundle, texts)
        if output is not None:
            output.write(json.dumps(answer, ensure_ascii=False, indent=2) + "\n")
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
    before, busy = cpu_jiffies(), os.getloadavg()[0]
    with served(args.model, args.threads) as server:
        asked = Asked(server.url, texts, expected, labels)
        seen = run_precisely(load(asked, args, server.process.pid))
        told = asked.told
        code = server.stop()
    memory = _memory(seen.memory)
    return {
        "command": args.command,
        "model": bundle.manifest.name,
        "precision": bundle.manifest.precision,
        "split": SPLIT,
        "seed": args.seed,
        "texts": len(texts),
        "clients": args.clients,
        "load_average_before": round(busy, 2),
        "noise": judge_noise({}, before, cpu_jiffies()),
        **environment(*PACKAGES),
        "seconds": round(seen.run.seconds, 2),
        "answered": len(seen.run.latencies),
        "answered_before": len(seen.before.latencies),
        "lost": sum(seen.run.errors.values()) + sum(seen.before.errors.values()),
        "errors": {**seen.before.errors, **seen.run.errors},
        "wrong": asked.wrong,
        "largest_difference": round(asked.largest, 6),
        "per_second": round(len(seen.run.latencies) / seen.run.seconds, 1),
        "latency_ms": {
            "all": percentiles(seen.run.latencies),
            **{api: percentiles(np.array(asked.seconds[api])) for api in APIS},
        },
        "driver_cpu": round(seen.run.cpu_seconds / seen.run.seconds, 3),
        "server": told,
        "memory": memory,
        "exit_code": code,
    }


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Sum latencies up.

    :param seconds: float64, shape (answers,).
    :return: milliseconds by name; empty where there are none.
    """
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
    """Say what was found.

    :param answer: what `serve` writes.
    :return: lines without an end.
    """
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
