from __future__ import annotations

import json

import numpy as np
import pytest

from ov_emotions.metrics import (
    bootstrap_intervals,
    expected_calibration_error,
    label_intervals,
    paired_differences,
    score,
)

LABELS = ("a", "b")
TARGETS = np.array([[1, 0], [1, 1], [0, -1], [0, 1]], dtype=np.int8)
PREDICTED = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.bool_)


def test_scores_equal_those_counted_by_hand():
    scores = score(TARGETS, PREDICTED, LABELS)
    # a: 1 hit of 2 given and 2 present. b, without its unknown row: 1 hit of 1 given, 2 present.
    a, b = scores.labels["a"], scores.labels["b"]
    assert a.f1 == pytest.approx(1 / 2)
    assert (b.precision, b.recall, b.support, b.predicted) == (1.0, 0.5, 2, 1)
    assert b.f1 == pytest.approx(2 / 3)
    assert scores.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.weighted_f1 == pytest.approx((2 * 1 / 2 + 2 * 2 / 3) / 4)
    assert scores.micro_f1 == pytest.approx(2 * 2 / (4 + 3))
    assert scores.exact_match == pytest.approx(1 / 4)
    assert scores.rows == 4
    plain = json.loads(json.dumps(scores.to_dict()))
    assert plain["labels"]["b"]["f1"] == 0.666667
    other = PREDICTED.copy()
    other[2, 1] = False  # a decision on what is unknown
    assert score(TARGETS, other, LABELS) == scores


@pytest.mark.parametrize(
    ("targets", "predicted", "weighted", "macro", "labels"),
    [
        # Weights are supports: 3 rows and 1.
        ([[1, 1], [1, 0], [1, 0]], [[1, 0]] * 3, 3 / 4, 1 / 2, {"a": 1, "b": 0}),
        # Known nowhere, a label is left out.
        ([[1, -1], [0, -1]], [[1, 0], [0, 0]], 1, 1, {"a": 1}),
        # Known, with neither rows nor predictions, it has F1 0.
        ([[1, 0], [1, 0]], [[1, 0], [1, 0]], 1, 1 / 2, {"a": 1, "b": 0}),
        (np.zeros((0, 2)), np.zeros((0, 2)), 0, 0, {}),
    ],
)
def test_means_take_in_the_labels_that_are_annotated(targets, predicted, weighted, macro, labels):
    scores = score(np.array(targets, np.int8), np.array(predicted, np.bool_), LABELS)
    assert (scores.weighted_f1, scores.macro_f1) == (weighted, macro)
    assert {name: entry.f1 for name, entry in scores.labels.items()} == labels


def _sample(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    targets = rng.integers(-1, 2, (rows, 3)).astype(np.int8)
    return targets, (targets == 1) ^ (rng.random((rows, 3)) < 0.25)


def test_intervals_contain_what_was_measured_and_repeat_with_the_seed():
    targets, predicted = _sample(400)
    targets[:, 2] = -1
    measured = score(targets, predicted, ("a", "b", "c"))
    intervals = bootstrap_intervals(targets, predicted, 500, seed=1)
    for name, (low, high) in intervals.items():
        assert low < getattr(measured, name) < high
    by_label = label_intervals(targets, predicted, ("a", "b", "c"), 500, 1)
    assert list(by_label) == ["a", "b"], "what is not annotated is left out"
    for label, (low, high) in by_label.items():
        assert low <= measured.labels[label].f1 <= high
    assert bootstrap_intervals(targets, predicted, 500, seed=1) == intervals
    assert bootstrap_intervals(targets, predicted, 500, seed=2) != intervals


def _noisy(targets, share, seed):
    flips = np.random.default_rng(seed).random(targets.shape) < share
    return (targets == 1) ^ flips


def test_a_paired_difference_is_that_of_the_scores_and_lies_in_its_interval():
    targets, _ = _sample(400)
    good, bad = _noisy(targets, 0.05, 1), _noisy(targets, 0.25, 2)
    difference = paired_differences(targets, bad, good, 500, 1)
    for name, found in difference.items():
        scores = [getattr(score(targets, p, ("a", "b", "c")), name) for p in (good, bad)]
        assert found["value"] == pytest.approx(scores[0] - scores[1], abs=1e-5)
        assert 0 < found["low"] < found["value"] < found["high"]
    same = paired_differences(targets, bad, bad, 200, 1)
    assert same["weighted_f1"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    # What both find hard cancels out: the interval is narrower than a model's own.
    other = bad.copy()
    other[:5] = ~other[:5]
    paired = paired_differences(targets, bad, other, 500, 1)["weighted_f1"]
    low, high = bootstrap_intervals(targets, bad, 500, 1)["weighted_f1"]
    assert paired["high"] - paired["low"] < (high - low) / 2


def test_calibration_error_is_zero_for_frequencies_and_large_for_boasts():
    targets = np.array([[1], [0], [0], [0]], dtype=np.int8)
    calibrated = np.full((4, 1), 0.25, dtype=np.float32)
    assert expected_calibration_error(calibrated, targets)[0] == pytest.approx(0.0)
    assert expected_calibration_error(calibrated + 0.7, targets)[0] == pytest.approx(0.7)
    assert np.isnan(expected_calibration_error(calibrated, targets - 2)[0])
    # Opposite errors in different bins do not cancel.
    apart = np.array([[0.4], [0.6]], dtype=np.float32)
    assert expected_calibration_error(apart, targets[[1, 0]])[0] == pytest.approx(0.4)
