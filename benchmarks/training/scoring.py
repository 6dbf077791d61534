"""Scores that no row of validation had a part in, what a change makes of them, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import SEED, rendered
from ov_emotions.metrics import score
from ov_emotions.thresholds import Fit, cross_fit, fit_thresholds

METRICS = ("weighted_f1", "macro_f1")


def cross_fitted(
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int8],
    labels: Sequence[str],
    fit: Fit = fit_thresholds,
) -> dict[str, float]:
    """Give weighted and macro F1, each row at thresholds that were fitted on the other folds.

    :param probabilities: float32, shape (rows, labels).
    :param targets: int8, same shape.
    """
    predicted = cross_fit(probabilities, targets, fit, SEED)
    scores = score(targets, predicted, labels)
    return {"weighted_f1": scores.weighted_f1, "macro_f1": scores.macro_f1}


def summarize(runs: Sequence[dict[str, float]], base: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Put the runs of one row together.

    :param runs: scores and minutes of each seed.
    :param base: the base's, of the same seeds in the same order.
    :return: per metric the mean, the standard deviation over seeds, and the difference to the base
        paired by seed as mean, smallest and largest; and the mean minutes.
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
    answer["minutes"] = round(float(np.mean([run["minutes"] for run in runs])), 2)
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


def render(results: dict[str, Any]) -> str:
    """Render what `collect` wrote: the rows of each group sorted by what they bring."""
    base, *others = results["rows"]
    groups = list(dict.fromkeys(row["group"] for row in others))
    others.sort(
        key=lambda row: (groups.index(row["group"]), -row["weighted_f1"]["difference"]["mean"])
    )
    return rendered("training.md", results=results, base=base, rows=others, verdict=verdict)
