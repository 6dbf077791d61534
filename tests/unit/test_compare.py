from __future__ import annotations

import numpy as np
import pytest

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.labels import EKMAN
from ov_emotions.metrics import (
    bootstrap_intervals,
    expected_calibration_error,
    label_intervals,
    paired_differences,
    score,
)
from ov_emotions.quantization.compare import Answers, compare, largest_changes
from ov_emotions.quantization.timing import judge_noise, measure, spread

LABELS = EKMAN.labels


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    targets = (rng.random((300, len(LABELS))) < 0.3).astype(np.int8)
    targets[:50, 1] = -1
    texts = tuple(f"текст {i}" for i in range(300))
    return LabelledTexts(EKMAN, texts, targets, ("x",) * 300, np.arange(300))


def _noisy(targets, share, seed):
    flips = np.random.default_rng(seed).random(targets.shape) < share
    return (targets == 1) ^ flips


def test_a_model_does_not_differ_from_itself(data):
    predicted = _noisy(data.targets, 0.2, 1)
    difference = paired_differences(data.targets, predicted, predicted, 200, 1)
    assert difference["weighted_f1"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_difference_is_that_of_the_scores_and_lies_in_its_interval(data):
    good, bad = _noisy(data.targets, 0.05, 1), _noisy(data.targets, 0.25, 2)
    difference = paired_differences(data.targets, bad, good, 500, 1)
    for name in ("weighted_f1", "macro_f1"):
        scores = [getattr(score(data.targets, p, LABELS), name) for p in (good, bad)]
        found = difference[name]
        assert found["value"] == pytest.approx(scores[0] - scores[1], abs=1e-5)
        assert 0 < found["low"] < found["value"] < found["high"]


def test_a_paired_interval_is_narrower_than_the_models_own(data):
    base = _noisy(data.targets, 0.2, 1)
    other = base.copy()
    other[:5] = ~other[:5]
    paired = paired_differences(data.targets, base, other, 500, 1)["weighted_f1"]
    low, high = bootstrap_intervals(data.targets, base, 500, 1)["weighted_f1"]
    assert paired["high"] - paired["low"] < (high - low) / 2


def test_label_intervals_hold_the_labels_f1_and_leave_out_what_is_not_annotated(data):
    predicted = _noisy(data.targets, 0.2, 1)
    unknown = data.targets.copy()
    unknown[:, 2] = -1
    found = label_intervals(unknown, predicted, LABELS, 500, 1)
    assert set(found) == set(LABELS) - {LABELS[2]}
    for label, entry in score(unknown, predicted, LABELS).labels.items():
        low, high = found[label]
        assert low <= entry.f1 <= high


def test_calibration_error_is_zero_for_frequencies_and_large_for_boasts():
    targets = np.array([[1], [0], [0], [0]], dtype=np.int8)
    calibrated = np.full((4, 1), 0.25, dtype=np.float32)
    assert expected_calibration_error(calibrated, targets)[0] == pytest.approx(0.0)
    assert expected_calibration_error(calibrated + 0.7, targets)[0] == pytest.approx(0.7)
    assert np.isnan(expected_calibration_error(calibrated, targets - 2)[0])


def test_opposite_errors_in_different_bins_do_not_cancel():
    targets = np.array([[0], [1]], dtype=np.int8)
    probabilities = np.array([[0.4], [0.6]], dtype=np.float32)
    assert expected_calibration_error(probabilities, targets)[0] == pytest.approx(0.4)


def test_a_candidate_is_held_against_the_reference(data):
    rng = np.random.default_rng(3)
    reference = rng.random(data.targets.shape).astype(np.float32)
    ours = reference.copy()
    ours[7, 3] = 1 - ours[7, 3] + (0.2 if abs(ours[7, 3] - 0.5) < 0.1 else 0.0)
    both = (Answers(p, p >= 0.5, p >= 0.4) for p in (ours, reference))
    found = compare(data, *both, samples=100, seed=1, folds=5)
    assert found.rows == 300
    assert found.frozen.flipped == pytest.approx(1 / ours.size, abs=1e-6)
    assert found.frozen.flipped_rows == pytest.approx(1 / 300, abs=1e-6)
    assert found.refitted.weighted_f1 != found.frozen.weighted_f1
    (change,) = found.largest_changes
    assert (change.row, change.label, change.text) == (7, LABELS[3], "текст 7")
    assert change.candidate == pytest.approx(ours[7, 3], abs=1e-4)
    assert 0 < found.ece < 1
    assert set(found.ece_labels) == set(LABELS)


def test_the_rows_that_moved_most_come_first(data):
    reference = np.zeros(data.targets.shape, dtype=np.float32)
    ours = reference.copy()
    ours[5, 0], ours[9, 1], ours[11, 2] = 0.1, 0.3, 0.2
    assert [c.row for c in largest_changes(data, ours, reference, 2)] == [9, 11]
    assert largest_changes(data, reference, reference) == ()


# Timing


def test_a_round_gives_percentiles_and_throughput():
    calls = []
    figures = measure(calls.append, ["a", "b"], ["a", "b", "c"])
    assert calls == [["a"], ["b"], ["a", "b", "c"]]
    assert 0 <= figures["p50_ms"] <= figures["p90_ms"] <= figures["p99_ms"]
    assert figures["texts_per_second"] > 0


def test_a_spread_holds_median_and_extremes():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_steady_rounds_are_quiet_and_jumping_ones_noisy():
    quiet = judge_noise({"a": [1.0, 1.02, 0.99], "b": [2.0, 2.1, 2.0]}, (0, 0), (1000, 1))
    assert not quiet["noisy"]
    assert "quiet enough" in quiet["sentence"]
    noisy = judge_noise({"a": [1.0, 2.0, 3.0], "b": [2.0, 4.1, 8.0]}, (0, 0), (1000, 1))
    assert noisy["noisy"]
    assert "too noisy" in noisy["sentence"]


def test_a_processor_that_others_hold_is_noisy_too():
    stolen = judge_noise({"a": [1.0, 1.0]}, (0, 0), (1000, 100))
    assert stolen["noisy"]
    assert stolen["stolen"] == pytest.approx(0.1)
