"""Multi-label metrics on numpy arrays; unknown targets (-1) are left out, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelScore:
    """One label's precision, recall and F1.

    :param support: rows that have the label.
    :param predicted: rows that were given it.
    """

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True)
class Scores:
    """F1 over the labels that a set annotates.

    :param weighted_f1: mean of the labels' F1, weighted by support.
    :param macro_f1: plain mean of the labels' F1.
    :param micro_f1: F1 over all decisions.
    :param exact_match: share of rows with every known label right.
    :param labels: per label, those with no known target left out.
    :param rows: rows that were scored.
    """

    weighted_f1: float
    macro_f1: float
    micro_f1: float
    exact_match: float
    labels: dict[str, LabelScore]
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, rounded to six digits."""
        return {key: _rounded(value) for key, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def score(targets: NDArray[np.int8], predicted: NDArray[np.bool_], labels: Sequence[str]) -> Scores:
    """Compare decisions with targets.

    :param targets: int8, shape (rows, labels): 1, 0 or -1 for unknown.
    :param predicted: bool, same shape.
    :param labels: names of the columns.
    :return: the scores; a label with neither support nor predictions has F1 0.
    """
    known = targets >= 0
    true = (targets == 1) & predicted
    per_label: dict[str, LabelScore] = {}
    for i, label in enumerate(labels):
        if not known[:, i].any():
            continue
        hits = int(true[:, i].sum())
        support = int((targets[:, i] == 1).sum())
        given = int((predicted[:, i] & known[:, i]).sum())
        per_label[label] = LabelScore(
            precision=_ratio(hits, given),
            recall=_ratio(hits, support),
            f1=_ratio(2 * hits, support + given),
            support=support,
            predicted=given,
        )
    f1s = np.array([entry.f1 for entry in per_label.values()])
    supports = np.array([entry.support for entry in per_label.values()])
    given_total = int((predicted & known).sum())
    right = ((predicted == (targets == 1)) | ~known).all(axis=1)
    return Scores(
        weighted_f1=_ratio(float((f1s * supports).sum()), float(supports.sum())),
        macro_f1=float(f1s.mean()) if len(f1s) else 0.0,
        micro_f1=_ratio(2 * float(true.sum()), float(supports.sum() + given_total)),
        exact_match=float(right.mean()) if len(right) else 0.0,
        labels=per_label,
        rows=len(targets),
    )


def bootstrap_intervals(
    targets: NDArray[np.int8], predicted: NDArray[np.bool_], samples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Say how far weighted and macro F1 might lie from what was measured, by resampling rows.

    :param targets: int8, shape (rows, labels): 1, 0 or -1 for unknown.
    :param predicted: bool, same shape.
    :param samples: resamples with replacement.
    :param seed: of the resampling.
    :return: for `weighted_f1` and `macro_f1` the 2.5th and 97.5th percentile.
    """
    known = targets >= 0
    columns = known.any(axis=0)
    present, given = (targets == 1)[:, columns], (predicted & known)[:, columns]
    per_row = np.concatenate([present & given, present, given], axis=1).astype(np.float64)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(targets), np.full(len(targets), 1 / len(targets)), samples)
    hits, support, predictions = np.split(weights @ per_row, 3, axis=1)
    f1 = 2 * hits / np.maximum(support + predictions, 1)
    figures = {
        "weighted_f1": (f1 * support).sum(axis=1) / np.maximum(support.sum(axis=1), 1),
        "macro_f1": f1.mean(axis=1),
    }
    return {
        name: (
            round(float(np.percentile(values, 2.5)), 6),
            round(float(np.percentile(values, 97.5)), 6),
        )
        for name, values in figures.items()
    }
