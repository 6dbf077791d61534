"""Measure every candidate, kept or lost, and put the figures into benchmarks/NOTES.md.

    python -m benchmarks.candidates --texts texts.txt       # measure, write, render; some minutes
    python -m benchmarks.candidates --render                # only render the committed figures

Before and after take turns in every round; each ratio is of one round, so that a drift of the
machine's speed hits both alike. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.candidates.trials import Trial, trials
from benchmarks.readme_table import insert
from ov_emotions.bundle import SHIPPED
from ov_emotions.files import write_json, write_text
from ov_emotions.system import environment
from ov_emotions.tuning.search import sample_texts

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "speed-candidates.json"
NOTES = ROOT / "NOTES.md"
SEED = 20261125


def compare(trial: Trial, rounds: int) -> dict[str, Any]:
    """Let before and after take turns; how many times as fast after is, by round."""
    trial.before(), trial.after()
    ratios, seconds = [], []
    for number in range(rounds):
        order: list[Callable[[], object]] = [trial.before, trial.after]
        taken = {run: _seconds(run) for run in (order if number % 2 else order[::-1])}
        ratios.append(taken[trial.before] / taken[trial.after])
        seconds.append(taken[trial.after])
    return {
        "candidate": trial.name,
        "kept": trial.kept,
        "predicted": trial.predicted,
        "times_as_fast": {
            "median": round(statistics.median(ratios), 4),
            "min": round(min(ratios), 4),
            "max": round(max(ratios), 4),
        },
        "after_s": round(statistics.median(seconds), 6),
    }


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def render(answer: dict[str, Any]) -> str:
    """Render the figures as a Markdown table a model."""
    machine, versions = answer["machine"], answer["versions"]
    lines = [
        f"{answer['texts']:,} texts ({answer['source']}), {answer['cores']} core(s) of "
        f"{machine['cpu']}, OpenVINO {versions['openvino']}, median of {answer['rounds']} rounds "
        "(smallest to largest)."
    ]
    for model, found in answer["results"].items():
        lines += ["", f"| {model} | times as fast | predicted | |", "| --- | --- | --- | --- |"]
        for row in found:
            ratio = row["times_as_fast"]
            lines.append(
                f"| {row['candidate']} | {ratio['median']:.3f} ({ratio['min']:.3f}–"
                f"{ratio['max']:.3f}) | {row['predicted']} | {'kept' if row['kept'] else 'not'} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, write, render."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="a text a line (default: made-up ones)")
    parser.add_argument("--count", type=int, default=1000, help="texts drawn (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cores", type=int, help="threads to use (default: all)")
    parser.add_argument("--model", action="append", choices=SHIPPED)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true")
    args = parser.parse_args()
    if not args.render:
        texts = sample_texts(args.count, SEED)
        if args.texts:
            lines = args.texts.read_text(encoding="utf-8").splitlines()
            texts = random.Random(SEED).sample(lines, min(args.count, len(lines)))
        results: dict[str, Any] = {}
        for model in args.model or SHIPPED:
            results[model] = []
            for trial in trials(model, texts, args.cores):
                results[model].append(compare(trial, args.rounds))
                print(f"{model}: {json.dumps(results[model][-1])}", file=sys.stderr)
        facts = environment("openvino", "tokenizers", "numpy")
        write_json(
            args.output,
            {
                "command": shlex.join(["python", "-m", "benchmarks.candidates", *sys.argv[1:]]),
                "seed": SEED,
                "texts": len(texts),
                "source": args.texts.parent.name if args.texts else "made up",
                "rounds": args.rounds,
                "cores": args.cores or facts["machine"]["cores"],
                **facts,
                "results": results,
            },
        )
    answer = json.loads(args.output.read_text(encoding="utf-8"))
    if args.output == RESULTS:
        write_text(NOTES, insert(NOTES.read_text(encoding="utf-8"), render(answer), "candidates"))
    else:
        print(render(answer))


if __name__ == "__main__":
    main()
