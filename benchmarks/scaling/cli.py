"""Measure how throughput depends on cores, batch, length and streams.

    python -m benchmarks.scaling --data prepared --output benchmarks/results/scaling.json

Every point is a process of its own, pinned to its cores; the points take turns in every round. The
prices in the sizing table follow `--price`, which is an assumption of the reader's to make.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling.model import contention, predict, sizing
from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.cli.frame import positive_int
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import OvEmotionsError
from ov_emotions.files import write_json
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise, spread
from ov_emotions.system import environment

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
SPLIT = "test_goemotions"
BATCHES = (1, 4, 16, 64, 256, 1024)
TOKEN_BUDGETS = (512, 1024, 2048, 4096, 8192)
LENGTHS = ((3, 8), (9, 16), (17, 32), (33, 64))
LENGTH_TEXTS = 128


@dataclass(frozen=True)
class Point:
    """A setting that is measured.

    :param name: unique.
    :param plot: which plot it is of.
    :param x: where it stands there.
    :param line: which line of the plot it is on.
    :param cores: that it is pinned to.
    :param options: of the classifier.
    :param texts: that it classifies in one call, as positions in the pool.
    :param processes: how many of it run at the same time, on a core each.
    """

    name: str
    plot: str
    x: float
    line: str
    cores: tuple[int, ...]
    options: Mapping[str, Any]
    texts: tuple[int, ...]
    processes: int = 1
    tokens: float | None = field(default=None)


def points(cores: Sequence[int], lengths: Sequence[int], many: int) -> list[Point]:
    """Lay out what is measured.

    :param cores: that may be used, at least one; a second brings the points of two.
    :param lengths: tokens of every text of the pool.
    :param many: texts of a large call.
    :return: the points.
    """
    every, one = tuple(range(many)), (cores[0],)
    found = [Point("1 core", "cores", 1, "threads", one, {}, every)]
    whole = tuple(cores[:2])
    if len(whole) == 2:
        found += [
            Point("2 cores, threads", "cores", 2, "threads", whole, {}, every),
            Point("2 cores, streams", "cores", 2, "streams", whole, {"streams": 2}, every),
            Point("2 processes", "cores", 2, "processes", whole, {}, every, processes=2),
        ]
    for size in BATCHES:
        if size <= many:
            found.append(
                Point(f"{size} a call", "batch", size, "one call", whole, {}, every[:size])
            )
    for budget in TOKEN_BUDGETS:
        options = {"batch_tokens": budget}
        found.append(
            Point(f"{budget} tokens", "token budget", budget, "one call", whole, options, every)
        )
    for low, high in LENGTHS:
        rows = [i for i, n in enumerate(lengths) if low <= n <= high][:LENGTH_TEXTS]
        if rows:
            mean = float(np.mean([lengths[i] for i in rows]))
            found.append(
                Point(
                    f"{low} to {high} tokens",
                    "length",
                    round(mean, 1),
                    "texts of like length",
                    whole,
                    {},
                    tuple(rows),
                    tokens=mean,
                )
            )
    return found


def measure(point: Point, pool: Sequence[str], model: str, seconds: float) -> float:
    """Measure a point once.

    :param point: what.
    :param pool: texts.
    :param model: shipped name or folder.
    :param seconds: at least.
    :return: texts a second, of all its processes together.
    :raises OvEmotionsError: if a process fails.
    """
    alone = point.processes == 1
    groups = [list(point.cores)] if alone else [[core] for core in point.cores]
    orders = [
        {
            "cores": group,
            "model": model,
            "options": dict(point.options),
            "texts": [pool[i] for i in point.texts],
            "seconds": seconds,
        }
        for group in groups
    ]
    with ThreadPoolExecutor(len(orders)) as pairs:
        return sum(pairs.map(_probe, orders))


def _probe(order: Mapping[str, Any]) -> float:
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling.probe"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise OvEmotionsError(f"a point could not be measured: {said[-1]}")
    return float(json.loads(done.stdout.splitlines()[-1])["texts_per_second"])


def conclude(
    rounds: Mapping[str, Sequence[float]], price: float, vcpus_per_core: float
) -> dict[str, Any] | None:
    """Fit the model to one and two cores, check it, and predict.

    :param rounds: texts a second by point.
    :param price: of a vCPU for an hour.
    :param vcpus_per_core: how many make a core.
    :return: `serial` by way of using cores, `check`, `sizing` and the assumptions; None where one
        core was all there was.
    """
    if "2 processes" not in rounds:
        return None
    one = rounds["1 core"]
    serial = {}
    for name in ("2 cores, threads", "2 cores, streams", "2 processes"):
        values = [contention(a, b) for a, b in zip(one, rounds[name], strict=True)]
        serial[name] = spread(values)
    # What two cores do is foretold from one core, with the s of the other way of using them.
    base = spread(one)["median"]
    other = {"2 cores, streams": "2 processes", "2 cores, threads": "2 cores, streams"}
    check = {
        name: {
            "predicted": round(predict(base, 2, serial[source]["median"]), 1),
            "linear": round(2 * base, 1),
            "measured": spread(rounds[name])["median"],
            "from": source,
        }
        for name, source in other.items()
    }
    for row in check.values():
        row["error"] = round(row["predicted"] / row["measured"] - 1, 4)
        row["linear_error"] = round(row["linear"] / row["measured"] - 1, 4)
    best = min(serial, key=lambda name: serial[name]["median"])
    bounds = (serial[best]["min"], serial[best]["median"], serial[best]["max"])
    return {
        "serial": serial,
        "check": check,
        "way": best,
        "one_core": base,
        "price_per_vcpu_hour": price,
        "vcpus_per_core": vcpus_per_core,
        "sizing": [
            {key: round(value, 4) for key, value in asdict(size).items()}
            for size in sizing(base, bounds, price, vcpus_per_core)
        ],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "scaling.json"
    )
    parser.add_argument("--rounds", type=positive_int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a point at least")
    parser.add_argument("--texts", type=positive_int, default=1024, help="of a large call")
    parser.add_argument(
        "--budget", type=float, default=8.0, metavar="MINUTES", help="no round begins beyond it"
    )
    parser.add_argument(
        "--price", type=float, default=0.04, help="of a vCPU for an hour, an assumption"
    )
    parser.add_argument("--vcpus-per-core", type=float, default=2.0)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line if None.
    :return: 0 fine, 1 failed, 2 wrong usage.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(given)
    try:
        answer = run(args)
    except (OvEmotionsError, OSError) as error:
        print(f"benchmarks.scaling: error: {error}", file=sys.stderr)
        return 1
    command = shlex.join(["python", "-m", "benchmarks.scaling", *given])
    write_json(args.output, {"command": command, **answer})
    print(f"wrote {args.output}")
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all points in turns.

    :param args: of the command line.
    :return: what is written.
    """
    began, before = time.monotonic(), cpu_jiffies()
    cores = sorted(os.sched_getaffinity(0))  # now: libraries change it
    texts = list(PreparedData.open(args.data).split(SPLIT).texts)
    order = np.random.default_rng(SEED).permutation(len(texts))
    pool = [texts[i] for i in order]
    bundle = Bundle.load(args.model)
    tokenizer = bundle.tokenizer()
    tokenizer.enable_truncation(bundle.manifest.max_length)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(pool)]
    plan = points(cores, lengths, min(args.texts, len(pool)))
    rounds: dict[str, list[float]] = {point.name: [] for point in plan}
    longest = 0.0
    for number in range(args.rounds):
        started = time.monotonic()
        if number and started - began + longest > 60 * args.budget:
            break
        for point in plan:
            rounds[point.name].append(round(measure(point, pool, args.model, args.seconds), 2))
        longest = max(longest, time.monotonic() - started)
        print(f"round {number + 1} of {args.rounds}, {longest:.0f} s", file=sys.stderr, flush=True)
    return {
        "model": bundle.manifest.name,
        "split": SPLIT,
        "seed": SEED,
        **environment("openvino", "tokenizers", "numpy"),
        "noise": judge_noise(
            {n: [1 / v for v in r] for n, r in rounds.items()}, before, cpu_jiffies()
        ),
        "points": [
            {
                "name": point.name,
                "plot": point.plot,
                "x": point.x,
                "line": point.line,
                "cores": len(point.cores),
                "options": dict(point.options),
                "texts": len(point.texts),
                "texts_per_second": spread(rounds[point.name]),
                "rounds": rounds[point.name],
            }
            for point in plan
        ],
        "sizing": conclude(rounds, args.price, args.vcpus_per_core),
    }
