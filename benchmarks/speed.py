"""How fast the shipped INT8 models are, beside the same weights in fp32 IR and in torch.

    python -m benchmarks.speed --data prepared --fp32 emotions-ru-small=BUNDLE \
        --checkpoint emotions-ru-small=quantize/checkpoints/emotions-ru-small-desk \
        --output benchmarks/results/speed.json

The candidates take turns in every round (A B C A B C ...), so that a drift of the machine's speed
hits all alike; each figure is a median over rounds with the smallest and the largest beside it, and
each ratio is taken round by round. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import SEED, command, record, say, shuffled, summary
from ov_emotions import EmotionClassifier
from ov_emotions.bundle import SHIPPED
from ov_emotions.cli.output import print_json
from ov_emotions.data.dataset import PreparedData
from ov_emotions.quantization.timing import Classify, measure, spread
from ov_emotions.runtime.torch import CheckpointClassifier
from ov_emotions.schema import Count

Rounds = Mapping[str, list[dict[str, float]]]


def take_turns(
    candidates: Mapping[str, Classify], singles: list[str], batch: list[str], rounds: int
) -> Rounds:
    """Let the candidates take turns; the round before the first warms up."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}")
        for name, classify in candidates.items():
            figures = measure(classify, singles, batch)
            if number:
                found[name].append(figures)
    return found


def ratios(rounds: Rounds, model: str) -> dict[str, Any]:
    """Say, round by round, how the INT8 model compares with the others of its weights."""
    answer: dict[str, Any] = {}
    for kind in ("fp32", "torch fp32"):
        pairs = list(zip(rounds.get(f"{model} {kind}", ()), rounds[f"{model} int8"], strict=False))
        for key, power in (("p50_ms", 1), ("texts_per_second", -1)) if pairs else ():
            faster = [(other[key] / ours[key]) ** power for other, ours in pairs]
            answer[f"int8 faster than {kind}, {key}"] = spread(faster)
    return answer


def _warm(model: str) -> Classify:
    classifier = EmotionClassifier(model)
    classifier.warm_up()
    return classifier.predict_proba


def speed(
    *,
    data: Path,
    output: Path,
    fp32: dict[str, str] | None = None,
    checkpoint: dict[str, str] | None = None,
    rounds: Count = 7,
    singles: Count = 200,
    batch: Count = 1000,
) -> None:
    """Measure and write the figures.

    :param fp32: bundles in fp32, by the names of the models.
    :param checkpoint: folders of checkpoints, likewise.
    :param singles: texts that are classified one by one.
    :param batch: texts of a list.
    """
    candidates: dict[str, Classify] = {}
    for model in SHIPPED:
        candidates[f"{model} int8"] = _warm(model)
        if folder := (fp32 or {}).get(model):
            candidates[f"{model} fp32"] = _warm(folder)
        if folder := (checkpoint or {}).get(model):
            torch_fp32 = CheckpointClassifier(Path(folder))
            candidates[f"{model} torch fp32"] = torch_fp32.predict_proba
    texts = shuffled(PreparedData.open(data).validation_part("selection").texts)
    found = take_turns(candidates, texts[:singles], texts[:batch], rounds)
    answer = record(
        output,
        "openvino torch transformers tokenizers numpy",
        split="validation:selection",
        seed=SEED,
        single_texts=len(texts[:singles]),
        batch_texts=len(texts[:batch]),
        results={
            name: summary(taken)
            | {"rounds": {key: [one[key] for one in taken] for key in taken[0]}}
            for name, taken in found.items()
        },
        ratios={model: ratios(found, model) for model in SHIPPED},
    )
    print_json(answer["ratios"])


if __name__ == "__main__":
    sys.exit(command("benchmarks.speed", speed))
