"""Which rows a run learns from, how much each counts, and the batches that they come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.errors import TrainingError
from ov_emotions.training.losses import inverse_factors
from ov_emotions.training.settings import TrainConfig

_POOL = 40
"""Batches whose rows are sorted by length together: enough to make padding rare, few enough that
the order of the rows stays random."""

Ids = NDArray[np.int32]
_BLANK = -1
"""Stands for a row that teaches nothing."""


def chosen_rows(data: LabelledTexts, config: TrainConfig) -> LabelledTexts:
    """Leave out the sets whose weight is 0, and draw a subset where one is asked for.

    :raises TrainingError: if a set has no rows, or none are left.
    """
    weights = config.origin_weight or {}
    for field, names in (
        ("origin_weight", weights),
        ("teacher_only", config.teacher_only),
        ("label_only", config.label_only),
    ):
        unknown = sorted(set(names) - set(data.origins))
        if unknown:
            raise TrainingError(
                f"{field} names sets without rows: {', '.join(unknown)}; there are "
                f"{', '.join(sorted(set(data.origins)))}"
            )
    rows = [i for i, origin in enumerate(data.origins) if weights.get(origin, 1.0) > 0]
    if not rows:
        raise TrainingError("origin_weight leaves no training rows")
    if config.max_rows and config.max_rows < len(rows):
        rng = np.random.default_rng(config.seed)
        rows = sorted(rng.choice(rows, config.max_rows, replace=False).tolist())
    return data.select(rows)


def entry_weights(data: LabelledTexts, config: TrainConfig) -> NDArray[np.float32]:
    """Say how much each label of each row counts.

    :return: float32, shape (rows, labels); 0 for unknown.
    :raises InputError: if a label is none of the data's.
    """
    weights: NDArray[np.float32] = (data.targets != UNKNOWN).astype(np.float32)
    weights[np.isin(data.origins, config.teacher_only)] = 0.0
    factors = np.ones(weights.shape[1], dtype=np.float32)
    if config.class_weighting == "inverse":
        factors = inverse_factors(np.where(weights > 0, data.targets, UNKNOWN))
    for label, factor in (config.positive_weight or {}).items():
        factors[data.label_set.index(label)] = factor
    weights[data.targets == 1] *= np.broadcast_to(factors, weights.shape)[data.targets == 1]
    return weights


def row_weights(data: LabelledTexts, config: TrainConfig) -> NDArray[np.float32]:
    """Say how much each row counts.

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


@dataclass(frozen=True)
class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """Tokenised rows and what is to be learned from them; a data set for the Trainer.

    :param ids: token ids of each row, special tokens included.
    :param targets: float32, shape (rows, labels); any value where `weights` is 0.
    :param weights: float32, same shape: how much each entry counts; 0 for unknown.
    :param row_weights: float32, shape (rows,): how much each row counts, for its labels and for
        the teacher alike.
    :param teacher: float32, same shape as the targets: a teacher's probabilities.
    """

    ids: list[Ids]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    row_weights: NDArray[np.float32]
    teacher: NDArray[np.float32] | None = None

    @staticmethod
    def of(
        data: LabelledTexts,
        ids: list[Ids],
        teacher: NDArray[np.float32] | None,
        config: TrainConfig,
    ) -> Examples:
        """Say what is to be learned from labelled rows, and from texts that only teachers label."""
        smoothing = config.label_smoothing
        targets = np.clip(data.targets, 0, 1).astype(np.float32) * (1 - smoothing) + smoothing / 2
        blank = np.zeros((len(ids) - len(data), targets.shape[1]), dtype=np.float32)
        if teacher is not None and config.label_only:
            own = np.isin(data.origins, config.label_only)[:, None] & (data.targets != UNKNOWN)
            rows = len(data)
            teacher = np.concatenate([np.where(own, targets, teacher[:rows]), teacher[rows:]])
        return Examples(
            ids,
            np.concatenate([targets, blank]),
            np.concatenate([entry_weights(data, config), blank]),
            np.concatenate([row_weights(data, config), np.ones(len(blank), dtype=np.float32)]),
            teacher,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        counts = np.float32(row != _BLANK)
        item = {
            "ids": self.ids[row],
            "targets": self.targets[row],
            "weights": self.weights[row] * counts,
            "row_weights": self.row_weights[row] * counts,
        }
        return item if self.teacher is None else item | {"teacher": self.teacher[row]}


def collate_examples(items: list[dict[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """Make a batch of examples: padded ids and their mask, and what is learned from them."""
    ids, mask = pad([item["ids"] for item in items], pad_id)
    batch = {"input_ids": ids, "attention_mask": mask}
    for name in items[0].keys() - {"ids"}:
        batch[name] = torch.from_numpy(np.stack([item[name] for item in items]))
    return batch


def tokenize(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[Ids]:
    """Tokenise, cutting long texts."""
    tokenizer.enable_truncation(max_length)
    try:
        encodings = tokenizer.encode_batch_fast(texts)
    finally:
        tokenizer.no_truncation()
    return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


def pad(ids: list[Ids], pad_id: int) -> tuple[Tensor, Tensor]:
    """Pad rows to the longest of them.

    :return: ids and mask, int64, shape (rows, tokens); the mask is 0 at padding.
    """
    width = max(map(len, ids))
    tokens = np.full((len(ids), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(ids), width), dtype=np.int64)
    for i, row in enumerate(ids):
        tokens[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def by_length(ids: list[Ids], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Group rows of like length, for evaluation."""
    order = np.argsort([len(row) for row in ids], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


class LengthBatches(torch.utils.data.Sampler[list[int]]):
    """Batches of rows of like length, in an order that the seed and the epoch alone decide.

    Nothing is drawn from the process's random numbers, so that a run that goes on after a kill
    sees the batches that it would have seen.

    :param lengths: tokens of every row.
    :param batch_size: rows in a batch, over all processes; the last of a pool may be smaller.
    :param seed: of the run.
    :param rank: of this process, which takes every `processes`-th row of a batch.
    :param processes: that share the run.
    """

    def __init__(
        self, lengths: list[int], batch_size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.lengths = np.array(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.processes = rank, processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose batches come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        pool = self.batch_size * _POOL
        whole, rest = divmod(len(self.lengths), pool)
        return whole * _POOL + -(-rest // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths))
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), self.batch_size * _POOL):
            pool = order[start : start + self.batch_size * _POOL]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[i : i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
        for i in rng.permutation(len(batches)):
            # A process without a row of its own still takes part in the step.
            yield batches[i][self.rank :: self.processes].tolist() or [_BLANK]
