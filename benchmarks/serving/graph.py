"""The served text graph beside `EmotionClassifier`, in OpenVINO itself, which is what servers run.

    python -m benchmarks.serving.graph speed --data prepared [--threads N]
    python -m benchmarks.serving.graph memory [--model NAME] [--streams 1 2] [--batch 256]

`speed` asks one text at a time, in turns of 50 texts: the graph that `ovms build` publishes,
compiled as the rendered config.json says; the same graph without its copies of few widths; the
library; and the model of Triton's Python backend, called in this process. Then many single texts at
once, by streams. `memory` sends the largest requests of the longest texts to so many streams.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from benchmarks.common import RESULTS, SPLIT, command, record, shuffled
from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.cli.output import print_json
from ov_emotions.data.dataset import PreparedData
from ov_emotions.quantization.timing import spread
from ov_emotions.schema import DEFAULT_MODEL, Count
from ov_emotions.serving.config_rules import as_text
from ov_emotions.serving.profile import ServingProfile
from ov_emotions.serving.settings import TextModelConfig, TritonConfig
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.serving.text_nodes import string_core
from ov_emotions.serving.triton_model import _TextModel as TritonTextModel
from ov_emotions.system import available_cores, peak_mb, resident_mb

_TURN = 50
_WARM_SECONDS = 3.0


def _compile(bundle: Bundle, profile: ServingProfile, *, few_widths: bool | None = None) -> Any:
    model = build_text_model(bundle, TextModelConfig(few_widths=few_widths))
    options = {key: as_text(value) for key, value in profile.plugin_config.items()}
    with tempfile.TemporaryDirectory() as folder:  # as a server reads it, from the disk
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        return string_core().compile_model(path, "CPU", options)


def speed(
    *,
    data: Path,
    model: str = DEFAULT_MODEL,
    texts: Count = 1000,
    rounds: Count = 5,
    threads: Count | None = None,
    output: Path = RESULTS / "serving-graph.json",
) -> None:
    """Ask one text at a time, in turns; then many single texts at once, by streams."""
    bundle, threads = Bundle.load(model), threads or available_cores()
    chosen = shuffled(PreparedData.open(data).split(SPLIT).texts, 0, texts)
    latency = ServingProfile("latency", threads)
    graph = _compile(bundle, latency).create_infer_request()
    plain = _compile(bundle, latency, few_widths=False).create_infer_request()
    classifier = EmotionClassifier(bundle, threads=threads)
    triton = TritonTextModel(bundle, TritonConfig(threads=threads), _Requests())
    ways: dict[str, Callable[[str], Any]] = {
        "graph": lambda text: graph.infer({"text": [text]}),
        "graph without widths": lambda text: plain.infer({"text": [text]}),
        "EmotionClassifier": classifier,
        "Triton's Python model": lambda text: triton.answer(text.encode()),
    }
    for ask in ways.values():  # the library makes its models of few widths meanwhile
        end = time.perf_counter() + _WARM_SECONDS
        while time.perf_counter() < end:
            for text in chosen[:100]:
                ask(text)
    seconds, busy = ({name: np.zeros((rounds, len(chosen))) for name in ways} for _ in range(2))
    for turn in range(rounds):
        for start in range(0, len(chosen), _TURN):
            for name, ask in ways.items():
                for i, text in enumerate(chosen[start : start + _TURN], start):
                    before, used = time.perf_counter(), time.process_time()
                    ask(text)
                    seconds[name][turn, i] = time.perf_counter() - before
                    busy[name][turn, i] = time.process_time() - used
    library = np.median(seconds["EmotionClassifier"], axis=1)
    answer = record(
        output,
        "openvino openvino-tokenizers",
        model=bundle.manifest.name,
        threads=threads,
        plugin_config=dict(latency.plugin_config),
        texts=len(chosen),
        rounds=rounds,
        one_text={
            name: {
                "p50_ms": _ms(np.median(found)),
                "cpu_ms": _ms(np.median(busy[name])),
                "p95_ms": _ms(np.percentile(found, 95)),
                "of_the_library": _ends((np.median(found, axis=1) / library).tolist()),
            }
            for name, found in seconds.items()
        },
        many_single_texts=_many(bundle, chosen, threads, rounds),
    )
    print_json(answer)


def _ms(seconds: Any) -> float:
    return round(1e3 * float(seconds), 3)


def _ends(values: list[float], name: str = "median") -> dict[str, float]:
    found = spread(values)
    return {name: found["median"], "lowest": found["min"], "highest": found["max"]}


def _many(bundle: Bundle, texts: list[str], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Answer many single texts at once, by the number of streams, in turns."""
    numbers = sorted({1, max(1, threads // 2), threads})
    queues = {n: _queue(bundle, threads, n)[0] for n in numbers}
    rates: dict[int, list[float]] = {n: [] for n in numbers}
    for turn in range(rounds + 1):
        for n, queue in queues.items():
            before = time.perf_counter()
            for text in texts:
                queue.start_async({"text": [text]})
            queue.wait_all()
            if turn:  # the first is to warm up
                rates[n].append(round(len(texts) / (time.perf_counter() - before), 1))
    return [{"streams": n, **_ends(found, "texts_a_second")} for n, found in rates.items()]


def _queue(bundle: Bundle, threads: int, streams: int) -> tuple[Any, int]:
    """Give a queue of requests to the graph, and how many it takes at a time."""
    profile = ServingProfile("throughput", threads, tuned_streams=streams)
    requests = profile.infer_requests
    return ov.AsyncInferQueue(_compile(bundle, profile), requests), requests


def memory(
    *,
    model: str = DEFAULT_MODEL,
    streams: tuple[int, ...] = (1, 2),
    batch: Count = 256,
    output: Path | None = None,
) -> None:
    """Send the largest requests of the longest texts to so many streams, each in a process."""
    told = []
    for number in streams:
        words = ["one", "--model", model, "--batch", str(batch), "--streams", str(number)]
        words = [sys.executable, "-m", "benchmarks.serving.graph", *words]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        print(done.stdout, end="", flush=True)
        told.append(json.loads(done.stdout))
    record(output, "openvino", model=model, memory=told)


def one(*, model: str, batch: int, streams: int) -> None:
    """Measure the memory of this process."""
    bundle, before = Bundle.load(model), round(resident_mb())
    queue, requests = _queue(bundle, streams, streams)
    loaded = round(resident_mb())
    longest = ["слово " * bundle.manifest.max_length] * batch
    for _ in range(requests + 1):
        queue.start_async({"text": longest})
    queue.wait_all()
    seen = {"streams": streams, "batch": batch, "before_mb": before, "loaded_mb": loaded}
    print(json.dumps(seen | {"peak_mb": round(peak_mb())}))


class _Requests:
    """Stands for Triton: a request is the bytes of its one text."""

    def get_input_tensor_by_name(self, request: bytes, _name: str) -> _Requests:
        found = _Requests()
        found.text = request
        return found

    def as_numpy(self) -> Any:
        return np.array([self.text], dtype=np.object_)


if __name__ == "__main__":
    sys.exit(command("benchmarks.serving.graph", speed, memory, one))
