"""Scores that no row of validation had a part in, what a change makes of them, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import SEED, load, rendered
from ov_emotions.metrics import score
from ov_emotions.thresholds import Fit, cross_fit, fit_thresholds

METRICS = ("weighted_f1", "macro_f1")
ALL = "all"
"""How the rows of all sets together are called."""


def cross_fitted(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int8],
    labels: Sequence[str],
    fit: Fit = fit_thresholds,
    origins: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Give weighted and macro F1, each row at thresholds that were fitted on the other folds.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape.
    :param origins: the set of each row.
    :return: of all rows, and of each set's where they are told.
    """
    predicted = cross_fit(probabilities, targets, fit, SEED)
    sets = {ALL: np.ones(len(targets), dtype=bool)}
    sets |= {name: np.array(origins) == name for name in dict.fromkeys(origins)}
    found = {}
    for name, mine in sets.items():
        scores = score(targets[mine], predicted[mine], labels)
        found[name] = {
            "rows": int(mine.sum()),
            "weighted_f1": scores.weighted_f1,
            "macro_f1": scores.macro_f1,
        }
    return found


def summarize(runs: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the runs of one row together.

    :param runs: scores of each seed, by metric.
    :param base: the base's, of the same seeds in the same order.
    :return: per metric the mean, the standard deviation over seeds, and the difference to the base
        paired by seed as mean, smallest and largest.
    """
    answer: dict[str, Any] = {}
    for name in METRICS:
        ours, theirs = (np.array([run[name] for run in taken]) for taken in (runs, base))
        difference = ours - theirs
        answer[name] = {
            "mean": round(float(ours.mean()), 5),
            "sd": round(float(ours.std(ddof=1)), 5) if len(ours) > 1 else None,
            "difference": {
                "mean": round(float(difference.mean()), 5),
                "min": round(float(difference.min()), 5),
                "max": round(float(difference.max()), 5),
            },
        }
    return answer


def verdict(row: dict[str, Any]) -> str:
    """Say in a word or two what can be said of a change: only what every seed agrees on counts."""
    spans = [row[name]["difference"] for name in METRICS]
    better = [span["min"] > 0 for span in spans]
    worse = [span["max"] < 0 for span in spans]
    if any(better) and not any(worse):
        return "helps" if all(better) else f"helps {'weighted' if better[0] else 'macro'}"
    if any(worse) and not any(better):
        return "hurts" if all(worse) else f"hurts {'weighted' if worse[0] else 'macro'}"
    return "mixed" if any(better) else "not told"


def render(path: Path) -> str:
    """Render what `collect` wrote: the rows of each group sorted by what they bring."""
    results = load(path.name, path.parent)
    base, *others = results["rows"]
    groups = list(dict.fromkeys(row["group"] for row in others))
    others.sort(
        key=lambda row: (groups.index(row["group"]), -row["weighted_f1"]["difference"]["mean"])
    )
    named = {"mark": path.stem, "results": results, "base": base, "rows": others}
    return rendered("training.md", verdict=verdict, **named)
