"""What training makes smaller: cross-entropy over the labels that are known, and the teachers'."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ov_emotions.data.dataset import UNKNOWN
from ov_emotions.training.settings import TrainConfig

Elementwise = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets in [0, 1] to losses, all of the same shape."""


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each entry."""
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def asymmetric(
    logits: Tensor, targets: Tensor, positive: float, negative: float, clip: float
) -> Tensor:
    """Play down easy absent labels more than easy present ones.

    Ridnik et al. 2021, Asymmetric Loss for Multi-Label Classification, equations 4 to 7; the factor
    is differentiated as well, as the paper has it.

    :param logits: any shape.
    :param targets: same shape, in [0, 1].
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


def inverse_factors(targets: NDArray[np.int8]) -> NDArray[np.float32]:
    """Say how many times a label is absent for each time that it is present.

    :param targets: shape (rows, labels); 1 present, 0 absent, UNKNOWN not counted.
    :return: float32, shape (labels,); 1 for a label that is never present or never absent.
    """
    present = (targets == 1).sum(axis=0).astype(np.float64)
    absent = ((targets != 1) & (targets != UNKNOWN)).sum(axis=0).astype(np.float64)
    counted = (present > 0) & (absent > 0)
    factors = np.ones(targets.shape[1])
    factors[counted] = absent[counted] / present[counted]
    return factors.astype(np.float32)


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
    :return: the sum, a scalar.
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
    :param taught: whether there is a teacher.
    :return: a scalar.
    """
    if taught:
        return row_weights.sum() * weights.shape[1]
    return (weights * row_weights.unsqueeze(1)).sum()
