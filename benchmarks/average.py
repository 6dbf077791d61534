"""The weights between a checkpoint and the one that went on from it, as a checkpoint.

    python -m benchmarks.average BEFORE AFTER OUT --share 0.7 --data prepared

What a last stage forgets of the sets before it comes back, and most of what it learned stays
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Thresholds are fitted, and the
selection part of validation is scored, as `train` does it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.common import command
from ov_emotions.data.dataset import PreparedData
from ov_emotions.encoding import tokenize
from ov_emotions.errors import InputError
from ov_emotions.metrics import score
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid
from ov_emotions.training.checkpoint import load_tokenizer, read_checkpoint_facts
from ov_emotions.training.device import choose_device
from ov_emotions.training.model import EmotionModel, predict_logits, save_checkpoint


def average(before: Path, after: Path, out: Path, *, share: float, data: Path) -> None:
    """Average, fit, score, and write.

    :param before: a checkpoint.
    :param after: the one that went on from it.
    :param out: the checkpoint to write.
    :param share: of what came after, 0 to 1.
    :raises InputError: if the two have different vocabularies.
    """
    tokenizer = load_tokenizer(str(after))
    if load_tokenizer(str(before)).get_vocab() != tokenizer.get_vocab():
        raise InputError(
            f"{before} and {after} have different vocabularies, and weights can be averaged only "
            "where each row of the embeddings means the same piece: train both from one base"
        )
    earlier, model = EmotionModel.load(before), EmotionModel.load(after)
    weights = model.state_dict()
    for name, value in earlier.state_dict().items():
        if value.is_floating_point():
            weights[name] = value + share * (weights[name] - value)
    model.load_state_dict(weights)

    facts, prepared = read_checkpoint_facts(after), PreparedData.open(data)
    device = choose_device("cpu", "fp32")
    fitted, selection = (prepared.validation_part(name) for name in ("thresholds", "selection"))
    scores = [
        sigmoid(predict_logits(model, tokenize(tokenizer, p.texts, facts.max_length), device))
        for p in (fitted, selection)
    ]
    thresholds = fit_thresholds(scores[0], fitted.targets)
    found = score(selection.targets, apply_thresholds(scores[1], thresholds), facts.labels)
    mixed = facts.replace(
        thresholds=dict(zip(facts.labels, map(float, thresholds), strict=True)),
        selection=found.to_dict(),
        training=facts.training | {"averaged": {"with": str(before), "share": share}},
    )
    save_checkpoint(out, model, tokenizer, mixed)


if __name__ == "__main__":
    sys.exit(command("benchmarks.average", average))
