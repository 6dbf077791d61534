"""How fast the shipped INT8 models are, beside the same weights in fp32 IR and in torch.

    python benchmarks/speed.py --data prepared --fp32 emotions-ru-small=BUNDLE \
        --checkpoint emotions-ru-small=quantize/checkpoints/emotions-ru-small \
        --output benchmarks/results/speed.json

The candidates take turns in every round (A B C A B C ...), so that a drift of the machine's speed
hits all alike; each figure is a median over rounds with the smallest and the largest beside it, and
each ratio is taken round by round. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, it sees its own folder

from benchmarks.common import SEED, add_flags, say, shuffled, summary
from ov_emotions import EmotionClassifier
from ov_emotions.bundle import SHIPPED
from ov_emotions.cli.frame import positive_int
from ov_emotions.data.dataset import PreparedData
from ov_emotions.files import write_json
from ov_emotions.quantization.timing import Classify, measure, spread
from ov_emotions.runtime.torch import CheckpointClassifier
from ov_emotions.system import environment


def take_turns(
    candidates: dict[str, Classify], singles: list[str], batch: list[str], rounds: int
) -> dict[str, Any]:
    """Let the candidates take turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in candidates}
    for name, classify in candidates.items():
        say(f"warming up {name}")
        measure(classify, singles, batch)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name, classify in candidates.items():
            found[name].append(measure(classify, singles, batch))
    return {
        name: summary(taken)
        | {"rounds": {key: [figures[key] for figures in taken] for key in taken[0]}}
        for name, taken in found.items()
    }


def ratios(results: dict[str, Any], model: str) -> dict[str, Any]:
    """Say, round by round, how the INT8 model compares with the others of its weights."""
    shipped = results[f"{model} int8"]["rounds"]
    answer: dict[str, Any] = {}
    for kind in ("fp32", "torch fp32"):
        other = results.get(f"{model} {kind}")
        if other is None:
            continue
        for key in ("p50_ms", "texts_per_second"):
            pairs = zip(other["rounds"][key], shipped[key], strict=True)
            faster = [a / b if key == "p50_ms" else b / a for a, b in pairs]
            answer[f"int8 faster than {kind}, {key}"] = spread(faster)
    return answer


def _warm(model: str) -> Classify:
    classifier = EmotionClassifier(model)
    classifier.warm_up()
    return classifier.predict_proba


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fp32", action="append", default=[], metavar="MODEL=BUNDLE")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="MODEL=FOLDER")
    add_flags(
        parser,
        data=(Path, ..., "prepared folder"),
        output=(Path, ..., ""),
        rounds=(positive_int, 7, ""),
        singles=(positive_int, 200, ""),
        batch=(positive_int, 1000, ""),
    )
    args = parser.parse_args()
    fp32 = dict(pair.split("=", 1) for pair in args.fp32)
    checkpoints = dict(pair.split("=", 1) for pair in args.checkpoint)

    candidates: dict[str, Classify] = {}
    for model in SHIPPED:
        candidates[f"{model} int8"] = _warm(model)
        if model in fp32:
            candidates[f"{model} fp32"] = _warm(fp32[model])
        if model in checkpoints:
            torch_classifier = CheckpointClassifier(Path(checkpoints[model]))
            candidates[f"{model} torch fp32"] = torch_classifier.predict_proba

    texts = shuffled(PreparedData.open(args.data).validation_part("selection").texts)
    singles, batch = texts[: args.singles], texts[: args.batch]
    results = take_turns(candidates, singles, batch, args.rounds)
    answer = {
        "command": shlex.join(["python", *sys.argv]),
        "split": "validation:selection",
        "seed": SEED,
        "single_texts": len(singles),
        "batch_texts": len(batch),
        **environment("openvino", "torch", "transformers", "tokenizers", "numpy"),
        "results": results,
        "ratios": {model: ratios(results, model) for model in SHIPPED},
    }
    write_json(args.output, answer)
    print(json.dumps(answer["ratios"], indent=2))


if __name__ == "__main__":
    main()
