"""Labels counted: alone, by row, and together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import UNKNOWN
from ov_emotions.data.statistics.facts import Cooccurrence, Lengths

_PERCENTS = (5, 25, 50, 75, 95, 99)


def labels_per_row(targets: NDArray[np.int8]) -> dict[int, int]:
    """Count rows by how many labels they have.

    :param targets: int8, shape (rows, labels).
    :return: rows by number of labels present, ascending; numbers that no row has are left out.
    """
    numbers, rows = np.unique((targets == 1).sum(axis=1), return_counts=True)
    return dict(zip(numbers.tolist(), rows.tolist(), strict=True))


def fully_known(targets: NDArray[np.int8]) -> int:
    """Count rows whose labels are all annotated."""
    return int((targets != UNKNOWN).all(axis=1).sum())


def lengths(values: NDArray[np.int64]) -> Lengths | None:
    """Describe a distribution.

    :param values: shape (rows,).
    :return: its facts; None without rows.
    """
    if not len(values):
        return None
    quantiles = np.percentile(values, _PERCENTS).tolist()
    return Lengths(
        mean=round(float(values.mean()), 4),
        smallest=int(values.min()),
        quantiles={
            str(percent): round(value, 4)
            for percent, value in zip(_PERCENTS, quantiles, strict=True)
        },
        largest=int(values.max()),
    )


def cooccurrence(targets: NDArray[np.int8]) -> Cooccurrence:
    """Count labels that stand together.

    :param targets: int8, shape (rows, labels).
    :return: counts and shares, shape (labels, labels).
    """
    present = (targets == 1).astype(np.int64)
    known = (targets != UNKNOWN).astype(np.int64)
    both = present.T @ present
    # Rows with the row's label in which the column's label is known.
    base = present.T @ known
    either = base + base.T - both
    return Cooccurrence(
        tuple(map(tuple, both.tolist())),
        _shares(both, either),
        _shares(both, base),
    )


def _shares(
    part: NDArray[np.int64], whole: NDArray[np.int64]
) -> tuple[tuple[float | None, ...], ...]:
    rows: Sequence[Sequence[tuple[int, int]]] = np.stack([part, whole], axis=-1).tolist()
    return tuple(tuple(round(a / b, 6) if b else None for a, b in row) for row in rows)
