"""What training makes smaller."""

from __future__ import annotations

from torch import Tensor, nn


def masked_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    row_weights: Tensor,
    teacher: Tensor | None,
    share: float,
) -> Tensor:
    """Binary cross-entropy over the known entries, mixed with a teacher's probabilities.

    :param logits: shape (batch, labels).
    :param targets: same shape, in [0, 1].
    :param weights: same shape; 0 for unknown.
    :param row_weights: shape (batch,): how much each row counts.
    :param teacher: same shape as the logits, probabilities, or None.
    :param share: of the teacher in the loss; what has no known label learns from it alone.
    :return: a scalar.
    """
    loss = nn.functional.binary_cross_entropy_with_logits
    logits = logits.float()
    rows = row_weights.unsqueeze(1)
    hard = loss(logits, targets, reduction="none") * weights * rows
    if teacher is None:
        return hard.sum() / (weights * rows).sum().clamp(min=1e-6)
    soft = loss(logits, teacher, reduction="none") * rows
    known = (weights > 0).float()
    mixed = (1 - share) * hard + (1 - (1 - share) * known) * soft
    return mixed.mean() / row_weights.mean().clamp(min=1e-6)
