"""Thresholds and temperatures: applied, fitted, and put into bundles.

Throughout, `probabilities` and `logits` are float32, shape (rows, labels); `targets` are int8, the
same shape: 1, 0 or -1 for unknown, which is left out; thresholds are float32, shape (labels,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.errors import ExportError, InputError
from ov_emotions.metrics import score
from ov_emotions.schema import Task

if TYPE_CHECKING:
    import openvino as ov

Probabilities = NDArray[np.float32]
Targets = NDArray[np.int8]
Fit = Callable[[Probabilities, Targets], Probabilities]
"""Gives thresholds."""

_MARGIN = np.finfo(np.float32).eps
"""Where a model is sure, a probability can be 0 or 1 in float32; a threshold must not be."""


def to_probabilities(logits: NDArray[np.float32], task: Task = "multi_label") -> Probabilities:
    """Turn logits into probabilities as the model's task asks for.

    A sigmoid of each, or the softmax of each row; 0 for -inf, which a text that never reached the
    model has throughout.
    """
    if task == "multi_label":
        return sigmoid(logits)
    highest = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(highest), highest, 0))
    probabilities: Probabilities = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    return probabilities


def sigmoid(logits: NDArray[np.float32]) -> Probabilities:
    """Turn logits of any shape into probabilities, float32, without overflow."""
    # tanh saturates where exp would overflow.
    probabilities: Probabilities = 0.5 + 0.5 * np.tanh(0.5 * logits.astype(np.float32))
    return probabilities


def apply_thresholds(
    probabilities: Probabilities, thresholds: NDArray[np.float32], task: Task = "multi_label"
) -> NDArray[np.bool_]:
    """Decide which labels are present: those whose probability reaches the threshold.

    Of a single-label model only the most probable label can be present. A label that has no
    threshold has 0.
    """
    reached = probabilities >= thresholds
    if task == "single_label":
        best = probabilities.max(axis=1, keepdims=True, initial=0)
        first = np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
        reached &= first & (best > 0)
    return reached


# Fitting thresholds


def fit_thresholds(
    probabilities: Probabilities, targets: Targets, *, smooth: int = 5, resamples: int = 100
) -> NDArray[np.float32]:
    """Fit the threshold of each label that maximises its F1, on rows kept apart for this purpose.

    Every label's F1 depends on its own threshold alone, so this maximises both the macro and the
    weighted mean. The best cut of one sample is a noisy estimate where a label is rare, so the
    median over bootstrap resamples is returned.

    :param smooth: pseudo-count in the denominator of F1, which keeps a rare label from a cut that
        only a couple of rows support.
    :param resamples: of the bootstrap; 0 takes the best cut of the rows as they are.
    :return: probabilities in (0, 1); 0.5 for a label without positives.
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
    return np.clip(fitted, _MARGIN, 1 - _MARGIN)


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


ThresholdMethod = Literal["bootstrap-median", "per-label", "global"]
Metric = Literal["weighted", "macro"]

METHODS: dict[ThresholdMethod, str] = {
    "bootstrap-median": "each label's best cut, as the median over bootstrap resamples",
    "per-label": "each label's best cut on all rows",
    "global": "one threshold for all labels",
}
"""What each way does, for people."""


FOLDS = 5
_GRID = 200


def threshold_fitter(method: ThresholdMethod, metric: Metric = "weighted") -> Fit:
    """Choose a way to fit thresholds.

    A label's own F1 depends on its own threshold alone, so that the ways that look at each label
    by itself serve both means at once; `global` weighs labels against each other, and there the
    metric decides.
    """
    for given, known in ((method, get_args(ThresholdMethod)), (metric, get_args(Metric))):
        if given not in known:
            raise InputError(f"{given!r} is none of {', '.join(known)}")
    ways: dict[ThresholdMethod, Fit] = {
        "bootstrap-median": fit_thresholds,
        "per-label": lambda p, t: fit_thresholds(p, t, smooth=0, resamples=0),
        "global": lambda p, t: _fit_global(p, t, metric),
    }
    return ways[method]


def _fit_global(probabilities: Probabilities, targets: Targets, metric: Metric) -> Probabilities:
    """Take the best of cuts that lie as densely as the probabilities do."""
    cuts = np.unique(np.quantile(probabilities, np.linspace(0, 1, _GRID + 1)[1:-1]))
    scores = [_f1(targets, probabilities >= cut)[metric] for cut in cuts]
    best = np.clip(cuts[int(np.argmax(scores))], _MARGIN, 1 - _MARGIN)
    return np.full(targets.shape[1], best, dtype=np.float32)


def _f1(targets: Targets, predicted: NDArray[np.bool_]) -> dict[Metric, float]:
    scores = score(targets, predicted, [str(i) for i in range(targets.shape[1])])
    return {"weighted": scores.weighted_f1, "macro": scores.macro_f1}


def cross_fit(
    probabilities: Probabilities,
    targets: Targets,
    fit: Fit,
    seed: int,
    folds: int = FOLDS,
    applied: Probabilities | None = None,
) -> NDArray[np.bool_]:
    """Decide every row at thresholds that were fitted on the other folds.

    :param applied: probabilities of the same rows to decide by; None takes those fitted to.
    :raises InputError: if there are fewer rows than folds.
    """
    if len(targets) < folds:
        raise InputError(f"{len(targets)} rows are too few to cross-fit in {folds} folds")
    order = np.random.default_rng(seed).permutation(len(targets))
    decided_by = probabilities if applied is None else applied
    predicted = np.zeros(targets.shape, dtype=np.bool_)
    for fold in range(folds):
        held = order[fold::folds]
        rest = np.setdiff1d(order, held)
        cuts = fit(probabilities[rest], targets[rest])
        predicted[held] = apply_thresholds(decided_by[held], cuts)
    return predicted


@dataclass(frozen=True)
class MethodScore:
    """How a way, fitted for a metric, does on rows that had no part in its thresholds.

    :param weighted_f1: mean over repetitions of the folds, as `macro_f1` is.
    :param spread: standard deviation of weighted and macro F1 over the repetitions.
    """

    method: ThresholdMethod
    metric: Metric
    weighted_f1: float
    macro_f1: float
    spread: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        weighted, macro = (round(value, 6) for value in self.spread)
        return {
            "method": self.method,
            "metric": self.metric,
            "weighted_f1": round(self.weighted_f1, 6),
            "macro_f1": round(self.macro_f1, 6),
            "spread": {"weighted_f1": weighted, "macro_f1": macro},
        }


def compare_methods(
    probabilities: Probabilities, targets: Targets, metric: Metric, seed: int, repeats: int = 3
) -> list[MethodScore]:
    """Score every way by cross-fitting, the rows divided anew `repeats` times."""
    found = []
    for method in METHODS:
        fit = threshold_fitter(method, metric)
        taken = [
            _f1(targets, cross_fit(probabilities, targets, fit, seed + i)) for i in range(repeats)
        ]
        values = np.array([(scores["weighted"], scores["macro"]) for scores in taken])
        weighted, macro = values.mean(axis=0)
        spread = (float(values[:, 0].std()), float(values[:, 1].std()))
        found.append(MethodScore(method, metric, float(weighted), float(macro), spread))
    return found


# Temperatures

TemperatureScope = Literal["global", "per-label"]
_LIMIT = 20.0
"""Temperatures lie between 1 / 20 and 20: labels that logits separate would ask for 0."""


def fit_temperatures(
    logits: NDArray[np.float32], targets: Targets, scope: TemperatureScope = "global"
) -> NDArray[np.float64]:
    """Fit the temperature that makes the log-loss of sigmoid(logits / T) least.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), for sigmoids. The loss is convex
    in 1 / T, so bisection on its derivative finds the one minimum. Infinite logits are left out.

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
    """Move thresholds along with the probabilities, so that decisions stay."""
    wide = thresholds.astype(np.float64)
    logits = (np.log(wide) - np.log1p(-wide)) / temperatures
    found: NDArray[np.float32] = np.clip(1 / (1 + np.exp(-logits)), _MARGIN, 1 - _MARGIN)
    return found.astype(np.float32)


# Bundles


def with_thresholds(
    bundle: Bundle, output: Path, thresholds: NDArray[np.float32], record: dict[str, Any]
) -> Bundle:
    """Write a bundle with other thresholds, and without the figures taken at the old ones.

    :param output: a new or empty folder, or an older bundle, which is replaced.
    :param record: how they were fitted; `provenance.thresholds` says so.
    :raises BundleError: if the folder cannot be written.
    """
    manifest = bundle.manifest
    changed = manifest.replace(
        thresholds=dict(zip(manifest.labels, thresholds.tolist(), strict=True)),
        metrics={},
        provenance={**manifest.provenance, "thresholds": record},
    )
    return bundle.write_changed(output, changed)


def scale_logits(model: ov.Model, factors: NDArray[np.float64]) -> None:
    """Multiply the logits inside an IR by factors, shape (labels,).

    :raises ExportError: if the IR has no output `logits`.
    """
    from openvino import opset13 as ops

    try:
        logits = model.output("logits").get_node().input_value(0)
    except RuntimeError as error:
        raise ExportError("the IR has no output called logits to calibrate") from error
    scaled = ops.multiply(logits, ops.constant(factors[None].astype(np.float32)))
    replace_logits(model, scaled, "calibrated_logits")


def replace_logits(model: ov.Model, node: ov.Node, name: str) -> None:
    """Have another node, by that name, give the output `logits` of an IR."""
    result = model.output("logits").get_node()
    old = result.input_value(0)
    names = old.get_names()
    old.set_names(set())
    node.set_friendly_name(name)
    node.output(0).set_names(names)
    result.input(0).replace_source_output(node.output(0))
    model.validate_nodes_and_infer_types()
