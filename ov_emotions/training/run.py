"""A training run from prepared data to a checkpoint folder."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.data.prepare import PreparedData
from ov_emotions.errors import DataError, TrainingError
from ov_emotions.files import sha256_file, write_json
from ov_emotions.machine import environment
from ov_emotions.metrics import Scores
from ov_emotions.normalize import NORMALIZER_VERSION
from ov_emotions.thresholds import sigmoid
from ov_emotions.training.batches import Examples, tokenize
from ov_emotions.training.checkpoint import (
    CHECKPOINT_SCHEMA,
    load_tokenizer,
    read_checkpoint_facts,
    save_checkpoint,
)
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.loop import Trainer, choose_device, predict_logits
from ov_emotions.training.model import EmotionModel, HeadConfig

logger = logging.getLogger(__name__)

BEST_NAME = "best"


def _weights(data: LabelledTexts, config: TrainConfig) -> NDArray[np.float32]:
    weights: NDArray[np.float32] = (data.targets != UNKNOWN).astype(np.float32)
    for label, factor in (config.positive_weight or {}).items():
        i = data.label_set.index(label)
        weights[data.targets[:, i] == 1, i] *= factor
    unknown_sets = set(config.origin_weight or {}) - set(data.origins)
    if unknown_sets:
        raise TrainingError(f"origin_weight names sets without rows: {sorted(unknown_sets)}")
    for origin, factor in (config.origin_weight or {}).items():
        weights[np.array(data.origins) == origin] *= factor
    return weights


def _read_lines(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _examples(data: LabelledTexts, tokenizer: Tokenizer, config: TrainConfig) -> Examples:
    ids = tokenize(tokenizer, list(data.texts), config.max_length)
    smoothing = config.label_smoothing
    targets = np.clip(data.targets, 0, 1).astype(np.float32) * (1 - smoothing) + smoothing / 2
    weights = _weights(data, config)
    if config.teacher is None:
        return Examples(ids, targets, weights)
    texts = list(data.texts)
    if config.unlabelled_rows:
        lines = sorted({line for path in config.unlabelled for line in _read_lines(path)})
        rng = np.random.default_rng(config.seed)
        rows = rng.choice(len(lines), min(config.unlabelled_rows, len(lines)), replace=False)
        extra = [lines[i] for i in rows]
        texts += extra
        ids += tokenize(tokenizer, extra, config.max_length)
        blank = np.zeros((len(extra), targets.shape[1]), dtype=np.float32)
        targets, weights = np.concatenate([targets, blank]), np.concatenate([weights, blank])
    return Examples(ids, targets, weights, _teach(texts, config))


def _teach(texts: list[str], config: TrainConfig) -> NDArray[np.float32]:
    """Let the teacher score every text."""
    assert config.teacher is not None
    teacher = EmotionModel.load(config.teacher)
    device = choose_device(config.device, config.precision)
    teacher.to(device.torch_device)
    ids = tokenize(load_tokenizer(str(config.teacher)), texts, config.max_length)
    pad_id = int(teacher.config.pad_token_id or 0)
    return sigmoid(predict_logits(teacher, ids, pad_id, device))


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
    prepared = PreparedData.open(config.data)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.base)
    data = prepared.split("train")
    labels = data.label_set.labels
    model = EmotionModel.from_base(
        config.base, HeadConfig(len(labels), config.pooling, config.dropout)
    )
    train_examples = _examples(data, tokenizer, config)

    def part(name: str) -> tuple[list[NDArray[np.int32]], NDArray[np.int8]]:
        rows = prepared.validation_part(name)
        return tokenize(tokenizer, list(rows.texts), config.max_length), rows.targets

    trainer = Trainer(
        model, config, train_examples, part("thresholds"), part("selection"), labels, report
    )
    config.output.mkdir(parents=True, exist_ok=True)
    write_json(config.output / "config.json", config.to_dict())
    if trainer.resume():
        logger.info("resumed at step %d of %d", trainer.progress.step, trainer.total_steps)
    best = config.output / BEST_NAME

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
            "training_rows": len(train_examples),
            "data": {
                "manifest_sha256": sha256_file(config.data / "prepared.json"),
                "seed": prepared.manifest["seed"],
                "sources": [
                    {k: s[k] for k in ("name", "licence", "url", "attribution")}
                    | {"rows": prepared.manifest["splits"]["train"]["rows_by_origin"][s["name"]]}
                    for s in prepared.manifest["sources"]
                ],
            },
            "selection": scores.to_dict(),
            "step": trainer.progress.step,
            "precision": "bf16 autocast" if trainer.device.autocast else "fp32",
            "device": trainer.device.torch_device.type,
            "provenance": environment("torch", "transformers", "tokenizers"),
        }
        save_checkpoint(best, model, tokenizer, facts)

    trainer.run(save)
    return read_checkpoint_facts(best)
