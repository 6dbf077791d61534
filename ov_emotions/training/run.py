"""A training run from prepared data to a checkpoint folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ov_emotions.data.prepare import MANIFEST_NAME, PreparedData
from ov_emotions.errors import TrainingError
from ov_emotions.files import sha256_file
from ov_emotions.metrics import Scores
from ov_emotions.normalize import NORMALIZER_VERSION
from ov_emotions.system import environment
from ov_emotions.training.batches import tokenize
from ov_emotions.training.checkpoint import (
    CHECKPOINT_NAME,
    CHECKPOINT_SCHEMA,
    load_tokenizer,
    read_checkpoint_facts,
    save_checkpoint,
)
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.loop import Trainer
from ov_emotions.training.model import EmotionModel, HeadConfig
from ov_emotions.training.positions import token_limit
from ov_emotions.training.processes import Processes
from ov_emotions.training.rows import chosen_rows, examples_of
from ov_emotions.training.settings import CONFIG_NAME, write_settings
from ov_emotions.training.sources import training_sources
from ov_emotions.training.state import BEST_NAME, run_folder, writing
from ov_emotions.training.teachers import draw_texts
from ov_emotions.training.tracking import Tracker, make_tracker

__all__ = ["BEST_NAME", "train"]


def _start(config: TrainConfig, labels: tuple[str, ...]) -> EmotionModel:
    """Put a fresh head on a base encoder, or take up an earlier checkpoint."""
    head = HeadConfig(
        len(labels),
        config.pooling,
        config.dropout,
        config.hidden_size,
        config.activation,
        config.hidden_dropout,
    )
    folder = Path(config.base)
    if not (folder / CHECKPOINT_NAME).is_file():
        return EmotionModel.from_base(config.base, head)
    facts = read_checkpoint_facts(folder)
    model = EmotionModel.load(folder)
    if tuple(facts["labels"]) != labels:
        raise TrainingError(
            f"{folder} has the labels {', '.join(facts['labels'])}; this run has "
            f"{', '.join(labels)}"
        )
    for field in ("pooling", "hidden_size", *(("activation",) if head.hidden_size else ())):
        there, here = getattr(model.head, field), getattr(head, field)
        if there != here:
            raise TrainingError(f"{folder} has {field} {there}; this run has {here}")
    model.set_dropout(config.dropout, config.hidden_dropout)
    return model


def _earlier_facts(config: TrainConfig) -> dict[str, Any] | None:
    """Return the facts of the checkpoint that this run goes on from, if it does."""
    folder = Path(config.base)
    return read_checkpoint_facts(folder) if (folder / CHECKPOINT_NAME).is_file() else None


def _training_of(facts: dict[str, Any]) -> dict[str, Any]:
    """Say how a checkpoint was trained."""
    keys = ("training", "earlier_training", "step", "precision", "device", "provenance")
    return {key: facts[key] for key in keys if key in facts}


def _unlabelled(config: TrainConfig, rows: int) -> list[dict[str, Any]]:
    """Describe the texts without labels that teachers labelled, if there are any."""
    if not rows:
        return []
    return [
        {
            "name": "unlabelled",
            "licence": config.unlabelled_licence,
            "url": config.unlabelled_url,
            "attribution": config.unlabelled_source,
            "rows": rows,
        }
    ]


def train(
    config: TrainConfig, report: Callable[[int, int, str], None] = lambda *_: None
) -> dict[str, Any]:
    """Fine-tune an encoder and write the best checkpoint to `output/best`.

    A run that was killed goes on where its last saved state is; the same configuration again after
    the end changes nothing.

    :param config: the run.
    :param report: called after each step with the step, the number of steps, and a line.
    :return: the facts written to checkpoint.json.
    :raises TrainingError: if the run cannot start or resume.
    """
    processes = Processes(config.device)
    # The others begin when the one that writes has put the folder in order.
    with run_folder(config.output) if processes.main else nullcontext():
        processes.wait()
        return _train(config, report, processes)


def _train(
    config: TrainConfig, report: Callable[[int, int, str], None], processes: Processes
) -> dict[str, Any]:
    prepared = PreparedData.open(config.data)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.base)
    data = chosen_rows(prepared.split("train"), config)
    labels = data.label_set.labels
    model = _start(config, labels)
    limit = token_limit(model.config.to_dict(), config.max_length)
    if config.max_length > limit:
        raise TrainingError(
            f"max_length is {config.max_length}, and {config.base} reads at most {limit} tokens"
        )
    drawn = draw_texts(data.texts, prepared, config)
    train_examples = examples_of(data, drawn, tokenizer, config)
    data_hash = sha256_file(config.data / MANIFEST_NAME)

    def part(name: str) -> tuple[list[NDArray[np.int32]], NDArray[np.int8]]:
        rows = prepared.validation_part(name)
        return tokenize(tokenizer, list(rows.texts), config.max_length), rows.targets

    fitting, selection = part("thresholds"), part("selection")
    tracker = make_tracker(config) if processes.main else Tracker()
    trainer = Trainer(
        model,
        config,
        train_examples,
        fitting,
        selection,
        labels,
        report,
        data_hash,
        processes,
        tracker,
    )
    trainer.resume()
    if processes.main:
        with writing(config.output / CONFIG_NAME):
            write_settings(config.output, config)
    best = config.output / BEST_NAME
    earlier = _earlier_facts(config)
    sources = training_sources(
        prepared,
        data.origins,
        _unlabelled(config, len(drawn.unlabelled)),
        earlier["data"]["sources"] if earlier else (),
    )

    def save(scores: Scores, thresholds: NDArray[np.float32]) -> None:
        facts = {
            "schema": CHECKPOINT_SCHEMA,
            "labels": list(labels),
            "label_names_ru": dict(data.label_set.russian),
            "thresholds": {n: float(t) for n, t in zip(labels, thresholds, strict=True)},
            "normalizer": NORMALIZER_VERSION,
            "max_length": config.max_length,
            "base_model": config.base,
            "training": config.to_dict(),
            "earlier_training": _training_of(earlier) if earlier else None,
            "training_rows": len(train_examples),
            "drawn_rows": {
                "unlabelled": len(drawn.unlabelled),
                "recombined": len(drawn.recombined),
                "left_out_as_held_out": drawn.held_out,
            },
            "data": {
                "manifest_sha256": data_hash,
                "seed": prepared.manifest["seed"],
                "sources": sources,
            },
            "selection": scores.to_dict(),
            "step": trainer.progress.step,
            "precision": trainer.device.precision,
            "device": trainer.device.torch_device.type,
            "processes": processes.count,
            "provenance": environment("torch", "transformers", "tokenizers"),
        }
        with writing(best):
            save_checkpoint(best, model, tokenizer, facts)

    trainer.run(save)
    processes.wait()
    return read_checkpoint_facts(best)
