from __future__ import annotations

import json

import numpy as np
import pytest

from ov_emotions.metrics import bootstrap_intervals, score

LABELS = ("a", "b")
TARGETS = np.array([[1, 0], [1, 1], [0, -1], [0, 1]], dtype=np.int8)
PREDICTED = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.bool_)


def test_scores_equal_those_counted_by_hand():
    scores = score(TARGETS, PREDICTED, LABELS)
    # a: 1 hit of 2 given and 2 present. b, without its unknown row: 1 hit of 1 given, 2 present.
    assert scores.labels["a"].f1 == pytest.approx(1 / 2)
    assert scores.labels["b"].precision == 1.0
    assert scores.labels["b"].recall == pytest.approx(1 / 2)
    assert scores.labels["b"].f1 == pytest.approx(2 / 3)
    assert (scores.labels["b"].support, scores.labels["b"].predicted) == (2, 1)
    assert scores.macro_f1 == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.weighted_f1 == pytest.approx((2 * 1 / 2 + 2 * 2 / 3) / 4)
    assert scores.micro_f1 == pytest.approx(2 * 2 / (4 + 3))
    assert scores.exact_match == pytest.approx(1 / 4)
    assert scores.rows == 4


def test_weights_are_supports():
    targets = np.array([[1, 1], [1, 0], [1, 0]], dtype=np.int8)
    predicted = np.array([[1, 0], [1, 0], [1, 0]], dtype=np.bool_)
    scores = score(targets, predicted, LABELS)
    assert scores.weighted_f1 == pytest.approx(3 / 4)
    assert scores.macro_f1 == pytest.approx(1 / 2)


def test_decisions_on_unknown_targets_change_nothing():
    other = PREDICTED.copy()
    other[2, 1] = False
    assert score(TARGETS, PREDICTED, LABELS) == score(TARGETS, other, LABELS)


def test_a_label_that_is_nowhere_known_is_left_out():
    targets = np.array([[1, -1], [0, -1]], dtype=np.int8)
    scores = score(targets, targets == 1, LABELS)
    assert list(scores.labels) == ["a"]
    assert scores.macro_f1 == 1.0


def test_a_known_label_without_rows_and_predictions_has_f1_zero():
    targets = np.array([[1, 0], [1, 0]], dtype=np.int8)
    scores = score(targets, targets == 1, LABELS)
    assert scores.labels["b"].f1 == 0.0
    assert scores.macro_f1 == 0.5
    assert scores.weighted_f1 == 1.0


def test_no_rows_score_zero():
    scores = score(np.zeros((0, 2), dtype=np.int8), np.zeros((0, 2), dtype=np.bool_), LABELS)
    assert (scores.rows, scores.weighted_f1, scores.macro_f1, scores.exact_match) == (0, 0, 0, 0)


def test_scores_become_plain_rounded_json():
    plain = json.loads(json.dumps(score(TARGETS, PREDICTED, LABELS).to_dict()))
    assert plain["labels"]["b"]["f1"] == 0.666667
    assert plain["labels"]["b"]["support"] == 2


def _sample(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    targets = rng.integers(-1, 2, (rows, 3)).astype(np.int8)
    return targets, (targets == 1) ^ (rng.random((rows, 3)) < 0.25)


def test_intervals_contain_what_was_measured():
    targets, predicted = _sample(400)
    measured = score(targets, predicted, ("a", "b", "c"))
    intervals = bootstrap_intervals(targets, predicted, 500, seed=1)
    low, high = intervals["weighted_f1"]
    assert low < measured.weighted_f1 < high
    low, high = intervals["macro_f1"]
    assert low < measured.macro_f1 < high


def test_intervals_shrink_with_rows():
    widths = []
    for rows in (100, 1600):
        low, high = bootstrap_intervals(*_sample(rows), 300, seed=1)["macro_f1"]
        widths.append(high - low)
    # Four times narrower in theory.
    assert widths[1] < widths[0] / 2


def test_a_perfect_answer_has_an_interval_of_one_point():
    targets, _ = _sample(200)
    assert bootstrap_intervals(targets, targets == 1, 100, seed=1) == {
        "weighted_f1": (1.0, 1.0),
        "macro_f1": (1.0, 1.0),
    }


def test_intervals_repeat_with_the_seed():
    sample = _sample(100)
    assert bootstrap_intervals(*sample, 50, seed=1) == bootstrap_intervals(*sample, 50, seed=1)
    assert bootstrap_intervals(*sample, 50, seed=1) != bootstrap_intervals(*sample, 50, seed=2)


def test_labels_known_nowhere_do_not_lower_the_macro_interval():
    targets = np.array([[1, -1], [0, -1]] * 20, dtype=np.int8)
    intervals = bootstrap_intervals(targets, targets == 1, 50, seed=1)
    assert intervals["macro_f1"] == (1.0, 1.0)
