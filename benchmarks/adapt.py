"""What some labelled texts of a set bring to a model: `ov-emotions adapt`, beside fine-tuning.

    python -m benchmarks.adapt --data prepared --output benchmarks/results/adapt.json \
        --model emotions-ru-tiny --model emotions-ru-small --model runs/forum/bundle=runs/forum/best

From the train rows of CEDR and of BRIGHTER, 50, 200 and 1,000 are drawn by several seeds. The model
is adapted to them as the command does, and scored on CEDR's test split and on the part of BRIGHTER
that `data prepare` holds out, beside the model as it is. Labels that a set does not annotate are
unknown. Where a checkpoint is named beside a bundle, all of its weights are trained on four fifths
of the same rows as well; the others choose thresholds and the epoch.

The shipped models learned from both train sets, so that these rows are not new to them, as a user's
own would be: cross-validation finds the model as it is better than it is, and there is less to
gain. A model of GoEmotions' translation alone stands where a user's does:

    ov-emotions train --base ../shared/models/rubert-tiny2 --data prepared --output runs/forum \
        --origin-weight cedr=0 --origin-weight brighter_rus=0 --origin-weight ru_izard=0 \
        --origin-weight support_desk=0 --epochs 2 --learning-rate 3e-4
    ov-emotions export runs/forum/best runs/forum/bundle --data prepared

`python -m benchmarks.adapt --write` puts the committed figures into benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import collections
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, ROOT, load, rendered, renew
from ov_emotions.adaptation import Head, choose
from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import LabelledTexts, PreparedData, write_prepared
from ov_emotions.data.prepare import stratified_parts
from ov_emotions.last_layer import Vectors, read_vectors
from ov_emotions.metrics import score
from ov_emotions.schema import write_json
from ov_emotions.system import environment, read_machine
from ov_emotions.thresholds import Metric
from ov_emotions.training.checkpoint import read_head

SETS = {"cedr": "test_cedr", "brighter_rus": "test_brighter"}
ROWS = (50, 200, 1000)
OUTPUT = RESULTS / "adapt.json"
PAGE = ROOT / "benchmarks" / "README.md"
SHOWN = {"cedr": "CEDR", "brighter_rus": "BRIGHTER"}
NAMES = {"runs/forum/bundle": "rubert-tiny2 that knows GoEmotions' translation alone"}
SEED = 20261130
EPOCHS = 8


def measure(
    model: str,
    checkpoint: str | None,
    data: PreparedData,
    draws: int,
    sizes: tuple[int, ...],
    metric: Metric,
) -> list[dict[str, Any]]:
    """Draw the curves of one model.

    :param model: a bundle.
    :param checkpoint: what it was made of, if that is to be fine-tuned too.
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
            entry |= _summary(entry["draws"])
            if checkpoint is not None:
                entry["fine_tuned"] = _summary(
                    [
                        fine_tune(checkpoint, rows.select(order[:size]), held, SEED + number)
                        for number, order in enumerate(chosen)
                    ]
                )
            found.append(entry)
            _tell(entry)
    return found


def fine_tune(
    checkpoint: str, rows: LabelledTexts, held: LabelledTexts, seed: int
) -> dict[str, float]:
    """Train all weights of a checkpoint on some rows, and score the best epoch.

    :param checkpoint: folder.
    :param rows: a fifth of which chooses thresholds and the epoch.
    :param held: to score on.
    :param seed: of the split and of training.
    :return: macro and weighted F1, and the seconds that training took.
    """
    parts = stratified_parts(
        rows.targets, {"train": 0.8, "validation": 0.2}, np.random.default_rng(seed)
    )
    others = list(range(len(parts["validation"])))
    every = dict.fromkeys(("calibration", "thresholds", "selection"), others)
    with tempfile.TemporaryDirectory() as work:
        folder, run = Path(work, "data"), Path(work, "run")
        splits = {name: rows.select(part) for name, part in parts.items()} | {"test": held}
        write_prepared(
            folder,
            splits,
            {
                "seed": seed,
                "near_threshold": 0.0,
                "sources": (),
                "dropped": {},
                "validation_parts": every,
            },
        )
        begun = time.perf_counter()
        head = read_head(Path(checkpoint))
        shape = ("--pooling", head.pooling, "--hidden-size", head.hidden_size)
        learning = ("--epochs", EPOCHS, "--batch-size", 16, "--learning-rate", 1e-4)
        _command(
            "train", "--base", checkpoint, "--data", folder, "--output", run, *shape, *learning,
            "--patience", EPOCHS, "--seed", seed,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
        answer = _command("evaluate", run / "best", "--data", folder, "--split", "test", "--json")
    scores = json.loads(answer)["results"][0]["splits"]["test"]
    return {
        "macro_f1": round(scores["macro_f1"], 6),
        "weighted_f1": round(scores["weighted_f1"], 6),
        "seconds": round(seconds, 1),
    }


def _command(*arguments: object) -> str:
    command = [sys.executable, "-m", "ov_emotions", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _summary(draws: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"draws": draws}
    for key in ("macro_f1", "weighted_f1"):
        values = np.array([draw[key] for draw in draws])
        found[key] = {"mean": round(values.mean(), 6), "spread": round(values.std(), 6)}
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
    macro, tuned = entry["macro_f1"], entry.get("fine_tuned")
    told = f"; fine-tuned {tuned['macro_f1']['mean']:.3f}" if tuned else ""
    print(
        f"{entry['model']} {entry['set']} {entry['rows']}: macro "
        f"{entry['as_it_is']['macro_f1']:.3f} -> {macro['mean']:.3f} ± {macro['spread']:.3f}, "
        + ", ".join(f"{way} {count}" for way, count in ways.items())
        + told,
        flush=True,
    )


def render() -> str:
    """Render the section of the page from the committed figures."""
    found = load(OUTPUT.name)
    curves = found["curves"]
    most = [one for one in curves if one["rows"] == max(ROWS)]

    def taken(one: dict[str, Any]) -> str:
        ways = collections.Counter(draw["chosen"] for draw in one["draws"])
        return ", ".join(f"{way} {count}" for way, count in ways.items())

    def longest(entries: list[dict[str, Any]]) -> float:
        return max(draw["seconds"] for one in entries for draw in one["draws"])

    return rendered(
        "adapt.md",
        curves=curves,
        names=NAMES,
        sets=SHOWN,
        taken=taken,
        draws=len(curves[0]["draws"]),
        seconds=longest(most),
        tuned=longest([one["fine_tuned"] for one in most if "fine_tuned" in one]),
        machine=found["machine"],
    )


def main() -> None:
    """Measure and write the figures, or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a prepared folder (ekman-7)")
    parser.add_argument("--write", action="store_true", help="write the page, and measure nothing")
    parser.add_argument(
        "--model",
        action="append",
        metavar="BUNDLE[=CHECKPOINT]",
        help="a bundle, and what to fine-tune beside it (default: both shipped ones)",
    )
    parser.add_argument("--draws", type=int, default=5, help="of each size")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--metric", choices=("macro", "weighted"), default="macro")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.write:
        renew(PAGE, render())
        return
    if options.data is None:
        parser.error("--data is needed")
    data = PreparedData.open(options.data)
    curves = []
    for model in options.model or ("emotions-ru-small", "emotions-ru-tiny"):
        bundle, _, checkpoint = model.partition("=")
        sizes = tuple(options.rows)
        curves += measure(bundle, checkpoint or None, data, options.draws, sizes, options.metric)
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
