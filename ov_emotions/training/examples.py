"""What a run learns: rows and how much each counts, the batches they come in, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.encoding import Ids, pad
from ov_emotions.errors import InputError, TrainingError
from ov_emotions.training.settings import TrainConfig

_POOL = 40
"""Batches whose rows are sorted by length together: enough to make padding rare, few enough that
the order of the rows stays random."""

_BLANK = -1
"""Stands for a row that teaches nothing."""
Elementwise = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets in [0, 1] to losses, all of the same shape."""


def chosen_rows(data: LabelledTexts, config: TrainConfig) -> LabelledTexts:
    """Leave out the sets whose weight is 0, and draw a subset where one is asked for.

    :raises TrainingError: if a set has no rows, or none are left.
    """
    weights = config.origin_weight or {}
    for name in ("origin_weight", "teacher_only", "label_only"):
        if unknown := sorted(set(getattr(config, name) or ()) - set(data.origins)):
            raise TrainingError(
                f"{name} names sets without rows: {', '.join(unknown)}; there are "
                f"{', '.join(sorted(set(data.origins)))}"
            )
    rows = [i for i, origin in enumerate(data.origins) if weights.get(origin, 1.0) > 0]
    if not rows:
        raise TrainingError("origin_weight leaves no training rows")
    if config.max_rows and config.max_rows < len(rows):
        rng = np.random.default_rng(config.seed)
        rows = sorted(rng.choice(rows, config.max_rows, replace=False).tolist())
    return data.select(rows)


def _by_column(
    name: str, factors: Mapping[str, float] | None, data: LabelledTexts
) -> Iterator[tuple[int, float]]:
    for label, factor in (factors or {}).items():
        try:
            column = data.label_set.index(label)
        except InputError as error:
            raise TrainingError(f"{name}: {error}") from error
        yield column, factor


def entry_weights(data: LabelledTexts, config: TrainConfig) -> NDArray[np.float32]:
    """Say how much each label of each row counts.

    :return: float32, shape (rows, labels); 0 for unknown.
    :raises TrainingError: if a label is none of the data's.
    """
    weights: NDArray[np.float32] = (data.targets != UNKNOWN).astype(np.float32)
    weights[np.isin(data.origins, config.teacher_only)] = 0.0
    factors = np.ones(weights.shape[1], dtype=np.float32)
    if config.class_weighting == "inverse":
        # How many times a label is absent for each time that it is present.
        present = (weights * (data.targets == 1)).sum(axis=0, dtype=np.float64)
        absent = weights.sum(axis=0, dtype=np.float64) - present
        counted = (present > 0) & (absent > 0)
        factors[counted] = absent[counted] / present[counted]
    for column, factor in _by_column("positive_weight", config.positive_weight, data):
        factors[column] = factor
    return np.where(data.targets == 1, weights * factors, weights)


def row_weights(data: LabelledTexts, config: TrainConfig) -> NDArray[np.float32]:
    """Say how much each row counts.

    :return: float32, shape (rows,).
    :raises TrainingError: if a weight is out of range, or is of a method that made no row or of a
        label that the data lack.
    """
    factors = np.zeros(len(data), dtype=np.float32)
    for column, factor in _by_column("row_weight", config.row_weight, data):
        present = data.targets[:, column] == 1
        factors[present] = np.maximum(factors[present], factor)
    weights = np.where(factors > 0, factors, np.float32(1))
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
class Examples:
    """Tokenised rows and what is to be learned from them.

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

    def batch(self, rows: list[int], pad_id: int) -> dict[str, Tensor]:
        """Make a batch of rows: padded ids and their mask, and what is learned from them."""
        ids, mask = padded([self.ids[row] for row in rows], pad_id)
        counts = (np.array(rows) != _BLANK).astype(np.float32)
        learned = {
            "targets": self.targets[rows],
            "weights": self.weights[rows] * counts[:, None],
            "row_weights": self.row_weights[rows] * counts,
        }
        if self.teacher is not None:
            learned["teacher"] = self.teacher[rows]
        tensors = {name: torch.from_numpy(values) for name, values in learned.items()}
        return {"input_ids": ids, "attention_mask": mask, **tensors}


def padded(rows: Sequence[Ids], pad_id: int) -> tuple[Tensor, Tensor]:
    """Pad rows to the longest of them.

    :return: ids and mask, int64, shape (rows, tokens); the mask is 0 at padding.
    """
    batch = pad(rows, pad_id)
    return torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)


class LengthBatches(torch.utils.data.Sampler[list[int]]):
    """Batches of rows of like length, in an order that the seed and the epoch alone decide.

    Nothing is drawn from the process's random numbers, so that a run that goes on after a kill
    sees the batches that it would have seen.

    :param lengths: tokens of every row.
    :param batch_size: rows in a batch, over all processes; the last of a pool may be smaller.
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


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each entry."""
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def asymmetric(
    logits: Tensor, targets: Tensor, positive: float, negative: float, clip: float
) -> Tensor:
    """Play down easy absent labels more than easy present ones.

    Ridnik et al. 2021, Asymmetric Loss for Multi-Label Classification, equations 4 to 7; the factor
    is differentiated as well, as the paper has it.

    :param targets: of the shape of the logits, in [0, 1].
    :param positive: gamma of present labels.
    :param negative: gamma of absent labels.
    :param clip: probability margin: that of an absent label is lowered by it, to 0 at the least.
    :return: same shape.
    """
    p = logits.sigmoid()
    shifted = (p - clip).clamp(min=1e-8)
    present = (1 - p).clamp(min=1e-8) ** positive * nn.functional.logsigmoid(logits)
    absent_log = nn.functional.logsigmoid(-logits) if clip == 0 else (1 - shifted).log()
    absent = shifted**negative * absent_log
    return -(targets * present + (1 - targets) * absent)


def choose_loss(config: TrainConfig) -> Elementwise:
    """Return the loss that a run asks for."""
    if config.loss == "bce":
        return bce
    return partial(
        asymmetric,
        positive=config.asymmetric_positive,
        negative=config.asymmetric_negative,
        clip=config.asymmetric_clip,
    )


def masked_sum(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    row_weights: Tensor,
    teacher: Tensor | None = None,
    share: float = 0.0,
    loss: Elementwise = bce,
) -> Tensor:
    """Add up the loss over the known entries, mixed with a teacher's probabilities.

    The loss of a step is the sum over its batches divided by the sum of their `loss_scale`: it is
    the same however the step's rows are split into batches, and over processes.

    :param logits: shape (batch, labels).
    :param targets: same shape, in [0, 1].
    :param weights: same shape; 0 for unknown.
    :param row_weights: shape (batch,): how much each row counts.
    :param teacher: same shape as the logits, probabilities, or None; learned by cross-entropy.
    :param share: of the teacher in the loss; what has no known label learns from it alone.
    :param loss: of the known entries.
    :return: a scalar.
    """
    logits = logits.float()
    rows = row_weights.unsqueeze(1)
    hard = loss(logits, targets) * weights * rows
    if teacher is None:
        return hard.sum()
    soft = bce(logits, teacher) * rows
    known = (weights > 0).float()
    mixed = (1 - share) * hard + (1 - (1 - share) * known) * soft
    return mixed.sum()


def loss_scale(weights: Tensor, row_weights: Tensor, *, taught: bool) -> Tensor:
    """Return how much a batch counts: its entries' weights, all of them where there is a teacher.

    :param weights: shape (batch, labels).
    :param row_weights: shape (batch,).
    :return: a scalar.
    """
    if taught:
        return row_weights.sum() * weights.shape[1]
    return (weights * row_weights.unsqueeze(1)).sum()
