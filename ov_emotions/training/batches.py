"""Token batches grouped by length, in an order that a seed and an epoch fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

_POOL = 40
"""Batches whose rows are sorted by length together: enough to make padding rare, few enough that
the order of the rows stays random."""


@dataclass(frozen=True)
class Examples:
    """Tokenised rows and what is to be learned from them.

    :param ids: token ids of each row, special tokens included.
    :param targets: float32, shape (rows, labels); any value where `weights` is 0.
    :param weights: float32, same shape: how much each entry counts; 0 for unknown.
    :param row_weights: float32, shape (rows,): how much each row counts, for its labels and for
        the teacher alike.
    :param teacher: float32, same shape as the targets: a teacher's probabilities.
    """

    ids: list[NDArray[np.int32]]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    row_weights: NDArray[np.float32]
    teacher: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TokenBatch:
    """One padded batch.

    :param rows: positions of its rows in the examples.
    :param input_ids: int64, shape (batch, tokens).
    :param attention_mask: int64, same shape; 0 marks padding.
    """

    rows: NDArray[np.int64]
    input_ids: Tensor
    attention_mask: Tensor


def tokenize(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[NDArray[np.int32]]:
    """Tokenise, cutting long texts.

    :param tokenizer: a tokeniser with its normaliser inside; its truncation is reset afterwards.
    :param texts: raw texts.
    :param max_length: tokens at most, special ones included.
    :return: ids per text.
    """
    tokenizer.enable_truncation(max_length)
    try:
        encodings = tokenizer.encode_batch_fast(texts)
    finally:
        tokenizer.no_truncation()
    return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


def collate(ids: list[NDArray[np.int32]], rows: NDArray[np.int64], pad_id: int) -> TokenBatch:
    """Pad the named rows to the longest of them.

    :param ids: token ids of all rows.
    :param rows: which of them.
    :param pad_id: id of the padding token.
    :return: the batch.
    """
    width = max(len(ids[row]) for row in rows)
    tokens = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(ids[row])] = ids[row]
        mask[i, : len(ids[row])] = 1
    return TokenBatch(rows, torch.from_numpy(tokens), torch.from_numpy(mask))


def epoch_batches(
    ids: list[NDArray[np.int32]], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Choose the rows of every batch of an epoch.

    :param ids: token ids of all rows.
    :param batch_size: rows in a batch; the last of a pool may be smaller.
    :param seed: of the run.
    :param epoch: counted from 0.
    :return: row positions per batch; the same seed and epoch give the same.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(ids))
    lengths = np.array([len(row) for row in ids])
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * _POOL):
        pool = order[start : start + batch_size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(pool[i : i + batch_size] for i in range(0, len(pool), batch_size))
    shuffled = rng.permutation(len(batches))
    return [batches[i] for i in shuffled]


def by_length(ids: list[NDArray[np.int32]], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Group rows of like length, for evaluation.

    :param ids: token ids of all rows.
    :param batch_size: rows in a batch.
    :return: yields row positions.
    """
    order = np.argsort([len(row) for row in ids], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
