"""Ways to fit thresholds, and how well each does on rows that had no part in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import InputError
from ov_emotions.metrics import score
from ov_emotions.threshold_names import METHODS, Metric, ThresholdMethod
from ov_emotions.thresholds import apply_thresholds, fit_thresholds

FOLDS = 5
_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_GRID = 200

Probabilities = NDArray[np.float32]
Targets = NDArray[np.int8]
Fit = Callable[[Probabilities, Targets], Probabilities]


def threshold_fitter(method: ThresholdMethod, metric: Metric = "weighted", seed: int = 0) -> Fit:
    """Choose a way to fit thresholds.

    A label's own F1 depends on its own threshold alone, so that the ways that look at each label
    by itself serve both means at once; `global` and `shrunk` weigh labels against each other, and
    there the metric decides.

    :param method: the way.
    :param metric: weighted or macro F1, which is to be high.
    :param seed: of the folds of `shrunk`.
    :return: takes probabilities, float32, shape (rows, labels), and targets, int8, same shape (1, 0
        or -1 for unknown); gives thresholds, float32, shape (labels,).
    :raises InputError: if there is no such way or metric.
    """
    for given, known in ((method, get_args(ThresholdMethod)), (metric, get_args(Metric))):
        if given not in known:
            raise InputError(f"{given!r} is none of {', '.join(known)}")
    ways: dict[ThresholdMethod, Fit] = {
        "bootstrap-median": fit_thresholds,
        "per-label": lambda p, t: fit_thresholds(p, t, smooth=0, resamples=0),
        "global": lambda p, t: _fit_global(p, t, metric),
        "shrunk": lambda p, t: _fit_shrunk(p, t, metric, seed),
    }
    return ways[method]


def f1_of(
    targets: Targets, predicted: NDArray[np.bool_], labels: Sequence[str] | None = None
) -> dict[Metric, float]:
    """Give the two means of the labels' F1.

    :param targets: int8, shape (rows, labels).
    :param predicted: bool, same shape.
    :param labels: names of the columns; they do not matter here.
    :return: by metric.
    """
    names = labels or [str(i) for i in range(targets.shape[1])]
    scores = score(targets, predicted, names)
    return {"weighted": scores.weighted_f1, "macro": scores.macro_f1}


def cross_fit(
    probabilities: Probabilities, targets: Targets, fit: Fit, seed: int, folds: int = FOLDS
) -> NDArray[np.bool_]:
    """Decide every row at thresholds that were fitted on the other folds.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape.
    :param fit: as `threshold_fitter` gives it.
    :param seed: of the folds.
    :param folds: at least 2.
    :return: bool, shape (rows, labels).
    :raises InputError: if there are fewer rows than folds.
    """
    if len(targets) < folds:
        raise InputError(f"{len(targets)} rows are too few to cross-fit in {folds} folds")
    order = np.random.default_rng(seed).permutation(len(targets))
    predicted = np.zeros(targets.shape, dtype=np.bool_)
    for fold in range(folds):
        held = order[fold::folds]
        rest = np.setdiff1d(order, held)
        cuts = fit(probabilities[rest], targets[rest])
        predicted[held] = apply_thresholds(probabilities[held], cuts)
    return predicted


@dataclass(frozen=True)
class MethodScore:
    """How a way does on rows that had no part in its thresholds.

    :param method: the way.
    :param metric: that it was fitted for.
    :param weighted_f1: mean over repetitions of the folds.
    :param macro_f1: likewise.
    :param spread: standard deviation of weighted and macro F1 over the repetitions.
    """

    method: ThresholdMethod
    metric: Metric
    weighted_f1: float
    macro_f1: float
    spread: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "method": self.method,
            "metric": self.metric,
            "weighted_f1": round(self.weighted_f1, 6),
            "macro_f1": round(self.macro_f1, 6),
            "spread": {
                "weighted_f1": round(self.spread[0], 6),
                "macro_f1": round(self.spread[1], 6),
            },
        }


def compare_methods(
    probabilities: Probabilities, targets: Targets, metric: Metric, seed: int, repeats: int = 3
) -> list[MethodScore]:
    """Score every way by cross-fitting; what `shrunk` chooses is chosen inside each fold.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape.
    :param metric: what to fit for.
    :param seed: of the folds; the repetitions count on from it.
    :param repeats: how often the rows are divided anew.
    :return: a score for each way.
    """
    found = []
    for method in METHODS:
        fit = threshold_fitter(method, metric, seed)
        taken = [
            f1_of(targets, cross_fit(probabilities, targets, fit, seed + i)) for i in range(repeats)
        ]
        values = np.array([(scores["weighted"], scores["macro"]) for scores in taken])
        weighted, macro = values.mean(axis=0)
        spread = (float(values[:, 0].std()), float(values[:, 1].std()))
        found.append(MethodScore(method, metric, float(weighted), float(macro), spread))
    return found


def _fit_global(probabilities: Probabilities, targets: Targets, metric: Metric) -> Probabilities:
    """Take the best of cuts that lie as densely as the probabilities do."""
    cuts = np.unique(np.quantile(probabilities, np.linspace(0, 1, _GRID + 1)[1:-1]))
    scores = [f1_of(targets, probabilities >= cut)[metric] for cut in cuts]
    margin = np.finfo(np.float32).eps
    best = np.clip(cuts[int(np.argmax(scores))], margin, 1 - margin)
    return np.full(targets.shape[1], best, dtype=np.float32)


def _logit(values: Probabilities) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    found: NDArray[np.float64] = np.log(wide) - np.log1p(-wide)
    return found


def _between(own: Probabilities, common: Probabilities, strength: float) -> Probabilities:
    """Go from each label's own threshold towards the common one, along their logits."""
    mixed = (1 - strength) * _logit(own) + strength * _logit(common)
    return (1 / (1 + np.exp(-mixed))).astype(np.float32)


def _fit_shrunk(
    probabilities: Probabilities, targets: Targets, metric: Metric, seed: int
) -> Probabilities:
    """Choose the strength by cross-fitting, then fit on all rows with it."""

    def fit(strength: float) -> Fit:
        return lambda p, t: _between(fit_thresholds(p, t), _fit_global(p, t, metric), strength)

    # Fitting is dear and mixing is cheap: each fold is fitted once for all strengths.
    order = np.random.default_rng(seed).permutation(len(targets))
    predicted = {s: np.zeros(targets.shape, dtype=np.bool_) for s in _STRENGTHS}
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        rest = np.setdiff1d(order, held)
        own = fit_thresholds(probabilities[rest], targets[rest])
        common = _fit_global(probabilities[rest], targets[rest], metric)
        for strength, decisions in predicted.items():
            cuts = _between(own, common, strength)
            decisions[held] = apply_thresholds(probabilities[held], cuts)
    best = max(_STRENGTHS, key=lambda s: f1_of(targets, predicted[s])[metric])
    return fit(best)(probabilities, targets)
