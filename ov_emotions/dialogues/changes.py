"""Turning points: where the mean of a speaker's negativity changes for good.

Binary segmentation (Scott and Knott, 1974): the split that maximises the weighted CUSUM statistic
of a shift in the mean is kept if a permutation test finds that so large a maximum would seldom
come about by chance, and both sides are searched in turn. The test asks only that utterances could
stand in any order if nothing changed; it compares with the maximum over all splits, and so pays for
the search (as in Matteson and James, 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CELLS = 1_000_000  # numbers that the permutations of one round may hold at once


@dataclass(frozen=True)
class Change:
    """A shift of the mean.

    :param index: of the first value after it.
    :param before: weighted mean of the values since the change before it.
    :param after: weighted mean up to the next change.
    """

    index: int
    before: float
    after: float
    p_value: float


def find_changes(
    values: Array,
    weights: Array,
    *,
    min_segment: int,
    alpha: float,
    permutations: int,
    min_shift: float,
    seed: int,
) -> tuple[Change, ...]:
    """Find the shifts of the mean, in order.

    :param values: float64, shape (n,).
    :param weights: float64, shape (n,), above 0.
    :param min_segment: values on each side at least.
    :param alpha: p-value up to which a shift is kept.
    :param permutations: of the test.
    :param min_shift: difference of the two means at least.
    """
    rng = np.random.default_rng(seed)
    found: dict[int, float] = {}
    pending = [(0, len(values))]
    while pending:
        start, stop = pending.pop()
        if stop - start < 2 * min_segment:
            continue
        piece, mass = values[start:stop], weights[start:stop]
        statistics = _cusum(piece[None], mass[None], min_segment)[0]
        best = int(np.argmax(statistics))
        split = best + min_segment
        p_value = _p_value(piece, mass, min_segment, statistics[best], permutations, alpha, rng)
        if p_value <= alpha:
            found[start + split] = p_value
            pending += [(start + split, stop), (start, start + split)]
    return _strong(values, weights, found, min_shift) if found else ()


def _cusum(values: Array, weights: Array, min_segment: int) -> Array:
    """Return |difference of means| · sqrt(W1·W2 / W) at every split; shape (rows, splits)."""
    mass = np.cumsum(weights, axis=1)
    total = np.cumsum(weights * values, axis=1)
    left = slice(min_segment - 1, values.shape[1] - min_segment)
    w1, s1 = mass[:, left], total[:, left]
    w2, s2 = mass[:, -1:] - w1, total[:, -1:] - s1
    statistics: Array = np.abs(s1 / w1 - s2 / w2) * np.sqrt(w1 * w2 / (w1 + w2))
    return statistics


def _p_value(
    values: Array,
    weights: Array,
    min_segment: int,
    observed: float,
    permutations: int,
    alpha: float,
    rng: np.random.Generator,
) -> float:
    # As many as may exceed before the answer is no; the rest need not be drawn.
    most = int(alpha * (permutations + 1))
    if observed <= 1e-12:
        return 1.0
    at_once = max(_CELLS // len(values), 1)
    exceeding = drawn = 0
    while drawn < permutations:
        rows = min(at_once, permutations - drawn)
        order = rng.permuted(np.tile(np.arange(len(values)), (rows, 1)), axis=1)
        highest = _cusum(values[order], weights[order], min_segment).max(axis=1)
        exceeding += int(np.count_nonzero(highest >= observed * (1 - 1e-12)))
        drawn += rows
        if exceeding >= most:
            break
    return (exceeding + 1) / (drawn + 1)


def _strong(
    values: Array, weights: Array, found: dict[int, float], min_shift: float
) -> tuple[Change, ...]:
    """Drop shifts that are too small, the smallest first, since each merges two segments."""
    kept = sorted(found)
    while True:
        edges = [0, *kept, len(values)]
        means = [float(np.average(values[a:b], weights=weights[a:b])) for a, b in pairwise(edges)]
        shifts = [abs(after - before) for before, after in pairwise(means)]
        if not shifts or min(shifts) >= min_shift:
            break
        del kept[int(np.argmin(shifts))]
    return tuple(
        Change(index, means[i], means[i + 1], found[index]) for i, index in enumerate(kept)
    )
