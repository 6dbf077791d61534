"""A noisy course made smooth, with intervals, and the share of something with its interval.

Smoothing is the Nadaraya-Watson kernel estimator (1964) over a speaker's own utterances, each with
a weight. Its interval is Wilson's (1927) for a proportion, at the effective sample size of the
weights (Kish, 1965) over the dispersion of a quasi-binomial model (Wedderburn, 1974): a value in
[0, 1] with a mean of m varies at most like a coin that falls on 1 with probability m, and how much
less it does is estimated from the speaker's own utterances, as if two more had varied like coins.
The interval stays inside [0, 1] and is wide where only one or two utterances stand behind a point.
It speaks of how few utterances there are, not of the classifier's own errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_REACH = 4.0  # bandwidths beyond which nothing counts
_HALF_LIVES = 10.0
_PRIOR = 2.0  # utterances that are taken to vary like coins


@dataclass(frozen=True, eq=False)
class Curve:
    """A smoothed course.

    :param level: float64, shape (utterances,) or (utterances, labels), in [0, 1]; NaN where
        nothing readable is near.
    :param low: same shape, the interval's lower end.
    :param high: same shape, its upper end.
    """

    level: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Share:
    """How much of what a speaker said is something.

    :param value: weighted share of the utterances, in [0, 1]; None if nothing was readable.
    :param low: the interval's lower end.
    :param high: its upper end.
    :param count: readable utterances.
    """

    value: float | None
    low: float
    high: float
    count: int


def smooth(values: Array, weights: Array, bandwidth: float, confidence: float) -> Curve:
    """Smooth over utterances before and after, by a Gaussian kernel.

    :param values: float64, shape (utterances,) or (utterances, labels), in [0, 1].
    :param weights: float64, shape (utterances,), at least 0.
    :param bandwidth: standard deviation of the kernel, in utterances.
    """
    reach = min(int(np.ceil(_REACH * bandwidth)), max(len(values) - 1, 0))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bandwidth) ** 2)
    return _kernel_smooth(values, weights, kernel, confidence)


def running(values: Array, weights: Array, half_life: float, confidence: float) -> Curve:
    """Smooth over the past alone, as one sees it while the dialogue goes on.

    An exponentially weighted moving average (Roberts, 1959) that starts from nothing.

    :param values: float64, shape (utterances,), in [0, 1].
    :param weights: float64, shape (utterances,), at least 0.
    :param half_life: in utterances.
    """
    reach = min(int(np.ceil(_HALF_LIVES * half_life)), max(len(values) - 1, 0))
    ages = np.arange(-reach, reach + 1)
    kernel = np.where(ages >= 0, 0.5 ** (np.maximum(ages, 0) / half_life), 0.0)
    return _kernel_smooth(values, weights, kernel, confidence)


def _kernel_smooth(values: Array, weights: Array, kernel: Array, confidence: float) -> Curve:
    if not len(values):
        return Curve(values, values, values)
    table = values.reshape(len(values), -1)
    mass = _convolve(weights, kernel)
    known = mass > 1e-9
    mass = np.where(known, mass, 1.0)
    level = np.column_stack([_convolve(weights * column, kernel) / mass for column in table.T])
    level = np.where(known[:, None], np.clip(level, 0.0, 1.0), np.nan)
    squares = np.where(known, _convolve(weights**2, kernel**2), 1.0)
    own = weights * kernel[len(kernel) // 2] / mass  # of its own smoothed value
    count = (mass**2 / squares)[:, None] / _dispersion(table, level, weights, own)
    low, high = wilson(level, count, confidence)
    return Curve(*(array.reshape(values.shape) for array in (level, low, high)))


def _dispersion(values: Array, level: Array, weights: Array, own: Array) -> Array:
    """Return variance over that of coins, in (0, 1]; shape (labels,)."""
    read = weights > 0
    middle = np.clip(level[read], 1e-4, 1 - 1e-4)
    pearson = weights[read, None] * (values[read] - middle) ** 2 / (middle * (1 - middle))
    freedom = float((weights * (1 - own)).sum())
    ratio: Array = (_PRIOR + pearson.sum(axis=0)) / (_PRIOR + freedom)
    return np.minimum(ratio, 1.0)


def _convolve(values: Array, kernel: Array) -> Array:
    # A kernel is never longer than twice the values, so that "same" would cut the wrong side.
    reach = len(kernel) // 2
    return np.convolve(values, kernel)[reach : reach + len(values)]


def wilson(share: Array, count: Array, confidence: float) -> tuple[Array, Array]:
    """Give both ends of Wilson's score interval of a proportion.

    :param share: in [0, 1].
    :param count: observations behind each, not necessarily whole.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    scale = 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    half = z / scale * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # Rounding must not put the share itself outside.
    low, high = np.minimum(middle - half, share), np.maximum(middle + half, share)
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def share_of(present: NDArray[np.bool_], weights: Array, confidence: float) -> Share:
    """Give the weighted share of utterances, with its interval.

    :param present: bool, shape (utterances,).
    :param weights: float64, same shape; 0 leaves one out.
    """
    count = int(np.count_nonzero(weights))
    if not count:
        return Share(None, 0.0, 1.0, 0)
    value = float(weights[present].sum() / weights.sum())
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    low, high = wilson(np.array(value), np.array(effective), confidence)
    return Share(value, float(low), float(high), count)
