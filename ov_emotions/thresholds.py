"""Thresholds and temperatures: fitting them, applying them, bundles written anew with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle, Task, write_bundle
from ov_emotions.errors import ExportError, InputError
from ov_emotions.metrics import expected_calibration_error, score
from ov_emotions.system import shared_core

if TYPE_CHECKING:
    import openvino as ov


def to_probabilities(
    logits: NDArray[np.float32], task: Task = "multi_label"
) -> NDArray[np.float32]:
    """Turn logits into probabilities as the model's task asks for.

    :param logits: float32, shape (texts, labels); -inf throughout for a text that never reached the
        model.
    :param task: of the model.
    :return: float32, same shape: a sigmoid of each, or the softmax of each row; 0 for -inf.
    """
    if task == "multi_label":
        return sigmoid(logits)
    highest = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(highest), highest, 0))
    probabilities: NDArray[np.float32] = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    return probabilities


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
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32], task: Task = "multi_label"
) -> NDArray[np.bool_]:
    """Decide which labels are present.

    :param probabilities: float32, shape (rows, labels).
    :param thresholds: float32, shape (labels,); 0 for a label that has none.
    :param task: of the model; of a single-label one only the most probable label can be present.
    :return: bool, shape (rows, labels): true where the probability reaches the threshold.
    """
    reached = probabilities >= thresholds
    if task == "single_label":
        best = probabilities.max(axis=1, keepdims=True, initial=0)
        first = np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
        reached &= first & (best > 0)
    return reached


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

Probabilities = NDArray[np.float32]
Targets = NDArray[np.int8]
Fit = Callable[[Probabilities, Targets], Probabilities]


def threshold_fitter(method: ThresholdMethod, metric: Metric = "weighted") -> Fit:
    """Choose a way to fit thresholds.

    A label's own F1 depends on its own threshold alone, so that the ways that look at each label
    by itself serve both means at once; `global` weighs labels against each other, and there the
    metric decides.

    :param method: the way.
    :param metric: weighted or macro F1, which is to be high.
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
    probabilities: Probabilities,
    targets: Targets,
    fit: Fit,
    seed: int,
    folds: int = FOLDS,
    applied: Probabilities | None = None,
) -> NDArray[np.bool_]:
    """Decide every row at thresholds that were fitted on the other folds.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape.
    :param fit: as `threshold_fitter` gives it.
    :param seed: of the folds.
    :param folds: at least 2.
    :param applied: probabilities of the same rows to decide by; None takes those fitted to.
    :return: bool, shape (rows, labels).
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
    """Score every way by cross-fitting.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape.
    :param metric: what to fit for.
    :param seed: of the folds; the repetitions count on from it.
    :param repeats: how often the rows are divided anew.
    :return: a score for each way.
    """
    found = []
    for method in METHODS:
        fit = threshold_fitter(method, metric)
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


def with_thresholds(
    bundle: Bundle, output: Path, thresholds: NDArray[np.float32], record: dict[str, Any]
) -> Bundle:
    """Write a bundle with other thresholds, and without the figures taken at the old ones.

    :param bundle: the model.
    :param output: a new or empty folder, or an older bundle, which is replaced.
    :param thresholds: float32, shape (labels,), in (0, 1).
    :param record: how they were fitted; `provenance.thresholds` says so.
    :return: the bundle as written.
    :raises BundleError: if the folder cannot be written.
    """
    manifest = bundle.manifest
    changed = manifest.replace(
        thresholds=_by_label(manifest.labels, thresholds),
        metrics={},
        provenance={**manifest.provenance, "thresholds": record},
    )
    model = shared_core().read_model(bundle.model_path)
    return write_bundle(output, changed, model, bundle.tokenizer().to_str())


def with_temperatures(
    bundle: Bundle, output: Path, temperatures: NDArray[np.float64], record: dict[str, Any]
) -> Bundle:
    """Write a bundle whose IR divides its logits by temperatures.

    Whatever runs the IR (the classifier, Model Server, Triton) then gives calibrated
    probabilities; thresholds move along, so decisions and the figures taken of them stay.

    :param bundle: the model.
    :param output: a new or empty folder, or an older bundle, which is replaced.
    :param temperatures: float64, shape (labels,), above 0.
    :param record: how they were fitted; added to the list `provenance.temperature`, for a bundle
        may be calibrated more than once.
    :return: the bundle as written.
    :raises ExportError: if the IR has no output `logits`.
    :raises BundleError: if the folder cannot be written.
    """
    manifest = bundle.manifest
    model = shared_core().read_model(bundle.model_path)
    scale_logits(model, 1 / temperatures)
    moved = mapped_thresholds(manifest.threshold_array(), temperatures)
    earlier = list(manifest.provenance.get("temperature", []))
    changed = manifest.replace(
        thresholds=_by_label(manifest.labels, moved),
        provenance={**manifest.provenance, "temperature": [*earlier, record]},
    )
    return write_bundle(output, changed, model, bundle.tokenizer().to_str())


def scale_logits(model: ov.Model, factors: NDArray[np.float64]) -> None:
    """Multiply the logits inside an IR.

    :param model: changed in place.
    :param factors: float64, shape (labels,).
    :raises ExportError: if the IR has no output `logits`.
    """
    from openvino import opset13 as ops

    for result in model.get_results():
        source = result.input_value(0)
        names = source.get_names()
        if "logits" not in names:
            continue
        source.set_names(set())
        scaled = ops.multiply(source, ops.constant(factors[None].astype(np.float32)))
        scaled.set_friendly_name("calibrated_logits")
        scaled.output(0).set_names(names)
        result.input(0).replace_source_output(scaled.output(0))
        model.validate_nodes_and_infer_types()
        return
    raise ExportError("the IR has no output called logits to calibrate")


def _by_label(labels: tuple[str, ...], values: NDArray[np.float32]) -> dict[str, float]:
    return {label: float(value) for label, value in zip(labels, values, strict=True)}
