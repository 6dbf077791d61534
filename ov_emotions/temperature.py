"""Temperature calibration: probabilities that say how often a label is there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import InputError
from ov_emotions.metrics import expected_calibration_error
from ov_emotions.thresholds import sigmoid

TemperatureScope = Literal["global", "per-label"]
_LIMIT = 20.0
"""Temperatures lie between 1 / 20 and 20: labels that logits separate would ask for 0."""


def fit_temperatures(
    logits: NDArray[np.float32], targets: NDArray[np.int8], scope: TemperatureScope = "global"
) -> NDArray[np.float64]:
    """Fit the temperature that makes the log-loss of sigmoid(logits / T) least.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), for sigmoids. The loss is convex
    in 1 / T, so bisection on its derivative finds the one minimum.

    :param logits: float32, shape (rows, labels); rows with infinite ones are left out.
    :param targets: int8, same shape: 1, 0 or -1 for unknown, which is left out.
    :param scope: one temperature for all labels, or one each.
    :return: float64, shape (labels,); 1 where a label is never, or always, there.
    :raises InputError: if there is no such scope, or no row to fit on.
    """
    if scope not in get_args(TemperatureScope):
        raise InputError(f"{scope!r} is none of {', '.join(get_args(TemperatureScope))}")
    usable = np.isfinite(logits) & (targets >= 0)
    if not usable.any():
        raise InputError("there is no annotated label to fit a temperature on")
    wide = logits.astype(np.float64)
    if scope == "global":
        common = _fit_one(wide[usable], targets[usable] == 1)
        return np.full(logits.shape[1], common)
    columns = range(logits.shape[1])
    return np.array(
        [_fit_one(wide[usable[:, i], i], targets[usable[:, i], i] == 1) for i in columns]
    )


def _fit_one(logits: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    if present.all() or not present.any():
        return 1.0
    low, high = -np.log(_LIMIT), np.log(_LIMIT)
    for _ in range(60):
        middle = (low + high) / 2
        shares = 0.5 + 0.5 * np.tanh(0.5 * np.exp(middle) * logits)
        if float((logits * (shares - present)).mean()) > 0:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def mapped_thresholds(
    thresholds: NDArray[np.float32], temperatures: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Move thresholds along with the probabilities, so that decisions stay.

    :param thresholds: float32, shape (labels,), in (0, 1).
    :param temperatures: float64, same shape.
    :return: float32, same shape, in (0, 1).
    """
    wide = thresholds.astype(np.float64)
    logits = (np.log(wide) - np.log1p(-wide)) / temperatures
    margin = np.finfo(np.float32).eps
    found: NDArray[np.float32] = np.clip(1 / (1 + np.exp(-logits)), margin, 1 - margin)
    return found.astype(np.float32)


@dataclass(frozen=True)
class Reliability:
    """How often a label is there among texts with about the same probability.

    :param ece: expected calibration error, in [0, 1]; None where nothing is known.
    :param confidence: per bin the mean probability; bins without rows are left out.
    :param frequency: per bin the share of rows with the label.
    :param rows: per bin.
    """

    ece: float | None
    confidence: tuple[float, ...]
    frequency: tuple[float, ...]
    rows: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def reliability(
    probabilities: NDArray[np.float32], targets: NDArray[np.int8], bins: int = 15
) -> Reliability:
    """Measure calibration over all columns taken together; give one column for one label.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape: 1, 0 or -1 for unknown, which is left out.
    :param bins: of equal width.
    :return: the diagram and the error.
    """
    known = targets >= 0
    column, present = probabilities[known].astype(np.float64), targets[known] == 1
    if not len(column):
        return Reliability(None, (), (), ())
    place = np.minimum((column * bins).astype(np.int64), bins - 1)
    rows = np.bincount(place, minlength=bins)
    filled = rows > 0
    sums = (np.bincount(place, weights=w, minlength=bins)[filled] for w in (column, present))
    confidence, frequency = (total / rows[filled] for total in sums)
    flat = probabilities[known][:, None], targets[known][:, None]
    return Reliability(
        round(float(expected_calibration_error(*flat, bins)[0]), 6),
        tuple(np.round(confidence, 6).tolist()),
        tuple(np.round(frequency, 6).tolist()),
        tuple(rows[filled].tolist()),
    )


def log_loss(logits: NDArray[np.float32], targets: NDArray[np.int8]) -> float:
    """Give the mean log-loss over known targets with finite logits.

    :param logits: float32, shape (rows, labels).
    :param targets: int8, same shape: 1, 0 or -1 for unknown.
    :return: in nats.
    """
    usable = np.isfinite(logits) & (targets >= 0)
    wide = logits[usable].astype(np.float64)
    return float((np.logaddexp(0, wide) - wide * (targets[usable] == 1)).mean())


def calibration_facts(
    logits: NDArray[np.float32], targets: NDArray[np.int8], labels: tuple[str, ...]
) -> dict[str, Any]:
    """Measure calibration: of all labels together and of each.

    :param logits: float32, shape (rows, labels).
    :param targets: int8, same shape.
    :param labels: names of the columns.
    :return: `log_loss`, `all` and by label in `labels`, as plain values.
    """
    scores = sigmoid(logits)
    each = {
        label: reliability(scores[:, [i]], targets[:, [i]]).to_dict()
        for i, label in enumerate(labels)
    }
    known = [entry["ece"] for entry in each.values() if entry["ece"] is not None]
    return {
        "log_loss": round(log_loss(logits, targets), 6),
        "mean_label_ece": round(float(np.mean(known)), 6) if known else None,
        "all": reliability(scores, targets).to_dict(),
        "labels": each,
    }
