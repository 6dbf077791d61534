"""The two ways into OpenVINO, on the shipped checkpoints: torch.export beside optimum-intel.

    python benchmarks/convert/ways.py --data prepared [--rounds 7] [--json FILE]

Each checkpoint of quantize/checkpoints is converted both ways, quantized by `int8-mixed`, and
scored on test_goemotions: parity with torch, weighted F1 with the paired difference, and, in turns,
texts a second in lists and one by one.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.conversion import run
from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import ExportError
from ov_emotions.files import write_json
from ov_emotions.metrics import paired_differences
from ov_emotions.quantization.quantize import quantize_bundle
from ov_emotions.quantization.recipe import DEFAULT_RECIPE, load_recipe
from ov_emotions.system import environment

WAYS = ("torch.export", "optimum-intel")
ROOT = Path(__file__).resolve().parents[2]
_SINGLES = 300
_SAMPLES, _SEED = 1000, 20261122
_first_way = run.to_ir


def main() -> int:
    """Convert, score, and time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    data = PreparedData.open(arguments.data)
    found = {name: _both(name, data, arguments.rounds) for name in SHIPPED}
    answer = {
        "command": " ".join(["python", *sys.argv]),
        **environment("openvino", "torch", "transformers", "optimum-intel", "nncf"),
        "split": "test_goemotions",
        "rounds": arguments.rounds,
        "checkpoints": found,
    }
    print(json.dumps(answer, indent=2))
    if arguments.json:
        write_json(arguments.json, answer)
    return 0


def _both(name: str, data: PreparedData, rounds: int) -> dict[str, Any]:
    test = data.split("test_goemotions")
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
        told["f1"] = paired_differences(targets, old, new, _SAMPLES, _SEED)
        told["rates"] = {
            what: _rates(classifiers, ask, rounds)
            for what, ask in (("lists", _lists(texts)), ("one by one", _singles(texts)))
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
    source = str(ROOT / "quantize" / "checkpoints" / name)
    fp32, parity = run.to_fp32(ConversionConfig(source, folder / "fp32", name=name), data)
    bundle = quantize_bundle(fp32, data, folder / "int8", load_recipe(DEFAULT_RECIPE))
    return bundle, {"largest_logit_difference": parity.largest}


def _lists(texts: list[str]) -> Callable[[EmotionClassifier], int]:
    def ask(classifier: EmotionClassifier) -> int:
        classifier(texts[:2000])
        return 2000

    return ask


def _singles(texts: list[str]) -> Callable[[EmotionClassifier], int]:
    def ask(classifier: EmotionClassifier) -> int:
        for text in texts[:_SINGLES]:
            classifier(text)
        return _SINGLES

    return ask


def _rates(
    classifiers: dict[str, EmotionClassifier],
    ask: Callable[[EmotionClassifier], int],
    rounds: int,
) -> dict[str, Any]:
    """Time in turns, every other round the other way round."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way in WAYS if turn % 2 else reversed(WAYS):
            start = time.perf_counter()
            texts = ask(classifiers[way])
            if turn:  # the first is to warm up
                rates[way].append(texts / (time.perf_counter() - start))
    ratios = [new / old for new, old in zip(*rates.values(), strict=True)]
    return {
        **{f"{way}, texts a second": round(statistics.median(rates[way]), 1) for way in WAYS},
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
