"""What training makes smaller."""

from __future__ import annotations

from torch import Tensor, nn


def masked_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, teacher: Tensor | None, share: float
) -> Tensor:
    """Binary cross-entropy over the known entries, mixed with a teacher's probabilities.

    :param logits: shape (batch, labels).
    :param targets: same shape, in [0, 1].
    :param weights: same shape; 0 for unknown.
    :param teacher: same shape, probabilities, or None.
    :param share: of the teacher in the loss; rows without any known label learn from it alone.
    :return: a scalar.
    """
    loss = nn.functional.binary_cross_entropy_with_logits
    logits = logits.float()
    hard = loss(logits, targets, reduction="none") * weights
    if teacher is None:
        return hard.sum() / weights.sum().clamp(min=1e-6)
    soft = loss(logits, teacher, reduction="none")
    known = (weights > 0).float()
    return ((1 - share) * hard + (1 - (1 - share) * known) * soft).mean()
