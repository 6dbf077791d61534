"""Which rows a run learns from, and how much each of them and each of their labels counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.errors import TrainingError
from ov_emotions.training.batches import Examples, tokenize
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.loss import positive_factors
from ov_emotions.training.teachers import DrawnTexts, teach


def chosen_rows(data: LabelledTexts, config: TrainConfig) -> LabelledTexts:
    """Leave out the sets whose weight is 0, and draw a subset where one is asked for.

    :param data: the training split.
    :param config: the run.
    :return: the rows that are left.
    :raises TrainingError: if a set has no rows, or none are left.
    """
    weights = config.origin_weight or {}
    for field, names in (("origin_weight", weights), ("teacher_only", config.teacher_only)):
        unknown = sorted(set(names) - set(data.origins))
        if unknown:
            raise TrainingError(f"{field} names sets without rows: {', '.join(unknown)}")
    rows = [i for i, origin in enumerate(data.origins) if weights.get(origin, 1.0) > 0]
    if not rows:
        raise TrainingError("origin_weight leaves no training rows")
    if config.max_rows and config.max_rows < len(rows):
        rng = np.random.default_rng(config.seed)
        rows = sorted(rng.choice(rows, config.max_rows, replace=False).tolist())
    return data.select(rows)


def entry_weights(data: LabelledTexts, config: TrainConfig) -> NDArray[np.float32]:
    """Say how much each label of each row counts.

    :param data: the rows.
    :param config: weighs classes and labels, and names sets that only teachers label.
    :return: float32, shape (rows, labels); 0 for unknown.
    :raises InputError: if a label is none of the data's.
    """
    weights: NDArray[np.float32] = (data.targets != UNKNOWN).astype(np.float32)
    weights[np.isin(data.origins, config.teacher_only)] = 0.0
    learned = np.where(weights > 0, data.targets, UNKNOWN)
    factors = positive_factors(learned, config.class_weighting, config.effective_beta)
    for label, factor in (config.positive_weight or {}).items():
        factors[data.label_set.index(label)] = factor
    weights[data.targets == 1] *= np.broadcast_to(factors, weights.shape)[data.targets == 1]
    return weights


def row_weights(data: LabelledTexts, config: TrainConfig) -> NDArray[np.float32]:
    """Say how much each row counts.

    :param data: the rows.
    :param config: weighs rows by label, set and the method that made them.
    :return: float32, shape (rows,).
    :raises InputError: if a label is none of the data's.
    :raises TrainingError: if a weight is out of range, or is of a method that made no row.
    """
    weights = np.ones(len(data), dtype=np.float32)
    if config.row_weight:
        factors = np.zeros(len(data), dtype=np.float32)
        for label, factor in config.row_weight.items():
            present = data.targets[:, data.label_set.index(label)] == 1
            factors[present] = np.maximum(factors[present], factor)
        weights = np.where(factors > 0, factors, weights)
    for origin, factor in (config.origin_weight or {}).items():
        weights[np.array(data.origins) == origin] *= factor
    for method, factor in (config.augmentation_weight or {}).items():
        made = np.array(data.augmentations) == method
        if not made.any():
            raise TrainingError(f"augmentation_weight names {method!r}, which made no training row")
        if not 0 <= factor < np.inf:
            raise TrainingError(f"augmentation_weight of {method} must be at least 0, not {factor}")
        weights[made] *= factor
    return weights


def examples_of(
    data: LabelledTexts, drawn: DrawnTexts, tokenizer: Tokenizer, config: TrainConfig
) -> Examples:
    """Tokenise rows and texts without labels, and say what is to be learned from them.

    :param data: the labelled rows.
    :param drawn: the texts that only teachers label.
    :param tokenizer: the model's.
    :param config: the run.
    :return: the examples, the labelled ones first.
    """
    texts = [*data.texts, *drawn.texts]
    ids = tokenize(tokenizer, texts, config.max_length)
    smoothing = config.label_smoothing
    targets = np.clip(data.targets, 0, 1).astype(np.float32) * (1 - smoothing) + smoothing / 2
    blank = np.zeros((len(drawn.texts), targets.shape[1]), dtype=np.float32)
    return Examples(
        ids,
        np.concatenate([targets, blank]),
        np.concatenate([entry_weights(data, config), blank]),
        np.concatenate([row_weights(data, config), np.ones(len(blank), dtype=np.float32)]),
        teach(texts, data.label_set.labels, config) if config.teachers else None,
    )
