"""How a careful user of a peer batches: by 64, in the given order or sorted by length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 64
EARLIER_LENGTH = 32
"""What the earlier projects padded and cut every text to."""


def batched(texts: list[str], probabilities: Callable[[list[str]], Any], *, by_length: bool) -> Any:
    """Score all texts in batches.

    :param texts: raw texts.
    :param probabilities: of a batch, numpy, shape (batch, labels).
    :param by_length: sort by characters first, the longest first, and restore the order.
    :return: numpy, shape (texts, labels).
    """
    order = np.arange(len(texts))
    if by_length:
        order = np.argsort([-len(text) for text in texts], kind="stable")
    found = [
        probabilities([texts[i] for i in order[start : start + BATCH]])
        for start in range(0, len(texts), BATCH)
    ]
    scored = np.concatenate(found)
    answer = np.empty_like(scored)
    answer[order] = scored
    return answer


def sigmoid(logits: Any) -> Any:
    """Turn logits, numpy, into probabilities."""
    return 1.0 / (1.0 + np.exp(-logits))
