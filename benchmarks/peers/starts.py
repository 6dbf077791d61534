"""How soon a fresh process answers, and how memory does over a long stream."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.driver import PeerError
from benchmarks.peers.setup import peer_variables, python_of
from ov_emotions.quantization.timing import spread

EXAMPLE = "ну наконец то доехали я так рада вас всех видеть"
STREAM_SECONDS = 3600.0

_IMPORT = """
import time
started = time.perf_counter()
{statement}
print(1e3 * (time.perf_counter() - started))
"""

_COLD = """
import sys, time
from ov_emotions import EmotionClassifier
EmotionClassifier(sys.argv[1], cache_dir=sys.argv[2])(sys.argv[3])
print(time.monotonic())
"""

_STREAM = """
import json, sys
from itertools import islice
from pathlib import Path
from ov_emotions import EmotionClassifier
from ov_emotions.system import resident_mb
model, file, count, step = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
known = json.loads(Path(file).read_text(encoding="utf-8"))

def texts():
    turn = 0
    while True:
        for text in known:
            words = text.split()
            cut = turn % max(len(words), 1)
            yield " ".join(words[cut:] + words[:cut])
        turn += 1

with EmotionClassifier(model) as classifier:
    for done, _ in enumerate(classifier.stream(islice(texts(), count)), 1):
        if done % step == 0:
            print(round(resident_mb(), 1), flush=True)
"""
"""A turn over the texts rotates their words by one more: no cache of repeated texts can help."""


def _python(work: Path, code: str, *arguments: str, limit: float = 120.0) -> list[str]:
    command = [str(python_of(work, "ours")), "-c", code, *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=peer_variables(work),
        timeout=limit,
        cwd=work,
    )
    if done.returncode:
        raise PeerError((done.stderr.strip().splitlines() or ["no word"])[-1])
    return done.stdout.split()


def measure_starts(work: Path, model: str, times: int) -> dict[str, dict[str, float]]:
    """Start the library again and again; once more before, to fill the cache of compiled models.

    :return: `cold_start_s`, from before the process is made to its first prediction, and
        `import_package_ms` and `import_classifier_ms`, each as median, min and max.
    """
    cache = str(work / "cache")
    imports = {
        "import_package_ms": "import ov_emotions",
        "import_classifier_ms": "from ov_emotions import EmotionClassifier",
    }
    found: dict[str, list[float]] = {name: [] for name in ("cold_start_s", *imports)}
    _python(work, _COLD, model, cache, EXAMPLE)
    for _ in range(times):
        started = time.monotonic()  # one clock for all processes of a machine
        (finished,) = _python(work, _COLD, model, cache, EXAMPLE)
        found["cold_start_s"].append(float(finished) - started)
        for name, statement in imports.items():
            (milliseconds,) = _python(work, _IMPORT.format(statement=statement))
            found[name].append(float(milliseconds))
    return {name: spread(values) for name, values in found.items()}


def measure_stream(work: Path, model: str, texts: Sequence[str], count: int) -> dict[str, Any]:
    """Classify a long stream in a fresh process and read its memory at every 5 % of it.

    :param texts: that the stream goes over, their words rotated by one more at every turn.
    :param count: texts of the stream.
    """
    file = work / "stream.json"
    file.write_text(json.dumps(list(texts)), encoding="utf-8")
    step = max(1, count // 20)
    started = time.monotonic()
    said = _python(work, _STREAM, model, str(file), str(count), str(step), limit=STREAM_SECONDS)
    return {
        "model": model,
        "texts": count,
        "step": step,
        "resident_mb": [float(value) for value in said],
        "seconds": round(time.monotonic() - started),
    }
