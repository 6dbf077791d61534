"""A peer in a process of its own: holds a model loaded, and works when it is asked to.

    PYTHON worker.py

A request is a line of JSON on standard input, the answer a line on standard output; whatever a
library prints goes to standard error. It runs in the peer's own environment, so that it imports
nothing of this project.

| request | answer |
| --- | --- |
| `load`: `module`, `options` | `ways` (their names), `seconds`, `versions` |
| `measure`: `way`, `texts`, `seconds` | `seconds` and `texts` of whole passes, `rss_mb` |
| `singles`: `way`, `texts` | `milliseconds`, one a text |
| `labels`: `way`, `texts` | `labels`, a list a text |
| `report` | whatever the module has to say beside its ways |

`error` stands in an answer instead where something went wrong.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

WARM_TEXTS = 8
BATCH = 64
PACKAGES = (
    "infinity-emb",
    "nncf",
    "numpy",
    "onnxruntime",
    "openvino",
    "optimum",
    "optimum-intel",
    "ov-emotions",
    "tokenizers",
    "torch",
    "transformers",
)


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Way:
    """One way of classifying texts.

    :param run: what is timed; takes what `prepare` gives.
    :param prepare: texts to what `run` takes; not timed.
    :param finish: what `run` gives to a list of labels a text; not timed.
    """

    run: Callable[[Any], Any]
    prepare: Callable[[list[str]], Any] = _itself
    finish: Callable[[Any], list[list[str]]] = _itself


@dataclass(frozen=True)
class Loaded:
    """What a module builds.

    :param ways: by name.
    :param report: what `report` is answered with.
    :param close: called at the end.
    """

    ways: Mapping[str, Way]
    report: Callable[[], dict[str, Any]] = dict
    close: Callable[[], None] = lambda: None


def decide(probabilities: Any, options: Mapping[str, Any]) -> list[list[str]]:
    """Turn probabilities, shape (texts, labels), into labels, as a caller of the peer has to."""
    labels = options["labels"]
    present = probabilities >= np.array(options["thresholds"], dtype=np.float32)
    return [[labels[i] for i in np.flatnonzero(row)] for row in present]


def sigmoid(logits: Any) -> Any:
    """Turn logits, numpy, into probabilities."""
    return 1.0 / (1.0 + np.exp(-logits))


def batched(
    probabilities: Callable[[list[str]], Any],
    options: Mapping[str, Any],
    *,
    by_length: bool = False,
) -> Way:
    """Make a way out of batches as a careful user of a peer makes them: of 64 texts.

    :param probabilities: of a batch, numpy, shape (batch, labels).
    :param by_length: sort by characters first, the longest first, and restore the order.
    """

    def run(texts: list[str]) -> list[list[str]]:
        order = np.arange(len(texts))
        if by_length:
            order = np.argsort([-len(text) for text in texts], kind="stable")
        scored = np.concatenate(
            [
                probabilities([texts[i] for i in order[start : start + BATCH]])
                for start in range(0, len(texts), BATCH)
            ]
        )
        answer = np.empty_like(scored)
        answer[order] = scored
        return decide(answer, options)

    return Way(run)


def resident_mb() -> float:
    """Return the resident memory of this process and those it started, in 10^6 bytes."""
    kilobytes, left = 0, [os.getpid()]
    while left:
        folder = Path("/proc") / str(left.pop())
        try:
            status = (folder / "status").read_text(encoding="utf-8")
            children = [path.read_text() for path in folder.glob("task/*/children")]
        except OSError:  # it ended meanwhile
            continue
        left += [int(number) for line in children for number in line.split()]
        kilobytes += sum(
            int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")
        )
    return kilobytes * 1024 / 1e6


class Worker:
    """Answers requests; keeps what was loaded between them, which is to be closed."""

    def __init__(self) -> None:
        self.loaded = Loaded({})

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked, as the table of this module says; `error` where something is raised."""
        try:
            handler = getattr(self, f"_{request['do']}")
            answer: dict[str, Any] = handler(request)
        except Exception as error:  # a peer's failure is a result
            traceback.print_exc()
            said = str(error).strip().splitlines() or [""]
            return {"error": f"{type(error).__name__}: {said[0]}"[:500]}
        return answer

    def _load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        module = importlib.import_module(request["module"])
        self.loaded = module.build(request["options"])
        found = {d.metadata["Name"].lower(): d.version for d in distributions()}
        return {
            "ways": list(self.loaded.ways),
            "seconds": time.perf_counter() - started,
            "versions": {name: found[name] for name in PACKAGES if name in found},
        }

    def _measure(self, request: Mapping[str, Any]) -> dict[str, Any]:
        way, texts = self.loaded.ways[request["way"]], request["texts"]
        way.run(way.prepare(texts[:WARM_TEXTS]))
        prepared = way.prepare(texts)
        passes, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < request["seconds"] or not passes:
            way.run(prepared)
            passes += 1
        return {"seconds": taken, "texts": passes * len(texts), "rss_mb": resident_mb()}

    def _singles(self, request: Mapping[str, Any]) -> dict[str, Any]:
        way, texts = self.loaded.ways[request["way"]], request["texts"]
        ready = [way.prepare([text]) for text in texts]
        for prepared in ready[:WARM_TEXTS]:
            way.run(prepared)
        times = []
        for prepared in ready:
            started = time.perf_counter()
            way.run(prepared)
            times.append(1e3 * (time.perf_counter() - started))
        return {"milliseconds": times}

    def _labels(self, request: Mapping[str, Any]) -> dict[str, Any]:
        way = self.loaded.ways[request["way"]]
        return {"labels": way.finish(way.run(way.prepare(request["texts"])))}

    def _report(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return self.loaded.report()


def main() -> None:
    """Serve on standard input and output, which libraries are kept from printing to."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # The modules import this one by name; they shall find it as it runs.
    sys.modules["worker"] = sys.modules["__main__"]
    worker = Worker()
    with answers:
        try:
            for line in sys.stdin:
                answers.write(json.dumps(worker.answer(json.loads(line))) + "\n")
                answers.flush()
        finally:
            worker.loaded.close()


if __name__ == "__main__":
    main()
