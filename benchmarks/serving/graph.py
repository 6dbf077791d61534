"""The served text graph beside `EmotionClassifier`, in OpenVINO itself, which is what servers run.

    python -m benchmarks.serving.graph speed --data prepared [--threads N]
    python -m benchmarks.serving.graph memory [--model NAME] [--streams 1 2] [--batch 256]

`speed` asks one text at a time, in turns of 50 texts: the graph that `ovms build` publishes,
compiled as the rendered config.json says; the same graph without its copies of few widths; the
library; and the model of Triton's Python backend, called in this process. Then many single texts at
once, by streams. `memory` sends the largest requests of the longest texts to so many streams.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from benchmarks.common import RESULTS, SPLIT, add_flags, shuffled
from ov_emotions import EmotionClassifier
from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.cli.frame import positive_int
from ov_emotions.data.dataset import PreparedData
from ov_emotions.files import write_json
from ov_emotions.serving.config_rules import as_text
from ov_emotions.serving.profile import ServingProfile
from ov_emotions.serving.text_model import TextModelConfig, build_text_model
from ov_emotions.serving.text_nodes import string_core
from ov_emotions.serving.triton import TritonConfig
from ov_emotions.serving.triton_model import _TextModel as TritonTextModel
from ov_emotions.system import available_cores, environment, peak_mb, resident_mb

_TURN = 50
_WARM_SECONDS = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.graph", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    speed = verbs.add_parser("speed")
    speed.set_defaults(run=_speed)
    add_flags(
        speed,
        data=(Path, ..., "what `data prepare` wrote"),
        texts=(positive_int, 1000, ""),
        rounds=(positive_int, 5, ""),
        threads=(positive_int, available_cores(), ""),
        output=(Path, RESULTS / "serving-graph.json", ""),
    )
    memory = verbs.add_parser("memory")
    memory.set_defaults(run=_memory)
    memory.add_argument("--streams", type=int, nargs="+", default=[1, 2])
    add_flags(memory, batch=(positive_int, 256, ""), output=(Path, None, ""))
    memory.add_argument("--one", type=int, help=argparse.SUPPRESS)  # in a process of its own
    for verb in (speed, memory):
        verb.add_argument("--model", default=DEFAULT_MODEL)
    args = parser.parse_args(arguments)
    return int(args.run(args))


def _compile(bundle: Bundle, profile: ServingProfile, *, few_widths: bool | None = None) -> Any:
    model = build_text_model(bundle, TextModelConfig(few_widths=few_widths))
    options = {key: as_text(value) for key, value in profile.plugin_config.items()}
    with tempfile.TemporaryDirectory() as folder:  # as a server reads it, from the disk
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        return string_core().compile_model(path, "CPU", options)


def _speed(args: argparse.Namespace) -> int:
    bundle = Bundle.load(args.model)
    texts = shuffled(PreparedData.open(args.data).split(SPLIT).texts, 0, args.texts)
    latency = ServingProfile("latency", args.threads)
    graph = _compile(bundle, latency).create_infer_request()
    plain = _compile(bundle, latency, few_widths=False).create_infer_request()
    classifier = EmotionClassifier(bundle, threads=args.threads)
    triton = TritonTextModel(bundle, TritonConfig(threads=args.threads), _Requests())
    ways: dict[str, Callable[[str], Any]] = {
        "graph": lambda text: graph.infer({"text": [text]}),
        "graph without widths": lambda text: plain.infer({"text": [text]}),
        "EmotionClassifier": classifier,
        "Triton's Python model": lambda text: triton.answer(text.encode()),
    }
    for ask in ways.values():  # the library makes its models of few widths meanwhile
        end = time.perf_counter() + _WARM_SECONDS
        while time.perf_counter() < end:
            for text in texts[:100]:
                ask(text)
    shape = (args.rounds, len(texts))
    seconds = {name: np.zeros(shape) for name in ways}
    busy = {name: np.zeros(shape) for name in ways}
    for turn in range(args.rounds):
        for start in range(0, len(texts), _TURN):
            for name, ask in ways.items():
                for i, text in enumerate(texts[start : start + _TURN], start):
                    before, used = time.perf_counter(), time.process_time()
                    ask(text)
                    seconds[name][turn, i] = time.perf_counter() - before
                    busy[name][turn, i] = time.process_time() - used
    result = {
        "model": bundle.manifest.name,
        "environment": environment("openvino", "openvino-tokenizers"),
        "threads": args.threads,
        "plugin_config": dict(latency.plugin_config),
        "texts": len(texts),
        "rounds": args.rounds,
        "one_text": {
            name: {
                "p50_ms": _ms(np.median(found)),
                "cpu_ms": _ms(np.median(busy[name])),
                "p95_ms": _ms(np.percentile(found, 95)),
                "of_the_library": _ratio(found, seconds["EmotionClassifier"]),
            }
            for name, found in seconds.items()
        },
        "many_single_texts": _many(bundle, texts, args.threads, args.rounds),
    }
    write_json(args.output, result)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    return 0


def _ms(seconds: Any) -> float:
    return round(1e3 * float(seconds), 3)


def _ratio(ours: NDArray[np.float64], library: NDArray[np.float64]) -> dict[str, float]:
    """Compare the medians of each round."""
    ratios = np.median(ours, axis=1) / np.median(library, axis=1)
    told = {"median": np.median(ratios), "lowest": ratios.min(), "highest": ratios.max()}
    return {name: round(float(value), 3) for name, value in told.items()}


def _many(bundle: Bundle, texts: list[str], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Answer many single texts at once, by the number of streams, in turns."""
    numbers = sorted({1, max(1, threads // 2), threads})
    profiles = {n: ServingProfile("throughput", threads, tuned_streams=n) for n in numbers}
    queues = {
        n: ov.AsyncInferQueue(_compile(bundle, profile), profile.infer_requests)
        for n, profile in profiles.items()
    }
    rates: dict[int, list[float]] = {n: [] for n in numbers}
    for turn in range(rounds + 1):
        for n, queue in queues.items():
            before = time.perf_counter()
            for text in texts:
                queue.start_async({"text": [text]})
            queue.wait_all()
            if turn:  # the first is to warm up
                rates[n].append(len(texts) / (time.perf_counter() - before))
    return [
        {
            "streams": n,
            "texts_a_second": round(float(np.median(found)), 1),
            "lowest": round(min(found), 1),
            "highest": round(max(found), 1),
        }
        for n, found in rates.items()
    ]


def _memory(args: argparse.Namespace) -> int:
    if args.one is None:
        told: list[dict[str, int]] = []
        for streams in args.streams:
            command = [sys.executable, "-m", "benchmarks.serving.graph", "memory"]
            command += ["--model", args.model, "--batch", str(args.batch), "--one", str(streams)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            print(done.stdout, end="", flush=True)
            told.append(json.loads(done.stdout))
        if args.output is not None:
            result = {"model": args.model, "environment": environment("openvino"), "memory": told}
            write_json(args.output, result)
        return 0
    bundle = Bundle.load(args.model)
    before = round(resident_mb())
    profile = ServingProfile("throughput", max(args.one, 1), tuned_streams=args.one)
    queue = ov.AsyncInferQueue(_compile(bundle, profile), profile.infer_requests)
    loaded = round(resident_mb())
    longest = ["слово " * bundle.manifest.max_length] * args.batch
    for _ in range(profile.infer_requests + 1):
        queue.start_async({"text": longest})
    queue.wait_all()
    seen = {"streams": args.one, "batch": args.batch, "before_mb": before, "loaded_mb": loaded}
    print(json.dumps(seen | {"peak_mb": round(peak_mb())}))
    return 0


class _Requests:
    """Stands for Triton: a request is the bytes of its one text."""

    def get_input_tensor_by_name(self, request: bytes, _name: str) -> _Requests:
        found = _Requests()
        found.text = request
        return found

    def as_numpy(self) -> Any:
        return np.array([self.text], dtype=np.object_)


if __name__ == "__main__":
    sys.exit(main())
