"""Multi-label metrics on numpy arrays; unknown targets are left out, label by label.

Throughout, `targets` are int8, shape (rows, labels): 1, 0 or -1 for unknown; `predicted` are bool,
the same shape; and `labels` name the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ov_emotions.schema import Schema, to_builtins

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]

MEANS = ("weighted_f1", "macro_f1")


class LabelF1(Schema, frozen=True):
    """One label's scores: `support` are rows that have it, `predicted` rows that were given it."""

    precision: Share
    recall: Share
    f1: Share
    support: Count
    predicted: Count


@dataclass(frozen=True)
class Scores:
    """F1 over the labels that a set annotates.

    :param weighted_f1: mean of the labels' F1, weighted by support.
    :param macro_f1: plain mean of the labels' F1.
    :param micro_f1: F1 over all decisions.
    :param samples_f1: mean of the rows' F1; a row with no label, known or given, counts as 1.
    :param exact_match: share of rows with every known label right (subset accuracy).
    :param labels: per label, those with no known target left out.
    :param rows: rows that were scored.
    """

    weighted_f1: float
    macro_f1: float
    micro_f1: float
    samples_f1: float
    exact_match: float
    labels: dict[str, LabelF1]
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, rounded to six digits."""
        plain: dict[str, Any] = _rounded(to_builtins(self))
        return plain


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def score(targets: NDArray[np.int8], predicted: NDArray[np.bool_], labels: Sequence[str]) -> Scores:
    """Compare decisions with targets; a label with neither support nor predictions has F1 0."""
    known = targets >= 0
    present, given = targets == 1, predicted & known
    true = present & predicted
    per_label: dict[str, LabelF1] = {}
    for i, label in enumerate(labels):
        if not known[:, i].any():
            continue
        hits, support, count = (int(part[:, i].sum()) for part in (true, present, given))
        per_label[label] = LabelF1(
            precision=_ratio(hits, count),
            recall=_ratio(hits, support),
            f1=_ratio(2 * hits, support + count),
            support=support,
            predicted=count,
        )
    f1s = np.array([entry.f1 for entry in per_label.values()])
    supports = np.array([entry.support for entry in per_label.values()])
    row_sizes = (present.sum(axis=1) + given.sum(axis=1)).astype(np.float64)
    row_f1 = np.where(row_sizes > 0, 2 * true.sum(axis=1) / np.maximum(row_sizes, 1), 1.0)
    right = ((predicted == present) | ~known).all(axis=1)
    return Scores(
        weighted_f1=_ratio(float((f1s * supports).sum()), float(supports.sum())),
        macro_f1=float(f1s.mean()) if len(f1s) else 0.0,
        micro_f1=_ratio(2 * float(true.sum()), float(supports.sum() + int(given.sum()))),
        samples_f1=float(row_f1.mean()) if len(row_f1) else 0.0,
        exact_match=float(right.mean()) if len(right) else 0.0,
        labels=per_label,
        rows=len(targets),
    )


def _annotated(targets: NDArray[np.int8], labels: Sequence[str]) -> list[str]:
    return [label for i, label in enumerate(labels) if (targets[:, i] >= 0).any()]


@lru_cache(maxsize=4)
def _draws(rows: int, samples: int, seed: int) -> NDArray[np.float32]:
    """Draw resamples once for all that is computed on the same rows.

    In float32, which counts exactly up to 2**24 and multiplies ten times as fast as int64.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(rows, np.full(rows, 1 / rows), samples).astype(np.float32)


def _resampled(
    targets: NDArray[np.int8], predicted: NDArray[np.bool_], weights: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Give weighted F1, macro F1 and the F1 of each annotated label for every resample.

    `weights` says how often each row was drawn, shape (samples, rows); the F1s of the labels have
    shape (samples, annotated labels).
    """
    known = targets >= 0
    columns = known.any(axis=0)
    present, given = (targets == 1)[:, columns], (predicted & known)[:, columns]
    per_row = np.concatenate([present & given, present, given], axis=1).astype(np.float32)
    hits, support, predictions = np.split((weights @ per_row).astype(np.float64), 3, axis=1)
    f1 = 2 * hits / np.maximum(support + predictions, 1)
    return {
        "weighted_f1": (f1 * support).sum(axis=1) / np.maximum(support.sum(axis=1), 1),
        "macro_f1": f1.mean(axis=1),
        "labels": f1,
    }


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return round(float(low), 6), round(float(high), 6)


def bootstrap_intervals(
    targets: NDArray[np.int8], predicted: NDArray[np.bool_], samples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Say how far weighted and macro F1 might lie from what was measured, by resampling rows.

    :return: for `weighted_f1` and `macro_f1` the 2.5th and 97.5th percentile.
    """
    found = _resampled(targets, predicted, _draws(len(targets), samples, seed))
    return {name: _interval(found[name]) for name in MEANS}


def label_intervals(
    targets: NDArray[np.int8],
    predicted: NDArray[np.bool_],
    labels: Sequence[str],
    samples: int,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Do for every annotated label's F1 what `bootstrap_intervals` does for the means."""
    f1 = _resampled(targets, predicted, _draws(len(targets), samples, seed))["labels"]
    return {label: _interval(f1[:, i]) for i, label in enumerate(_annotated(targets, labels))}


def _paired(
    targets: NDArray[np.int8],
    reference: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    samples: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Give by metric the differences: of all rows first, then of the resamples."""
    once = np.ones((1, len(targets)), dtype=np.float32)
    draws = np.concatenate([once, _draws(len(targets), samples, seed)])
    ours, theirs = (_resampled(targets, d, draws) for d in (predicted, reference))
    return {name: ours[name] - theirs[name] for name in ours}


def _difference(values: NDArray[np.float64]) -> dict[str, float]:
    low, high = _interval(values[1:])
    return {"value": round(float(values[0]), 6), "low": low, "high": high}


def paired_differences(
    targets: NDArray[np.int8],
    reference: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    samples: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Say how much better or worse one set of decisions is than another on the same rows.

    Every resample draws the same rows for both (the paired bootstrap), so that what both find hard
    cancels out; the interval is much narrower than the two models' own.

    :return: for `weighted_f1` and `macro_f1` the difference (`value`) and its 95 % interval (`low`,
        `high`); above 0 where `predicted` is better.
    """
    difference = _paired(targets, reference, predicted, samples, seed)
    return {name: _difference(difference[name]) for name in MEANS}


def paired_comparison(
    targets: NDArray[np.int8],
    reference: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    labels: Sequence[str],
    *,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Do what `paired_differences` does for the labels too, and say how sure the sign is.

    :return: `weighted_f1`, `macro_f1` and, by annotated label, `labels`; each with `value`, `low`,
        `high` and `share_not_better`, the share of resamples in which `predicted` is not better: it
        reads like a one-sided p-value, and is not corrected for how many labels one looks at.
    """

    def told(values: NDArray[np.float64]) -> dict[str, float]:
        share = round(float((values[1:] <= 0).mean()), 4)
        return {**_difference(values), "share_not_better": share}

    found = _paired(targets, reference, predicted, samples, seed)
    by_label = enumerate(_annotated(targets, labels))
    return {
        **{name: told(found[name]) for name in MEANS},
        "labels": {label: told(found["labels"][:, i]) for i, label in by_label},
    }


def expected_calibration_error(
    probabilities: NDArray[np.float32], targets: NDArray[np.int8], bins: int = 15
) -> NDArray[np.float64]:
    """Say by how much each label's probabilities miss how often the label is there.

    The mean over bins of equal width, weighted by their rows, of the distance between the mean
    probability and the share of rows with the label: Naeini et al., "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning" (2015), label by label.

    :return: float64, shape (labels,), in [0, 1]; NaN for a label with no known target.
    """
    errors = np.full(probabilities.shape[1], np.nan)
    for i in range(probabilities.shape[1]):
        known = targets[:, i] >= 0
        if not known.any():
            continue
        column, present = probabilities[known, i].astype(np.float64), targets[known, i] == 1
        place = np.minimum((column * bins).astype(np.int64), bins - 1)
        gaps = np.bincount(place, weights=column - present, minlength=bins)
        errors[i] = np.abs(gaps).sum() / len(column)
    return errors
