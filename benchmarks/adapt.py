"""What some labelled texts of a set bring to a shipped model: `ov-emotions adapt`, measured.

    python -m benchmarks.adapt --data prepared --output benchmarks/results/adapt.json \
        --model emotions-ru-tiny --model emotions-ru-small

From the train rows of CEDR and of BRIGHTER, 50, 200 and 1,000 are drawn by several seeds. The model
is adapted to them as the command does, and scored on CEDR's test split and on the part of BRIGHTER
that `data prepare` holds out, beside the model as it is. Labels that a set does not annotate are
unknown.

The shipped models learned from both train sets, so that these rows are not new to them, as a user's
own would be: cross-validation finds the model as it is better than it is, and there is less to
gain.
"""

from __future__ import annotations

import argparse
import collections
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions.adaptation import Head, choose
from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import LabelledTexts, PreparedData
from ov_emotions.last_layer import Vectors, read_vectors
from ov_emotions.metrics import score
from ov_emotions.schema import write_json
from ov_emotions.system import environment, read_machine
from ov_emotions.thresholds import Metric

SETS = {"cedr": "test_cedr", "brighter_rus": "test_brighter"}
ROWS = (50, 200, 1000)
SEED = 20261130


def measure(
    model: str, data: PreparedData, draws: int, sizes: tuple[int, ...], metric: Metric
) -> list[dict[str, Any]]:
    """Draw the curves of one model.

    :param model: a bundle.
    :param data: the prepared folder.
    :param draws: of each size.
    :param sizes: rows.
    :param metric: that decides what is taken.
    :return: an entry for each set and size.
    """
    bundle = Bundle.load(model)
    train = data.split("train")
    found = []
    for name, split in SETS.items():
        rows = train.select(np.flatnonzero(np.array(train.origins) == name))
        chosen = [
            np.random.default_rng((SEED, i)).permutation(len(rows))[: max(sizes)]
            for i in range(draws)
        ]
        needed = np.unique(np.concatenate(chosen))
        layer, pool, there = read_vectors(bundle, rows.select(needed).texts)
        places = {int(row): i for i, row in enumerate(needed[there])}
        held, test = _read(bundle, data.split(split))
        base = Head.of(bundle.manifest, layer, bundle.manifest.labels)
        before = _score(base, test, held)
        for size in sizes:
            entry: dict[str, Any] = {"model": model, "set": name, "rows": size, "test": split}
            entry["as_it_is"], entry["draws"] = before, []
            for number, order in enumerate(chosen):
                drawn = [row for row in order[:size].tolist() if row in places]
                begun = time.perf_counter()
                fitted, result = choose(
                    base,
                    pool.select(np.array([places[row] for row in drawn])),
                    _learnable(rows.targets[drawn]),
                    metric=metric,
                    seed=SEED + number,
                )
                entry["draws"].append(
                    {
                        "chosen": result.chosen,
                        "strength": result.strength,
                        "expected_gain": (result.score(result.chosen).gain or {}).get(
                            f"{metric}_f1"
                        ),
                        "seconds": round(time.perf_counter() - begun, 2),
                        **_score(fitted, test, held),
                    }
                )
            for key in ("macro_f1", "weighted_f1"):
                values = np.array([draw[key] for draw in entry["draws"]])
                entry[key] = {"mean": round(values.mean(), 6), "spread": round(values.std(), 6)}
            found.append(entry)
            _tell(entry)
    return found


def _learnable(targets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Leave out what all rows say alike, as the command does."""
    both = (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    return np.where(both, targets, -1).astype(np.int8)


def _read(bundle: Bundle, rows: LabelledTexts) -> tuple[LabelledTexts, Vectors]:
    _, vectors, there = read_vectors(bundle, rows.texts)
    return rows.select(there), vectors


def _score(head: Head, test: Vectors, held: LabelledTexts) -> dict[str, float]:
    scores = score(held.targets, head.decide(head.logits(test)), held.label_set.labels)
    return {
        "macro_f1": round(scores.macro_f1, 6),
        "weighted_f1": round(scores.weighted_f1, 6),
    }


def _tell(entry: dict[str, Any]) -> None:
    ways = collections.Counter(draw["chosen"] for draw in entry["draws"])
    macro = entry["macro_f1"]
    print(
        f"{entry['model']} {entry['set']} {entry['rows']}: macro "
        f"{entry['as_it_is']['macro_f1']:.3f} -> {macro['mean']:.3f} ± {macro['spread']:.3f}, "
        + ", ".join(f"{way} {count}" for way, count in ways.items()),
        flush=True,
    )


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a prepared folder (ekman-7)")
    parser.add_argument("--model", action="append", help="a bundle (default: both shipped ones)")
    parser.add_argument("--draws", type=int, default=5, help="of each size")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--metric", choices=("macro", "weighted"), default="macro")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    data = PreparedData.open(options.data)
    curves = []
    for model in options.model or ("emotions-ru-small", "emotions-ru-tiny"):
        curves += measure(model, data, options.draws, tuple(options.rows), options.metric)
    if options.output is not None:
        facts = {
            "command": shlex.join(["python", "-m", "benchmarks.adapt", *sys.argv[1:]]),
            "seed": SEED,
            "metric": options.metric,
            "data": {"seed": data.manifest.seed},
            "machine": read_machine(),
            "environment": environment("openvino", "numpy"),
            "curves": curves,
        }
        write_json(options.output, facts)


if __name__ == "__main__":
    main()
