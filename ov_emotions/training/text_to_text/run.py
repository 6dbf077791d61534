"""A text-to-text run from prepared data to a model folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.data.prepare import MANIFEST_NAME, PreparedData
from ov_emotions.errors import TrainingError
from ov_emotions.files import atomic_folder, sha256_file, write_json
from ov_emotions.metrics import Scores, score
from ov_emotions.normalize import NORMALIZER_VERSION, normalize
from ov_emotions.system import environment
from ov_emotions.training.batches import tokenize
from ov_emotions.training.device import choose_device
from ov_emotions.training.processes import launched
from ov_emotions.training.run_loop import Evaluation
from ov_emotions.training.sources import training_sources
from ov_emotions.training.state import BEST_NAME, run_folder, writing
from ov_emotions.training.text_to_text.config import Text2TextConfig
from ov_emotions.training.text_to_text.loop import Pairs, Text2TextTrainer
from ov_emotions.training.text_to_text.manifest import (
    TEXT2TEXT_NAME,
    Text2TextManifest,
    is_text_to_text,
)
from ov_emotions.training.text_to_text.model import (
    check_can_write,
    load_model,
    load_target_tokenizer,
    save_model,
)
from ov_emotions.training.text_to_text.targets import OutputCounts, TargetFormat
from ov_emotions.training.text_to_text.writer import LabelWriter, WritingOptions

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"

__all__ = ["BEST_NAME", "make_pairs", "train", "training_rows"]


def training_rows(
    data: LabelledTexts, config: Text2TextConfig
) -> tuple[LabelledTexts, dict[str, int]]:
    """Choose the rows that are trained on.

    :param data: the training split.
    :param config: names the sets, the rule for unknown labels and how many rows are drawn.
    :return: the rows, and by set how many were left out for an unknown label.
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
) -> Pairs:
    """Tokenise the training rows.

    :param data: the rows.
    :param tokenizer: the model's.
    :param target: how labels are written.
    :param config: the prefix and the lengths.
    :return: the pairs.
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
    return Pairs(tokenize(tokenizer, sources, config.max_source_length), targets)


def _earlier(base: str, labels: tuple[str, ...]) -> Text2TextManifest | None:
    """Return the manifest of the model that this run goes on from, if it does."""
    if not is_text_to_text(base):
        return None
    manifest = Text2TextManifest.read(Path(base))
    if manifest.labels != labels:
        raise TrainingError(
            f"{base} has the labels {', '.join(manifest.labels)}; this run has {', '.join(labels)}"
        )
    return manifest


def _training_of(manifest: Text2TextManifest) -> dict[str, Any]:
    """Say how a model was trained."""
    facts = manifest.to_dict()
    return {key: facts[key] for key in ("training", "earlier_training", "step", "provenance")}


def _selection(prepared: PreparedData, config: Text2TextConfig) -> LabelledTexts:
    data = prepared.validation_part("selection")
    if not len(data):
        raise TrainingError(f"{config.data} has no rows in the selection part of validation")
    if config.selection_rows:
        data = data.select(_draw(np.arange(len(data)), config.selection_rows, config.seed))
    return data


def train(
    config: Text2TextConfig, report: Callable[[int, int, str], None] = lambda *_: None
) -> Text2TextManifest:
    """Fine-tune a sequence-to-sequence model and write the best weights to `output/best`.

    A run that was killed goes on where its last saved state is; the same configuration again after
    the end changes nothing.

    :param config: the run.
    :param report: called after each step with the step, the number of steps, and a line.
    :return: the manifest of the best weights.
    :raises TrainingError: if the run cannot start or resume.
    :raises CheckpointError: if the base cannot be used.
    :raises DataError: if the prepared folder cannot be.
    """
    if launched() > 1:
        raise TrainingError("text-to-text trains in one process; start it without a launcher")
    with run_folder(config.output, TEXT2TEXT_NAME):
        return _train(config, report)


def _train(config: Text2TextConfig, report: Callable[[int, int, str], None]) -> Text2TextManifest:
    prepared = PreparedData.open(config.data)
    torch.manual_seed(config.seed)
    data, left_out = training_rows(prepared.split("train"), config)
    for name, count in left_out.items():
        logger.info("%s: %d rows left out, some label of theirs is not annotated", name, count)
    selection = _selection(prepared, config)
    labels = data.label_set.labels
    target = TargetFormat(labels, data.label_set.russian, config.names, config.no_emotion)
    earlier = _earlier(config.base, labels)
    sources = training_sources(
        prepared, data.origins, earlier=earlier.data["sources"] if earlier else ()
    )
    tokenizer = load_target_tokenizer(config.base)
    model = load_model(config.base)
    check_can_write(config.base, model, tokenizer, target)
    device = choose_device(config.device, config.precision)
    model.to(device.torch_device)
    options = WritingOptions(
        config.prefix,
        config.max_source_length,
        config.max_target_length,
        config.beams,
        config.constrained,
    )
    writer = LabelWriter(model, tokenizer, target, options, device)
    pairs = make_pairs(data, tokenizer, target, config)
    data_hash = sha256_file(config.data / MANIFEST_NAME)

    def evaluate() -> Evaluation[OutputCounts]:
        written = writer.write(selection.texts)
        scores = score(selection.targets, written.predicted, labels)
        also = {"unparseable_share": written.counts.unparseable_share}
        return Evaluation(scores, scores.weighted_f1, written.counts, also)

    pad_id = int(model.generation_config.pad_token_id or 0)
    trainer = Text2TextTrainer(model, config, pairs, pad_id, device, evaluate, report, data_hash)
    trainer.resume()
    with writing(config.output / CONFIG_NAME):
        write_json(config.output / CONFIG_NAME, config.to_dict())
    best = config.output / BEST_NAME

    def save(scores: Scores, counts: OutputCounts) -> None:
        manifest = Text2TextManifest(
            labels=labels,
            label_names_ru=dict(data.label_set.russian),
            names=config.names,
            no_emotion=config.no_emotion,
            prefix=config.prefix,
            max_source_length=config.max_source_length,
            max_target_length=config.max_target_length,
            beams=config.beams,
            constrained=config.constrained,
            normalizer=NORMALIZER_VERSION,
            base_model=config.base,
            training=config.to_dict(),
            earlier_training=_training_of(earlier) if earlier else None,
            training_rows=len(data),
            left_out=left_out,
            data={
                "manifest_sha256": data_hash,
                "seed": prepared.manifest["seed"],
                "sources": sources,
            },
            selection=scores.to_dict(),
            outputs=counts.to_dict(),
            step=trainer.progress.step,
            precision=device.precision,
            device=device.torch_device.type,
            provenance=environment("torch", "transformers", "tokenizers"),
        )
        with writing(best), atomic_folder(best) as folder:
            save_model(folder, model, tokenizer)
            manifest.write(folder)

    trainer.run(save)
    return Text2TextManifest.read(best)
