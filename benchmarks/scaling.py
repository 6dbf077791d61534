"""Measure how throughput depends on cores, batch, length and streams, and size larger machines.

    python -m benchmarks.scaling --data prepared --output benchmarks/results/scaling.json

Every point is a process of its own, pinned to its cores; the points take turns in every round. The
prices in the sizing table follow `--price`, which is an assumption of the reader's to make.

What more cores would bring is a model of two parameters. Cores are used in one of two ways.
*Streams*: a core classifies texts by itself, and cores slow each other down only where they share
caches and memory. *Threads*: the cores share every matrix product, and what is not shared (Amdahl,
1967) runs on one of them. Both are described by the universal scalability law without its second
term (Gunther, 1993), which needs three sizes at least to fit:

    X(n) = n * X(1) / (1 + s * (n - 1))

`s` is the part of a text's time that does not shrink with cores; it follows from the throughput of
one and of two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    RESULTS,
    ROOT,
    SEED,
    SPLIT,
    command,
    record,
    rounds_within,
    shuffled,
    token_lengths,
)
from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import OvEmotionsError
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise, spread
from ov_emotions.schema import DEFAULT_MODEL, Count

BATCHES = (1, 4, 16, 64, 256, 1024)
TOKEN_BUDGETS = (512, 1024, 2048, 4096, 8192)
LENGTHS = ((3, 8), (9, 16), (17, 32), (33, 64))
LENGTH_TEXTS = 128
SIZED_CORES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Point:
    """A setting that is measured.

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


def points(cores: Sequence[int], lengths: Sequence[int], many: int) -> list[Point]:
    """Lay out what is measured.

    :param cores: that may be used, at least one; a second brings the points of two.
    :param lengths: tokens of every text of the pool.
    :param many: texts of a large call.
    """
    every, one, whole = tuple(range(many)), (cores[0],), tuple(cores[:2])
    found = [Point("1 core", "cores", 1, "threads", one, {}, every)]
    if len(whole) == 2:
        found += [
            Point("2 cores, threads", "cores", 2, "threads", whole, {}, every),
            Point("2 cores, streams", "cores", 2, "streams", whole, {"streams": 2}, every),
            Point("2 processes", "cores", 2, "processes", whole, {}, every, processes=2),
        ]
    found += [
        Point(f"{size} a call", "batch", size, "one call", whole, {}, every[:size])
        for size in BATCHES
        if size <= many
    ]
    for budget in TOKEN_BUDGETS:
        options = {"batch_tokens": budget}
        name = f"{budget} tokens"
        found.append(Point(name, "token budget", budget, "one call", whole, options, every))
    for low, high in LENGTHS:
        rows = tuple(i for i, n in enumerate(lengths) if low <= n <= high)[:LENGTH_TEXTS]
        if rows:
            mean = round(float(np.mean([lengths[i] for i in rows])), 1)
            name, line = f"{low} to {high} tokens", "texts of like length"
            found.append(Point(name, "length", mean, line, whole, {}, rows))
    return found


def measure(point: Point, pool: Sequence[str], model: str, seconds: float) -> float:
    """Measure a point once: texts a second, of all its processes together.

    :raises OvEmotionsError: if a process fails.
    """
    order = {
        "model": model,
        "options": dict(point.options),
        "texts": [pool[i] for i in point.texts],
        "seconds": seconds,
    }

    def probe(cores: Sequence[int]) -> float:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.probe"],
            input=json.dumps({**order, "cores": cores}),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise OvEmotionsError(f"a point could not be measured: {said[-1]}")
        return float(json.loads(done.stdout.splitlines()[-1])["texts_per_second"])

    groups = [point.cores] if point.processes == 1 else [(core,) for core in point.cores]
    with ThreadPoolExecutor(len(groups)) as pairs:
        return sum(pairs.map(probe, groups))


def contention(one: float, several: float, cores: int = 2) -> float:
    """Solve for `s`, 0 where cores brought all that they could or more.

    :param one: texts a second of one core.
    :param several: of so many cores.
    """
    return max(0.0, (cores * one / several - 1) / (cores - 1))


def predict(one: float, cores: float, serial: float) -> float:
    """Predict texts a second of so many cores, from those of one and `s`."""
    return cores * one / (1 + serial * (cores - 1))


@dataclass(frozen=True)
class Size:
    """A row of the sizing table.

    :param low: texts a second, with the larger `s` that the rounds allow.
    :param middle: with the median of `s`.
    :param high: with the smaller.
    :param cost: of a million texts, in the currency of the price.
    """

    cores: int
    low: float
    middle: float
    high: float
    cost: float


def sizing(
    one: float, serial: tuple[float, float, float], price: float, vcpus_per_core: float
) -> list[Size]:
    """Predict for 1 to 64 cores.

    :param one: texts a second of one core.
    :param serial: the smallest, median and largest `s`.
    :param price: of a vCPU for an hour.
    :param vcpus_per_core: 2 where a vCPU is half a core, 1 where it is a whole one.
    """
    rows = []
    for cores in SIZED_CORES:
        high, middle, low = (predict(one, cores, s) for s in serial)
        hours = 1e6 / middle / 3600
        rows.append(Size(cores, low, middle, high, hours * cores * vcpus_per_core * price))
    return rows


def conclude(
    rounds: Mapping[str, Sequence[float]], price: float, vcpus_per_core: float
) -> dict[str, Any] | None:
    """Fit the model to one and two cores, check it, and predict.

    :param rounds: texts a second by point.
    :return: `serial` by way of using cores, `check`, `sizing` and the assumptions; None where one
        core was all there was.
    """
    if "2 processes" not in rounds:
        return None
    serial = {
        name: spread([contention(a, b) for a, b in zip(rounds["1 core"], found, strict=True)])
        for name, found in rounds.items()
        if name in ("2 cores, threads", "2 cores, streams", "2 processes")
    }
    one = spread(rounds["1 core"])["median"]
    check = {}
    # What two cores do is foretold from one core, with the s of the other way of using them.
    for name, source in (
        ("2 cores, streams", "2 processes"),
        ("2 cores, threads", "2 cores, streams"),
    ):
        measured = spread(rounds[name])["median"]
        predicted = round(predict(one, 2, serial[source]["median"]), 1)
        check[name] = {
            "predicted": predicted,
            "linear": round(2 * one, 1),
            "measured": measured,
            "from": source,
            "error": round(predicted / measured - 1, 4),
            "linear_error": round(round(2 * one, 1) / measured - 1, 4),
        }
    best = min(serial, key=lambda name: serial[name]["median"])
    bounds = (serial[best]["min"], serial[best]["median"], serial[best]["max"])
    return {
        "serial": serial,
        "check": check,
        "way": best,
        "one_core": one,
        "price_per_vcpu_hour": price,
        "vcpus_per_core": vcpus_per_core,
        "sizing": [
            {key: round(value, 4) for key, value in asdict(size).items()}
            for size in sizing(one, bounds, price, vcpus_per_core)
        ],
    }


def scaling(
    *,
    data: Path,
    model: str = DEFAULT_MODEL,
    output: Path = RESULTS / "scaling.json",
    rounds: Count = 5,
    seconds: float = 1.5,
    texts: Count = 1024,
    budget: float = 8.0,
    price: float = 0.04,
    vcpus_per_core: float = 2.0,
) -> None:
    """Measure all points in turns, and write the figures.

    :param texts: of a large call.
    :param price: of a vCPU for an hour, an assumption.
    :param vcpus_per_core: 2 where a vCPU is half a core, 1 where it is a whole one.
    """
    before = cpu_jiffies()
    cores = sorted(os.sched_getaffinity(0))  # now: libraries change it
    pool = shuffled(PreparedData.open(data).split(SPLIT).texts)
    bundle = Bundle.load(model)
    plan = points(cores, token_lengths(bundle, pool), min(texts, len(pool)))
    found: dict[str, list[float]] = {point.name: [] for point in plan}
    for _ in rounds_within(60 * budget, rounds):
        for point in plan:
            found[point.name].append(round(measure(point, pool, model, seconds), 2))
    seconds_a_text = {name: [1 / rate for rate in rates] for name, rates in found.items()}
    record(
        output,
        "openvino tokenizers numpy",
        model=bundle.manifest.name,
        split=SPLIT,
        seed=SEED,
        noise=judge_noise(seconds_a_text, before, cpu_jiffies()),
        points=[
            {
                **{key: getattr(point, key) for key in ("name", "plot", "x", "line")},
                "cores": len(point.cores),
                "options": dict(point.options),
                "texts": len(point.texts),
                "texts_per_second": spread(found[point.name]),
                "rounds": found[point.name],
            }
            for point in plan
        ],
        sizing=conclude(found, price, vcpus_per_core),
    )


if __name__ == "__main__":
    sys.exit(command("benchmarks.scaling", scaling))
