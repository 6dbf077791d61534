"""What training makes smaller."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ov_emotions.data.dataset import UNKNOWN
from ov_emotions.training.config import ClassWeighting, TrainConfig

Elementwise = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets in [0, 1] to losses, all of the same shape."""


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each entry."""
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def focal(logits: Tensor, targets: Tensor, gamma: float, alpha: float) -> Tensor:
    """Cross-entropy times (1 - p_t)^gamma (Lin et al. 2017, Focal Loss for Dense Object Detection).

    For targets between 0 and 1 the factor is |target - p|^gamma, which is the same at 0 and 1
    (Li et al. 2020, Generalized Focal Loss).

    :param logits: any shape.
    :param targets: same shape, in [0, 1].
    :param gamma: 0 leaves cross-entropy.
    :param alpha: weight of a present label, 1 - alpha of an absent one; below 0 for none.
    :return: same shape.
    """
    # Not quite 0, where the slope of a root is infinite.
    distance = (targets - logits.sigmoid()).abs().clamp(min=1e-8)
    loss = distance**gamma * bce(logits, targets)
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return loss


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
    if config.loss == "focal":
        return partial(focal, gamma=config.focal_gamma, alpha=config.focal_alpha)
    if config.loss == "asymmetric":
        return partial(
            asymmetric,
            positive=config.asymmetric_positive,
            negative=config.asymmetric_negative,
            clip=config.asymmetric_clip,
        )
    return bce


def positive_factors(
    targets: NDArray[np.int8], weighting: ClassWeighting, beta: float
) -> NDArray[np.float32]:
    """Say how much more a present label counts than an absent one.

    Each label is a problem of two classes, absent and present, and a class counts by one over its
    number of rows, the root of that, or one over its effective number of rows,
    (1 - beta^n) / (1 - beta) (Cui et al. 2019, Class-Balanced Loss).

    :param targets: shape (rows, labels); 1 present, 0 absent, UNKNOWN not counted.
    :param weighting: none gives ones.
    :param beta: of the effective number.
    :return: float32, shape (labels,); 1 for a label that is never present or never absent.
    """
    present = (targets == 1).sum(axis=0).astype(np.float64)
    absent = ((targets != 1) & (targets != UNKNOWN)).sum(axis=0).astype(np.float64)
    factors = np.ones(targets.shape[1])
    counted = (present > 0) & (absent > 0)
    if weighting == "effective":
        effective_absent, effective_present = (
            -np.expm1(np.log(beta) * np.stack([absent, present]))
            if beta > 0
            else np.ones((2, len(present)))
        )
        factors[counted] = effective_absent[counted] / effective_present[counted]
    elif weighting != "none":
        factors[counted] = absent[counted] / present[counted]
        if weighting == "sqrt_inverse":
            factors = np.sqrt(factors)
    return factors.astype(np.float32)


def masked_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    row_weights: Tensor,
    teacher: Tensor | None,
    share: float,
    loss: Elementwise = bce,
) -> Tensor:
    """Mean loss over the known entries, mixed with a teacher's probabilities.

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
        return hard.sum() / (weights * rows).sum().clamp(min=1e-6)
    soft = bce(logits, teacher) * rows
    known = (weights > 0).float()
    mixed = (1 - share) * hard + (1 - (1 - share) * known) * soft
    return mixed.mean() / row_weights.mean().clamp(min=1e-6)


def loss_scale(
    weights: NDArray[np.float32], row_weights: NDArray[np.float32], taught: bool
) -> float:
    """Return what `masked_loss` divides by, up to a constant factor.

    The mean over a batch is the sum of the means over its parts, each times the part's scale over
    the batch's.

    :param weights: shape (rows, labels).
    :param row_weights: shape (rows,).
    :param taught: whether there is a teacher.
    """
    counted = row_weights if taught else weights * row_weights[:, None]
    return float(counted.sum(dtype=np.float64))
