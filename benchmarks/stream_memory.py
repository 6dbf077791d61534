"""Whether `stream` holds no more memory after a million texts than after the first thousands.

    python benchmarks/stream_memory.py --texts texts.txt --count 1000000 \
        --output benchmarks/results/stream-memory.json

The texts are repeated until the count is reached. Resident memory is sampled at every fiftieth of
the way; growth is the largest sample of the second half over the median of the first tenth's.
Exit code 1 if it is above the limit.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from ov_emotions import EmotionClassifier
from ov_emotions.files import write_json
from ov_emotions.machine import environment
from ov_emotions.memory import resident_mb
from ov_emotions.tuning.sample import sample_texts

LIMIT = 1.05
SAMPLES = 50


def main() -> int:
    """Measure and say whether memory is flat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="a text a line (default: made-up ones)")
    parser.add_argument("--model", default="emotions-ru-tiny")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    texts = args.texts.read_text(encoding="utf-8").splitlines() if args.texts else None
    source = islice(cycle(texts or sample_texts(10_000)), args.count)
    classifier = EmotionClassifier(args.model, threads=args.threads)
    every = max(1, args.count // SAMPLES)
    samples = []
    started = time.perf_counter()
    for done, _ in enumerate(classifier.stream(source), start=1):
        if done % every == 0:
            samples.append(resident_mb())
    seconds = time.perf_counter() - started
    early = sorted(samples[: max(1, len(samples) // 10)])
    growth = max(samples[len(samples) // 2 :]) / early[len(early) // 2]
    answer = {
        "command": shlex.join(["python", *sys.argv]),
        "model": args.model,
        "texts": args.count,
        "seconds": round(seconds, 1),
        "resident_mb": samples,
        "growth": round(growth, 4),
        "limit": LIMIT,
        **environment("openvino", "tokenizers", "numpy"),
    }
    if args.output:
        write_json(args.output, answer)
    print(f"{args.count:,} texts: {samples[0]} to {samples[-1]} MB, growth {growth:.3f}")
    return int(growth > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
