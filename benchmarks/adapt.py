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

import collections
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, ROOT, command, load, record, rendered, renew
from ov_emotions.adaptation import Head, choose
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.data.dataset import LabelledTexts, PreparedData, write_prepared
from ov_emotions.data.prepare import stratified_parts
from ov_emotions.errors import InputError
from ov_emotions.last_layer import Vectors, read_vectors
from ov_emotions.metrics import score
from ov_emotions.schema import Count
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
METRICS = ("macro_f1", "weighted_f1")


def measure(
    model: str, data: PreparedData, draws: int, sizes: Sequence[int], metric: Metric
) -> list[dict[str, Any]]:
    """Draw the curves of one model: an entry for each set and size.

    :param model: a bundle, and after a `=` the checkpoint that is to be fine-tuned as well.
    :param draws: of each size.
    :param sizes: rows.
    :param metric: that decides what is taken.
    """
    name, _, checkpoint = model.partition("=")
    bundle, train, found = Bundle.load(name), data.split("train"), []
    for origin, split in SETS.items():
        rows = train.select(np.flatnonzero(np.array(train.origins) == origin))
        chosen = [
            np.random.default_rng((SEED, i)).permutation(len(rows))[: max(sizes)]
            for i in range(draws)
        ]
        needed = np.unique(np.concatenate(chosen))
        layer, pool, there = read_vectors(bundle, rows.select(needed).texts)
        places = {int(row): i for i, row in enumerate(needed[there])}
        held = data.split(split)
        _, test, readable = read_vectors(bundle, held.texts)
        held = held.select(readable)
        base = Head.of(bundle.manifest, layer, bundle.manifest.labels)
        for size in sizes:
            taken = []
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
                gain = (result.score(result.chosen).gain or {}).get(f"{metric}_f1")
                facts = {"chosen": result.chosen, "strength": result.strength}
                facts |= {"expected_gain": gain, "seconds": round(time.perf_counter() - begun, 2)}
                taken.append(facts | _score(fitted, test, held))
            entry = {"model": name, "set": origin, "rows": size, "test": split}
            entry |= {"as_it_is": _score(base, test, held), **_summary(taken)}
            if checkpoint:
                entry["fine_tuned"] = _summary(
                    [
                        fine_tune(checkpoint, rows.select(order[:size]), held, SEED + number)
                        for number, order in enumerate(chosen)
                    ]
                )
            found.append(entry)
            tuned = entry.get("fine_tuned", {}).get("macro_f1", "nothing")
            print(
                f"{name} {origin} {size}: macro {entry['as_it_is']['macro_f1']:.3f} to "
                f"{entry['macro_f1']}, {_taken(entry)}; fine-tuned {tuned}",
                flush=True,
            )
    return found


def fine_tune(
    checkpoint: str, rows: LabelledTexts, held: LabelledTexts, seed: int
) -> dict[str, float]:
    """Train all weights of a checkpoint on some rows, and score the best epoch.

    :param rows: a fifth of which chooses thresholds and the epoch.
    :param held: to score on.
    :param seed: of the split and of training.
    :return: macro and weighted F1, and the seconds that training took.
    """
    shares = {"train": 0.8, "validation": 0.2}
    parts = stratified_parts(rows.targets, shares, np.random.default_rng(seed))
    others = list(range(len(parts["validation"])))
    facts = {
        "seed": seed,
        "near_threshold": 0.0,
        "sources": (),
        "dropped": {},
        "validation_parts": dict.fromkeys(("calibration", "thresholds", "selection"), others),
    }
    with tempfile.TemporaryDirectory() as work:
        folder, run = Path(work, "data"), Path(work, "run")
        splits = {name: rows.select(part) for name, part in parts.items()} | {"test": held}
        write_prepared(folder, splits, facts)
        begun = time.perf_counter()
        head = read_head(Path(checkpoint))
        _ov_emotions(
            "train", "--base", checkpoint, "--data", folder, "--output", run,
            "--pooling", head.pooling, "--hidden-size", head.hidden_size, "--epochs", EPOCHS,
            "--batch-size", 16, "--learning-rate", 1e-4, "--patience", EPOCHS, "--seed", seed,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
        test = ("--data", folder, "--split", "test", "--json")
        answer = _ov_emotions("evaluate", run / "best", *test)
    scores = json.loads(answer)["results"][0]["splits"]["test"]
    return {key: round(scores[key], 6) for key in METRICS} | {"seconds": round(seconds, 1)}


def _ov_emotions(*arguments: object) -> str:
    words = [sys.executable, "-m", "ov_emotions", *map(str, arguments)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def _summary(draws: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"draws": draws}
    for key in METRICS:
        values = np.array([draw[key] for draw in draws])
        mean, spread = float(values.mean()), float(values.std())
        found[key] = {"mean": round(mean, 6), "spread": round(spread, 6)}
    return found


def _learnable(targets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Leave out what all rows say alike, as the command does."""
    both = (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    return np.where(both, targets, -1).astype(np.int8)


def _score(head: Head, test: Vectors, held: LabelledTexts) -> dict[str, float]:
    scores = score(held.targets, head.decide(head.logits(test)), held.label_set.labels)
    return {key: round(getattr(scores, key), 6) for key in METRICS}


def _taken(entry: dict[str, Any]) -> str:
    ways = collections.Counter(draw["chosen"] for draw in entry["draws"])
    return ", ".join(f"{way} {count}" for way, count in ways.items())


def render() -> str:
    """Render the section of the page from the committed figures."""
    found = load(OUTPUT.name)
    curves = found["curves"]
    most = [one for one in curves if one["rows"] == max(ROWS)]

    def longest(entries: list[dict[str, Any]]) -> float:
        return max(draw["seconds"] for one in entries for draw in one["draws"])

    return rendered(
        "adapt.md",
        curves=curves,
        names=NAMES,
        sets=SHOWN,
        taken=_taken,
        draws=len(curves[0]["draws"]),
        seconds=longest(most),
        tuned=longest([one["fine_tuned"] for one in most if "fine_tuned" in one]),
        machine=found["machine"],
    )


def adapt(
    *,
    data: Path | None = None,
    model: tuple[str, ...] = SHIPPED,
    draws: Count = 5,
    rows: tuple[int, ...] = ROWS,
    metric: Metric = "macro",
    output: Path | None = None,
    write: bool = False,
) -> None:
    """Measure and write the figures, or write the page.

    :param model: bundles, each with `=CHECKPOINT` behind it if that is to be fine-tuned beside it.
    :param draws: of each size.
    """
    if write:
        renew(PAGE, render())
        return
    if data is None:
        raise InputError("--data is needed")
    prepared = PreparedData.open(data)
    record(
        output,
        "openvino numpy",
        seed=SEED,
        metric=metric,
        data={"seed": prepared.manifest.seed},
        curves=[one for name in model for one in measure(name, prepared, draws, rows, metric)],
    )


if __name__ == "__main__":
    sys.exit(command("benchmarks.adapt", adapt))
