"""One setting of the classifier measured in a process of its own, on the cores it may use.

python -m benchmarks.probe < order.json
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def probe(order: Mapping[str, Any]) -> dict[str, float]:
    """Measure texts a second.

    :param order: `cores` (to be pinned to), `model`, `options` of the classifier, `texts` and
        `seconds`.
    """
    # Before the libraries that count cores when they are loaded.
    _pin(order["cores"])
    from ov_emotions import EmotionClassifier

    classify = EmotionClassifier(order["model"], threads=len(order["cores"]), **order["options"])
    # Compiling sets the affinity of threads to all cores of the machine.
    _pin(order["cores"])
    texts = order["texts"]
    classify(texts)
    _pin(order["cores"])
    passes, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < order["seconds"] or not passes:
        classify(texts)
        passes += 1
    return {"texts_per_second": passes * len(texts) / taken}


def _pin(cores: Sequence[int]) -> None:
    """Keep every thread of this process on the cores."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe(json.load(sys.stdin))) + "\n")
