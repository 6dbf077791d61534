"""Per-label decision thresholds: fitting them on logits, applying them to probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits into probabilities without overflow.

    :param logits: any shape.
    :return: float32, same shape, in [0, 1].
    """
    # tanh saturates where exp would overflow.
    probabilities: NDArray[np.float32] = 0.5 + 0.5 * np.tanh(0.5 * logits.astype(np.float32))
    return probabilities


def _best_threshold(
    probabilities: NDArray[np.float32], present: NDArray[np.bool_], smoothing: float
) -> float:
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order].astype(np.float64)
    hits = np.cumsum(present[order])
    given = np.arange(1, len(ranked) + 1)
    f1 = 2 * hits / (given + present.sum() + smoothing)
    # A cut is possible only between two different probabilities.
    possible = np.append(ranked[:-1] > ranked[1:], True)
    best = int(np.argmax(np.where(possible, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


def fit_thresholds(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int8],
    *,
    smooth: int = 5,
    resamples: int = 100,
) -> NDArray[np.float32]:
    """Fit the threshold of each label that maximises its F1.

    Every label's F1 depends on its own threshold alone, so this maximises both the macro and the
    weighted mean. The best cut of one sample is a noisy estimate where a label is rare, so the
    median over bootstrap resamples is returned.

    :param probabilities: float32, shape (rows, labels), of rows kept apart for this purpose.
    :param targets: int8, same shape: 1, 0 or -1 for unknown, which is left out.
    :param smooth: pseudo-count in the denominator of F1, which keeps a rare label from a cut that
        only a couple of rows support.
    :param resamples: of the bootstrap; 0 takes the best cut of the rows as they are.
    :return: float32, shape (labels,), probabilities in (0, 1); 0.5 for a label without positives.
    """
    rng = np.random.default_rng(0)
    fitted = np.full(probabilities.shape[1], 0.5, dtype=np.float32)
    for i in range(probabilities.shape[1]):
        known = targets[:, i] >= 0
        column, present = probabilities[known, i], targets[known, i] == 1
        if not present.any():
            continue
        if not resamples:
            fitted[i] = _best_threshold(column, present, smooth)
            continue
        cuts = []
        for _ in range(resamples):
            sample = rng.integers(0, len(column), len(column))
            if present[sample].any():
                cuts.append(_best_threshold(column[sample], present[sample], smooth))
        fitted[i] = np.median(cuts)
    # Where a model is sure, a probability can be 0 or 1 in float32; a threshold must not be.
    margin = np.finfo(np.float32).eps
    return np.clip(fitted, margin, 1 - margin)


def apply_thresholds(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Decide which labels are present.

    :param probabilities: float32, shape (rows, labels).
    :param thresholds: float32, shape (labels,).
    :return: bool, shape (rows, labels): true where the probability reaches the threshold.
    """
    return probabilities >= thresholds
