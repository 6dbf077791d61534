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
from typing import TYPE_CHECKING, Any

import numpy as np

from ov_emotions.errors import QuantizationError
from ov_emotions.system import resident_mb

if TYPE_CHECKING:
    from ov_emotions.classifier import EmotionClassifier

Classify = Callable[[list[str]], Any]

NOISE_LIMIT = 0.25
"""A round-to-round spread of the median latency above this share of it tells candidates apart no
more: what INT8 gains over float on single texts is about as large."""

STEAL_LIMIT = 0.05
_STAT = Path("/proc/stat")
_STEAL_FIELD = 7


def measure(classify: Classify, singles: Sequence[str], offline: list[str]) -> dict[str, float]:
    """Take one round's figures of a candidate that is warm.

    :param singles: texts that are classified one by one.
    :param offline: texts that are classified in one call.
    :return: `p50_ms`, `p90_ms`, `p99_ms` and `texts_per_second`.
    """
    times = []
    for text in singles:
        started = time.perf_counter()
        classify([text])
        times.append((time.perf_counter() - started) * 1e3)
    figures = {f"p{p}_ms": float(np.percentile(times, p)) for p in (50, 90, 99)}
    started = time.perf_counter()
    classify(offline)
    return figures | {"texts_per_second": len(offline) / (time.perf_counter() - started)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Summarise a figure's rounds: `median`, `min` and `max`."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def cpu_jiffies() -> tuple[int, int]:
    """Read how long the CPUs worked, and how long others held them, since the machine started.

    In ticks; zeros where the system does not tell.
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
    :param before: what `cpu_jiffies` said before the rounds; `after`: after them.
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
    """

    folder: str
    runtime: str
    precision: str
    threads: int
    singles: Sequence[str]
    offline: Sequence[str]


def run_probe(order: Order) -> dict[str, float]:
    """Measure a candidate in a fresh process.

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


def open_candidate(
    folder: Path, runtime: str, precision: str, threads: int | None = None
) -> EmotionClassifier:
    """Load a candidate's bundle, or its checkpoint into torch."""
    if runtime == "openvino":
        from ov_emotions.classifier import EmotionClassifier

        return EmotionClassifier(folder, precision=precision, threads=threads)
    import torch

    from ov_emotions.runtime.torch import CheckpointClassifier

    if threads is not None:
        torch.set_num_threads(threads)
    return CheckpointClassifier(folder, runtime.removeprefix("torch-"), precision)  # type: ignore[arg-type]


def probe(order: Order) -> dict[str, float]:
    """Measure a candidate in this process; see `run_probe`."""
    started = time.perf_counter()
    classifier = open_candidate(Path(order.folder), order.runtime, order.precision, order.threads)
    classify = classifier.predict_proba
    loaded = time.perf_counter()
    classify([order.singles[0]])
    first = time.perf_counter()
    classifier.warm_up()
    offline = list(order.offline)
    # Every shape once: the first call of a shape prepares its kernels.
    measure(classify, order.singles, offline)
    return {
        "load_s": loaded - started,
        "first_inference_ms": (first - loaded) * 1e3,
        **measure(classify, order.singles, offline),
        "rss_mb": resident_mb(),
    }


def main() -> None:
    """Read an order on standard input, print the figures as a line of JSON."""
    order = Order(**json.load(sys.stdin))
    sys.stdout.write(json.dumps(probe(order)) + "\n")


if __name__ == "__main__":
    main()
