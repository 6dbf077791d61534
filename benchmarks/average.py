"""The weights between a checkpoint and the one that went on from it, as a checkpoint.

    python benchmarks/average.py BEFORE AFTER OUT --share 0.7 --data prepared

What a last stage forgets of the sets before it comes back, and most of what it learned stays
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Thresholds are fitted, and the
selection part of validation is scored, as `train` does it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from ov_emotions.data.dataset import PreparedData
from ov_emotions.metrics import score
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid
from ov_emotions.training.checkpoint import load_tokenizer, read_checkpoint_facts
from ov_emotions.training.device import choose_device
from ov_emotions.training.examples import tokenize
from ov_emotions.training.model import EmotionModel, predict_logits, save_checkpoint


def main(arguments: Sequence[str] | None = None) -> None:
    """Average, fit, score, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("before", "after", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, required=True, help="of what came after, 0 to 1")
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args(arguments)
    before, model = EmotionModel.load(args.before), EmotionModel.load(args.after)
    weights = model.state_dict()
    for name, value in before.state_dict().items():
        if value.is_floating_point():
            weights[name] = value + args.share * (weights[name] - value)
    model.load_state_dict(weights)

    facts = read_checkpoint_facts(args.after)
    tokenizer, data = load_tokenizer(str(args.after)), PreparedData.open(args.data)
    device = choose_device("cpu", "fp32")
    fitted, selection = (data.validation_part(name) for name in ("thresholds", "selection"))
    scores = [
        sigmoid(predict_logits(model, tokenize(tokenizer, list(p.texts), facts.max_length), device))
        for p in (fitted, selection)
    ]
    thresholds = fit_thresholds(scores[0], fitted.targets)
    found = score(selection.targets, apply_thresholds(scores[1], thresholds), facts.labels)
    mixed = {"averaged": {"with": str(args.before), "share": args.share}}
    save_checkpoint(
        args.output,
        model,
        tokenizer,
        replace(
            facts,
            thresholds=dict(zip(facts.labels, map(float, thresholds), strict=True)),
            selection=found.to_dict(),
            training=facts.training | mixed,
        ),
    )


if __name__ == "__main__":
    main()
