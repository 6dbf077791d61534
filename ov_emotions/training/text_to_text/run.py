"""A text-to-text run from prepared data to a model folder."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.encoding import Ids, tokenize
from ov_emotions.errors import TrainingError
from ov_emotions.files import atomic_folder
from ov_emotions.metrics import score
from ov_emotions.normalize import normalize
from ov_emotions.progress import Tell
from ov_emotions.schema import write_json
from ov_emotions.training.checkpoint import TEXT2TEXT_NAME, check_labels
from ov_emotions.training.device import choose_device, launched
from ov_emotions.training.examples import padded
from ov_emotions.training.folder import run_folder, writing
from ov_emotions.training.run import open_prepared, run_facts
from ov_emotions.training.settings import BEST_NAME, Text2TextConfig
from ov_emotions.training.text_to_text.targets import (
    TargetFormat,
    Text2TextManifest,
    is_text_to_text,
)
from ov_emotions.training.text_to_text.writer import (
    LabelWriter,
    check_can_write,
    load_model,
    load_target_tokenizer,
    save_model,
)
from ov_emotions.training.trainer import Evaluation, RunTrainer, trainer_arguments

_READ = (
    *("names", "no_emotion", "prefix", "max_source_length", "max_target_length", "beams"),
    "constrained",
)
"""Settings that the model is read with later."""
IGNORED = -100
"""The target id that the cross-entropy leaves out: padding."""

logger = logging.getLogger(__name__)


def train(config: Text2TextConfig, tell: Tell | None = None) -> Text2TextManifest:
    """Fine-tune a sequence-to-sequence model and write the best weights to `output/best`.

    A run that was killed goes on where its last saved state is; the same configuration again after
    the end changes nothing.

    :param tell: told how far the run is; None for nobody.
    :return: the manifest of the best weights.
    :raises TrainingError: if the run cannot start or go on.
    :raises CheckpointError: if the base cannot be used.
    :raises DataError: if the prepared folder cannot be.
    """
    if launched() > 1:
        raise TrainingError("text-to-text trains in one process; start it without a launcher")
    device, best = choose_device(config.device, config.precision), config.output / BEST_NAME
    prepared = open_prepared(config, ("selection",))
    args = trainer_arguments(config, device)
    with run_folder(config, args, TEXT2TEXT_NAME) as has_ended:
        if has_ended:
            return Text2TextManifest.read(best)
        torch.manual_seed(config.seed)
        data, left_out = training_rows(prepared.split("train"), config)
        for name, count in left_out.items():
            logger.info("%s: %d rows left out, some label of theirs is not annotated", name, count)
        selection = prepared.validation_part("selection")
        if config.selection_rows:
            rows = np.arange(len(selection))
            selection = selection.select(_draw(rows, config.selection_rows, config.seed))
        labels = data.label_set.labels
        target = TargetFormat(labels, data.label_set.russian, config.names, config.no_emotion)
        earlier = None
        if is_text_to_text(config.base):
            earlier = Text2TextManifest.read(Path(config.base))
            check_labels(config.base, earlier.labels, labels)
        tokenizer = load_target_tokenizer(config.base)
        model = load_model(config.base)
        check_can_write(config.base, model, tokenizer, target)
        model.to(device.torch_device)
        writer = LabelWriter(model, tokenizer, target, config, device)
        sources, targets = make_pairs(data, tokenizer, target, config)
        known = run_facts(config, device, prepared, data, earlier)
        known |= {name: getattr(config, name) for name in _READ}
        pad_id = int(model.generation_config.pad_token_id or 0)

        def batch(rows: list[int]) -> dict[str, Tensor]:
            ids, mask = padded([sources[row] for row in rows], pad_id)
            written, _ = padded([targets[row] for row in rows], IGNORED)
            return {"input_ids": ids, "attention_mask": mask, "labels": written}

        def score_selection() -> Evaluation:
            written = writer.write(selection.texts)
            scores = score(selection.targets, written.predicted, labels)
            also = {"unparseable_share": written.counts.unparseable_share}
            outputs = written.counts.to_dict()

            def keep(step: int) -> None:
                found = {"step": step, "selection": scores.to_dict(), "outputs": outputs}
                manifest = Text2TextManifest(**known | found, left_out=left_out)
                with writing(best), atomic_folder(best) as folder:
                    save_model(folder, model, tokenizer)
                    write_json(folder / TEXT2TEXT_NAME, manifest)

            return Evaluation(scores, scores.weighted_f1, keep, also)

        lengths = [len(source) for source in sources]
        RunTrainer(model, config, args, lengths, batch, score_selection, tell).run()
        return Text2TextManifest.read(best)


def training_rows(
    data: LabelledTexts, config: Text2TextConfig
) -> tuple[LabelledTexts, dict[str, int]]:
    """Choose the rows that are trained on.

    :raises TrainingError: if a set has no rows, or none are left.
    """
    if unknown := sorted(set(config.sets) - set(data.origins)):
        raise TrainingError(f"sets names sets without training rows: {', '.join(unknown)}")
    wanted = np.isin(data.origins, config.sets or tuple(set(data.origins)))
    left_out: dict[str, int] = {}
    if config.unknown_labels == "leave-out":
        partial = wanted & (data.targets == UNKNOWN).any(axis=1)
        left_out = dict(sorted(Counter(data.origins[i] for i in np.flatnonzero(partial)).items()))
        wanted &= ~partial
    rows = np.flatnonzero(wanted)
    if config.rows:
        rows = _draw(rows, config.rows, config.seed)
    if not len(rows):
        raise TrainingError(
            f"{config.data} leaves no rows to train on"
            + (
                f": {sum(left_out.values()):,} have a label that is not annotated; "
                "unknown_labels absent would train on them"
                if left_out
                else ""
            )
        )
    return data.select(rows), left_out


def _draw(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(rows, min(count, len(rows)), replace=False))


def make_pairs(
    data: LabelledTexts, tokenizer: Tokenizer, target: TargetFormat, config: Text2TextConfig
) -> tuple[list[Ids], list[Ids]]:
    """Tokenise the training rows.

    :return: per row the ids of prefix and text, and of what is to be written, end token included.
    :raises TrainingError: if a target is longer than what the model may write.
    """
    labels = np.array(target.labels)
    sources = [config.prefix + normalize(text) for text in data.texts]
    written = [target.write(labels[row == 1].tolist()) for row in data.targets]
    targets = [np.array(e.ids, dtype=np.int32) for e in tokenizer.encode_batch_fast(written)]
    longest = max(range(len(targets)), key=lambda i: len(targets[i]))
    if len(targets[longest]) > config.max_target_length:
        raise TrainingError(
            f"{written[longest]!r} is {len(targets[longest])} tokens long, and max_target_length "
            f"is {config.max_target_length}; raise it"
        )
    return tokenize(tokenizer, sources, config.max_source_length), targets
