"""What the means hide: which labels stand in for which, which go together, what went worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.errors import DataError
from ov_emotions.evaluation.results import Interval, Readings
from ov_emotions.evaluation.run import BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED, Scored
from ov_emotions.metrics import (
    bootstrap_intervals,
    label_intervals,
    paired_comparison,
    paired_differences,
    score,
)
from ov_emotions.normalize import normalize
from ov_emotions.thresholds import apply_thresholds, cross_fit, fit_thresholds

if TYPE_CHECKING:
    from ov_emotions.classifier import EmotionClassifier


def analyse(scored: Scored) -> dict[str, Any]:
    """Give what is beside the figures of a split, as fields of its scores."""
    labels = scored.data.label_set.labels
    return {
        "label_intervals_95": label_intervals(
            scored.data.targets, scored.predicted, labels, BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED
        ),
        "confusion": confusion(scored),
        "correlation": correlation(scored),
    }


def confusion(scored: Scored) -> dict[str, dict[str, Any]]:
    """Say what a model answers in place of a label that it misses.

    A multi-label answer has no one wrong class. So, for each label, the rows that have it and were
    not given it are taken (its misses), and for every other label the share of them that were given
    that one, rightly or not; `none` is the share that was given no label at all. The shares may
    add up to more than 1.

    :return: per label `misses` and, where there are any, `given`: shares by label, and `none`.
    """
    labels = scored.data.label_set.labels
    answer: dict[str, dict[str, Any]] = {}
    for i, label in enumerate(labels):
        missed = scored.predicted[(scored.data.targets[:, i] == 1) & ~scored.predicted[:, i]]
        answer[label] = {"misses": len(missed)}
        if len(missed):
            shares = missed.mean(axis=0)
            answer[label]["given"] = {
                other: round(float(shares[j]), 4) for j, other in enumerate(labels) if j != i
            } | {"none": round(float((~missed.any(axis=1)).mean()), 4)}
    return answer


def correlation(scored: Scored) -> list[list[float | None]]:
    """Correlate the labels' probabilities over the rows (Pearson).

    :return: rows and columns in the order of the labels; None where a label's never change.
    """
    wide = scored.probabilities.astype(np.float64)
    centred = wide - wide.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    product = centred.T @ centred
    # A column that does not vary still has a rounding error for a spread.
    varies = np.ptp(wide, axis=0) > 0
    return [
        [
            round(float(product[i, j] / (spread[i] * spread[j])), 4)
            if varies[i] and varies[j]
            else None
            for j in range(len(spread))
        ]
        for i in range(len(spread))
    ]


def worst_errors(scored: Scored, most: int) -> list[dict[str, Any]]:
    """Find the rows whose targets the probabilities contradict most.

    :param most: rows at most; only rows with a wrong decision count.
    :return: the largest mean log-loss over known labels first.
    """
    data, targets = scored.data, scored.data.targets
    labels = data.label_set.labels
    known = targets >= 0
    wide = np.clip(scored.probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    losses = np.where(known, -np.log(np.where(targets == 1, wide, 1 - wide)), 0).sum(axis=1)
    losses /= np.maximum(known.sum(axis=1), 1)
    wrong = ((scored.predicted != (targets == 1)) & known).any(axis=1)
    order = [int(i) for i in np.argsort(-losses, kind="stable") if wrong[i]][:most]

    def names(chosen: Any) -> list[str]:
        return [label for label, taken in zip(labels, chosen, strict=True) if taken]

    return [
        {
            "row": int(data.rows[i]),
            "origin": data.origins[i],
            "text": data.texts[i],
            "true": names(targets[i] == 1),
            "predicted": names(scored.predicted[i]),
            "unknown": names(~known[i]),
            "scores": {
                label: round(float(value), 4)
                for label, value in zip(labels, scored.probabilities[i], strict=True)
            },
            "loss": round(float(losses[i]), 4),
        }
        for i in order
    ]


def compare_scored(
    reference: Sequence[Scored],
    other: Sequence[Scored],
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> dict[str, dict[str, Any]]:
    """Compare decisions by `metrics.paired_comparison`, split by split.

    :raises DataError: if the splits, their rows or labels differ.
    """
    answer = {}
    if [a.name for a in reference] != [b.name for b in other]:
        raise DataError("the two models were scored on different splits")
    for a, b in zip(reference, other, strict=True):
        same = a.data.texts == b.data.texts and np.array_equal(a.data.targets, b.data.targets)
        if not same or a.data.label_set.labels != b.data.label_set.labels:
            raise DataError(f"the two models were scored on different rows of {a.name}")
        answer[a.name] = paired_comparison(
            a.data.targets,
            a.predicted,
            b.predicted,
            a.data.label_set.labels,
            samples=samples,
            seed=seed,
        )
    return answer


def score_readings(classifier: EmotionClassifier, data: LabelledTexts, name: str) -> Readings:
    """Score a model on texts as they are, and on what a recogniser would have written of them.

    Every row is decided at thresholds that were fitted to other rows as written (cross-fitting):
    the difference is what a model loses that is given transcripts and knows nothing of it.

    :param data: labelled texts, with capitals and punctuation.
    :param name: of the split.
    """
    labels, targets = data.label_set.labels, data.targets
    written = classifier.predict_proba(list(data.texts))
    recognised = classifier.predict_proba([normalize(text) for text in data.texts])

    def decide(given: NDArray[np.float32]) -> NDArray[np.bool_]:
        if classifier.task == "single_label":
            none = np.zeros(len(labels), dtype=np.float32)
            return apply_thresholds(given, none, "single_label")
        return cross_fit(written, targets, fit_thresholds, BOOTSTRAP_SEED, applied=given)

    def scored(predicted: NDArray[np.bool_]) -> Interval:
        intervals = bootstrap_intervals(targets, predicted, BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED)
        low, high = intervals["weighted_f1"]
        value = round(score(targets, predicted, labels).weighted_f1, 6)
        return Interval(value=value, low=low, high=high)

    plain, stripped = decide(written), decide(recognised)
    found = paired_differences(targets, plain, stripped, BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED)
    return Readings(
        split=name,
        rows=len(data),
        as_written=scored(plain),
        as_recognised=scored(stripped),
        difference=Interval(**found["weighted_f1"]),
        largest_change=round(float(np.abs(written - recognised).max()), 4),
    )
