"""Timing a candidate in a process of its own, and saying how far timings can be believed.

    python -m ov_emotions.quantization.timing < order.json

A process a round keeps the candidates from sharing caches, threads and memory, and holds one model
at a time however many are compared.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions.errors import QuantizationError
from ov_emotions.system import resident_mb

Classify = Callable[[list[str]], Any]

NOISE_LIMIT = 0.25
"""A round-to-round spread of the median latency above this share of it tells candidates apart no
more: what INT8 gains over float on single texts is about as large."""

STEAL_LIMIT = 0.05
_STAT = Path("/proc/stat")
_STEAL_FIELD = 7


def single_latencies(classify: Classify, texts: Sequence[str]) -> list[float]:
    """Time texts one by one.

    :param classify: takes a list of texts.
    :param texts: what is classified.
    :return: milliseconds per text.
    """
    times = []
    for text in texts:
        started = time.perf_counter()
        classify([text])
        times.append((time.perf_counter() - started) * 1e3)
    return times


def throughput(classify: Classify, texts: list[str]) -> float:
    """Classify all texts in one call.

    :param classify: takes a list of texts.
    :param texts: what is classified.
    :return: texts per second.
    """
    started = time.perf_counter()
    classify(texts)
    return len(texts) / (time.perf_counter() - started)


def measure(classify: Classify, singles: Sequence[str], offline: list[str]) -> dict[str, float]:
    """Take one round's figures of a candidate that is warm.

    :param classify: takes a list of texts.
    :param singles: texts that are classified one by one.
    :param offline: texts that are classified in one call.
    :return: `p50_ms`, `p90_ms`, `p99_ms` and `texts_per_second`.
    """
    times = single_latencies(classify, singles)
    figures = {f"p{p}_ms": float(np.percentile(times, p)) for p in (50, 90, 99)}
    return figures | {"texts_per_second": throughput(classify, offline)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Summarise the rounds of a figure.

    :param values: one a round.
    :return: `median`, `min` and `max`.
    """
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def cpu_jiffies() -> tuple[int, int]:
    """Read how long the CPUs worked, and how long others held them, since the machine started.

    :return: all time and stolen time in ticks; zeros where the system does not tell.
    """
    try:
        fields = [int(f) for f in _STAT.read_text(encoding="ascii").splitlines()[0].split()[1:]]
    except (OSError, ValueError, IndexError):
        return 0, 0
    return sum(fields), fields[_STEAL_FIELD] if len(fields) > _STEAL_FIELD else 0


def judge_noise(
    rounds: Mapping[str, Sequence[float]], before: tuple[int, int], after: tuple[int, int]
) -> dict[str, Any]:
    """Say whether the machine was quiet enough to tell candidates apart.

    :param rounds: by candidate the median latency of every round.
    :param before: what `cpu_jiffies` said before the rounds.
    :param after: the same after them.
    :return: `noisy`, `spread` (the middle candidate's distance of first to third quartile over the
        median), its `limit`, `stolen` (share of the CPU that others held) and a `sentence`.
    """
    spreads = []
    for values in rounds.values():
        low, high = np.percentile(values, [25, 75])
        spreads.append(float(high - low) / statistics.median(values))
    typical = statistics.median(spreads) if spreads else 0.0
    ticks = after[0] - before[0]
    stolen = (after[1] - before[1]) / ticks if ticks > 0 else 0.0
    noisy = typical > NOISE_LIMIT or stolen > STEAL_LIMIT
    single = bool(rounds) and all(len(values) == 1 for values in rounds.values())
    sentence = (
        "A single round does not tell how much the machine's speed varied; "
        f"{100 * stolen:.1f} % of the processor was held by others."
        if single and not noisy
        else f"From round to round a candidate's median latency varied by {100 * typical:.0f} % "
        f"(quartile distance), and {100 * stolen:.1f} % of the processor was held by others: "
        + ("too noisy to tell candidates apart." if noisy else "quiet enough to compare.")
    )
    return {
        "noisy": noisy,
        "spread": round(typical, 4),
        "limit": NOISE_LIMIT,
        "stolen": round(stolen, 4),
        "sentence": sentence,
    }


@dataclass(frozen=True)
class Order:
    """What a probe measures.

    :param folder: a bundle, or a checkpoint for torch.
    :param runtime: openvino, torch-cpu or torch-cuda.
    :param precision: inference precision; for torch that of the weights too.
    :param threads: CPU threads.
    :param singles: texts that are classified one by one.
    :param offline: texts that are classified in one call.
    """

    folder: str
    runtime: str
    precision: str
    threads: int
    singles: tuple[str, ...]
    offline: tuple[str, ...]


def run_probe(order: Order) -> dict[str, float]:
    """Measure a candidate in a fresh process.

    :param order: what to measure.
    :return: `load_s`, `first_inference_ms`, `rss_mb`, `p50_ms`, `p90_ms`, `p99_ms` and
        `texts_per_second`.
    :raises QuantizationError: if the process fails, with the last line it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ov_emotions.quantization.timing"],
        input=json.dumps(asdict(order), ensure_ascii=True),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise QuantizationError(f"{order.folder} could not be timed: {said[-1]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _load(order: Order) -> tuple[Classify, Callable[[], None]]:
    """Load a candidate: what classifies, and what compiles the rest that its calls would."""
    if order.runtime == "openvino":
        from ov_emotions.classifier import EmotionClassifier

        classifier = EmotionClassifier(
            order.folder, precision=order.precision, threads=order.threads
        )
        return classifier.predict_proba, classifier.warm_up
    import torch

    from ov_emotions.runtime.torch import CheckpointClassifier

    torch.set_num_threads(order.threads)
    device = order.runtime.removeprefix("torch-")
    checkpoint = CheckpointClassifier(Path(order.folder), device, order.precision)  # type: ignore[arg-type]
    return checkpoint.predict_proba, checkpoint.warm_up


def probe(order: Order) -> dict[str, float]:
    """Measure a candidate in this process.

    :param order: what to measure.
    :return: as `run_probe`.
    """
    started = time.perf_counter()
    classify, warm_up = _load(order)
    loaded = time.perf_counter()
    classify([order.singles[0]])
    first = time.perf_counter()
    singles, offline = list(order.singles), list(order.offline)
    warm_up()
    _warm_up(classify, singles, offline)
    return {
        "load_s": loaded - started,
        "first_inference_ms": (first - loaded) * 1e3,
        **measure(classify, singles, offline),
        "rss_mb": resident_mb(),
    }


def _warm_up(classify: Classify, singles: Sequence[str], offline: list[str]) -> None:
    # Every shape once: the first call of a shape prepares its kernels.
    for text in singles:
        classify([text])
    classify(offline)


def main() -> None:
    """Read an order on standard input, print the figures as a line of JSON."""
    fields = json.load(sys.stdin)
    for name in ("singles", "offline"):
        fields[name] = tuple(fields[name])
    sys.stdout.write(json.dumps(probe(Order(**fields))) + "\n")


if __name__ == "__main__":
    main()
