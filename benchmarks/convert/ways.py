"""The two ways into OpenVINO, on the shipped checkpoints: torch.export beside optimum-intel.

    python -m benchmarks.convert.ways --data prepared [--rounds 7] [--json FILE]

Each checkpoint of quantize/checkpoints is converted both ways, quantized by `int8-mixed`, and
scored on test_goemotions: parity with torch, weighted F1 with the paired difference, and, in turns,
texts a second in lists and one by one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import CHECKPOINTS, SEED, SPLIT, command, record
from ov_emotions import EmotionClassifier
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.cli.output import print_json
from ov_emotions.conversion import run
from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import ExportError
from ov_emotions.metrics import paired_differences
from ov_emotions.quantization.quantize import quantize_bundle
from ov_emotions.quantization.recipe import DEFAULT_RECIPE, load_recipe
from ov_emotions.quantization.timing import spread
from ov_emotions.schema import Count

WAYS = ("torch.export", "optimum-intel")
_LIST, _SINGLES, _SAMPLES = 2000, 300, 1000
_first_way = run.to_ir


def ways(*, data: Path, rounds: Count = 7, json: Path | None = None) -> None:
    """Convert, score, and time."""
    prepared = PreparedData.open(data)
    answer = record(
        json,
        "openvino torch transformers optimum-intel nncf",
        split=SPLIT,
        rounds=rounds,
        checkpoints={name: _both(name, prepared, rounds) for name in SHIPPED},
    )
    print_json(answer)


def _both(name: str, data: PreparedData, rounds: int) -> dict[str, Any]:
    test = data.split(SPLIT)
    texts, targets = list(test.texts), np.asarray(test.targets)
    told: dict[str, Any] = {}
    decided, classifiers = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        for way in WAYS:
            bundle, told[way] = _made(name, way, data, Path(temporary) / way)
            classifiers[way] = classifier = EmotionClassifier(bundle)
            classifier.warm_up()
            thresholds = bundle.manifest.threshold_array()
            decided[way] = classifier.predict_proba(texts) >= thresholds
        new, old = (decided[way] for way in WAYS)
        told["f1"] = paired_differences(targets, old, new, _SAMPLES, SEED)
        lists, singles = [texts[:_LIST]], texts[:_SINGLES]
        told["rates"] = {
            "lists": _rates(classifiers, lists, _LIST, rounds),
            "one by one": _rates(classifiers, singles, _SINGLES, rounds),
        }
        for classifier in classifiers.values():
            classifier.close()
    return told


def _made(name: str, way: str, data: PreparedData, folder: Path) -> tuple[Bundle, dict[str, Any]]:
    """Convert by one way alone, and quantize."""

    def only(model: Any, limit: int, accept: Callable[[Any, str], None]) -> Any:
        def judge(ir: Any, made: str) -> None:
            if made != way:
                raise ExportError("not the way that is measured")
            accept(ir, made)

        return _first_way(model, limit, judge)

    run.to_ir = only
    source = str(CHECKPOINTS[name])
    fp32, parity = run.to_fp32(ConversionConfig(source, folder / "fp32", name=name), data)
    bundle = quantize_bundle(fp32, data, folder / "int8", load_recipe(DEFAULT_RECIPE))
    return bundle, {"largest_logit_difference": parity.largest}


def _rates(
    classifiers: dict[str, EmotionClassifier], calls: list[Any], texts: int, rounds: int
) -> dict[str, Any]:
    """Time in turns, every other round the other way round: so many texts in some calls."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way in WAYS if turn % 2 else reversed(WAYS):
            start = time.perf_counter()
            for call in calls:
                classifiers[way](call)
            if turn:  # the first is to warm up
                rates[way].append(texts / (time.perf_counter() - start))
    ratio = spread([new / old for new, old in zip(*rates.values(), strict=True)])
    return {f"{way}, texts a second": spread(found)["median"] for way, found in rates.items()} | {
        "ratio": ratio["median"], "lowest": ratio["min"], "highest": ratio["max"],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(command("benchmarks.convert.ways", ways))
