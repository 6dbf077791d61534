"""One candidate measured in a process of its own: start, first answer, memory, speed.

    python -m ov_emotions.quantization.probe < order.json

A process a round keeps the candidates from sharing caches, threads and memory, and holds one model
at a time however many are compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ov_emotions.errors import QuantizationError
from ov_emotions.quantization.timing import Classify, measure
from ov_emotions.system import resident_mb


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
        [sys.executable, "-m", "ov_emotions.quantization.probe"],
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
