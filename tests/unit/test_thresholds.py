"""Thresholds and temperatures: applied, fitted, compared."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ov_emotions.errors import InputError
from ov_emotions.evaluation.calibration import log_loss, reliability
from ov_emotions.manifest import is_threshold
from ov_emotions.metrics import score
from ov_emotions.thresholds import (
    METHODS,
    apply_thresholds,
    compare_methods,
    cross_fit,
    fit_temperatures,
    fit_thresholds,
    mapped_thresholds,
    sigmoid,
    threshold_fitter,
)


def test_sigmoid_has_its_known_values_and_does_not_overflow():
    logits = np.array([0.0, np.log(3.0), -np.log(3.0), 1e4, -1e4, -np.inf], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sigmoid(logits)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [0.5, 0.75, 0.25, 1.0, 0.0, 0.0], atol=1e-6)


@given(hnp.arrays(np.float32, (5, 3), elements=st.floats(allow_nan=False, width=32)))
def test_probabilities_of_any_logits_lie_between_zero_and_one(logits):
    result = sigmoid(logits)
    assert ((result >= 0) & (result <= 1)).all()


def test_a_separable_label_gets_a_threshold_between_its_rows():
    probabilities = np.repeat(np.float32([0.2, 0.3]), 40)[:, None]
    targets = np.repeat([0, 1], 40).astype(np.int8)[:, None]
    assert 0.2 < fit_thresholds(probabilities, targets)[0] < 0.3


def test_unknown_targets_do_not_move_a_threshold():
    rng = np.random.default_rng(0)
    probabilities = rng.random((200, 2), dtype=np.float32)
    targets = (probabilities + rng.normal(0, 0.2, (200, 2)) > 0.7).astype(np.int8)
    masked = np.concatenate([targets, np.full((100, 2), -1, dtype=np.int8)])
    noise = np.concatenate([probabilities, rng.random((100, 2), dtype=np.float32)])
    fitted = fit_thresholds(probabilities, targets)
    np.testing.assert_array_equal(fit_thresholds(noise, masked), fitted)


def test_fitted_thresholds_beat_one_half_on_a_skewed_label():
    rng = np.random.default_rng(1)
    targets = (rng.random((600, 1)) < 0.1).astype(np.int8)
    noise = rng.normal(0, 0.06, (600, 1))
    probabilities = np.clip(0.1 + 0.2 * targets + noise, 0.001, 0.999).astype(np.float32)
    fitted, half = (
        score(targets, apply_thresholds(probabilities, cuts), ("a",)).macro_f1
        for cuts in (fit_thresholds(probabilities, targets), np.float32([0.5]))
    )
    assert fitted > half + 0.3


@pytest.mark.parametrize("value", [0, -1])
def test_a_label_without_a_known_positive_keeps_one_half(value):
    probabilities = np.linspace(0, 1, 10, dtype=np.float32)[:, None]
    targets = np.full((10, 1), value, dtype=np.int8)
    assert fit_thresholds(probabilities, targets) == [0.5]


def test_smoothing_keeps_a_rare_label_from_a_cut_that_one_row_supports():
    # One positive far above all others, the rest among the negatives.
    probabilities = np.array([0.99] + [0.6, 0.59, 0.58, 0.57] * 5, dtype=np.float32)[:, None]
    targets = np.array([1] + [1, 0, 1, 0] * 5, dtype=np.int8)[:, None]
    assert fit_thresholds(probabilities, targets)[0] < 0.6


@given(
    st.integers(1, 30).flatmap(
        lambda rows: st.tuples(
            hnp.arrays(np.float32, (rows, 2), elements=st.floats(0, 1, width=32)),
            hnp.arrays(np.int8, (rows, 2), elements=st.integers(-1, 1)),
        )
    )
)
@settings(max_examples=40, deadline=None)
def test_every_fitted_threshold_is_one_that_a_bundle_accepts_and_comes_again(sample):
    probabilities, targets = sample
    fitted = fit_thresholds(probabilities, targets)
    assert all(is_threshold(value) for value in fitted)
    np.testing.assert_array_equal(fit_thresholds(probabilities, targets), fitted)


# Ways to fit


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    targets = (rng.random((400, 3)) < (0.4, 0.2, 0.02)).astype(np.int8)
    scores = np.clip(0.3 * targets + rng.random(targets.shape) * 0.6, 0, 1).astype(np.float32)
    return scores, targets


@pytest.mark.parametrize("method", METHODS)
def test_every_way_gives_thresholds_within_bounds_even_when_nothing_is_known(rows, method):
    fit = threshold_fitter(method)
    unknown = np.full_like(rows[1], -1)
    for targets in (rows[1], unknown, np.zeros_like(unknown)):
        found = fit(rows[0], targets)
        assert found.shape == (3,)
        assert ((found > 0) & (found < 1)).all()
    fitted = fit(*rows)
    if method == "bootstrap-median":
        np.testing.assert_array_equal(fitted, fit_thresholds(*rows))
    assert (len(set(fitted.tolist())) == 1) == (method == "global")


def test_each_row_is_decided_by_thresholds_of_the_other_folds(rows):
    seen = []

    def fit(scores, _targets):
        seen.append(scores)
        return np.full(3, 0.5, dtype=np.float32)

    decided = cross_fit(*rows, fit, seed=1)
    assert [len(part) for part in seen] == [320] * 5
    np.testing.assert_array_equal(decided, rows[0] >= 0.5)
    with pytest.raises(InputError, match="too few"):
        cross_fit(rows[0][:3], rows[1][:3], fit, seed=1)


def test_ways_are_compared_by_scores_that_repeat(rows):
    first, second = (compare_methods(*rows, "macro", seed=5, repeats=1) for _ in range(2))
    assert first == second
    assert [score.method for score in first] == list(METHODS)


# Temperatures


@pytest.fixture
def overconfident() -> tuple[np.ndarray, np.ndarray]:
    """Logits twice and three times as large as the labels' frequencies warrant."""
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(20_000, 2)).astype(np.float32)
    targets = (rng.random(honest.shape) < sigmoid(honest)).astype(np.int8)
    return honest * np.array([2, 3], dtype=np.float32), targets


def test_a_temperature_undoes_overconfidence(overconfident):
    logits, targets = overconfident
    found = fit_temperatures(logits, targets, "per-label")
    np.testing.assert_allclose(found, [2, 3], rtol=0.05)
    best, same = fit_temperatures(logits, targets, "global")
    assert best == same
    assert 2 < best < 3
    least, *others = (
        log_loss((logits / t).astype(np.float32), targets) for t in (best, 0.9 * best, 1.1 * best)
    )
    assert least < min(others)


def test_unknown_targets_and_empty_texts_are_left_out(overconfident):
    logits, targets = overconfident
    expected = fit_temperatures(logits[100:], targets[100:], "per-label")
    masked, holes = targets.copy(), logits.copy()
    masked[:50], holes[50:100] = -1, -np.inf
    np.testing.assert_allclose(fit_temperatures(holes, masked, "per-label"), expected)
    with pytest.raises(InputError, match="no annotated label"):
        fit_temperatures(logits, np.full_like(targets, -1))


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_of_one_class_keeps_its_logits(value):
    targets = np.full((10, 1), value, dtype=np.int8)
    logits = np.linspace(-1, 1, 10, dtype=np.float32)[:, None]
    assert fit_temperatures(logits, targets, "per-label") == [1.0]


def test_moved_thresholds_keep_decisions(overconfident):
    logits, _ = overconfident
    thresholds = np.array([0.2, 0.7], dtype=np.float32)
    temperatures = np.array([1.7, 0.6])
    moved = mapped_thresholds(thresholds, temperatures)
    after = sigmoid((logits / temperatures).astype(np.float32)) >= moved
    np.testing.assert_array_equal(after, sigmoid(logits) >= thresholds)


def test_reliability_counts_rows_and_leaves_out_the_unknown():
    probabilities = np.array([[0.05], [0.95], [0.95], [0.5]], dtype=np.float32)
    found = reliability(probabilities, np.array([[0], [1], [0], [-1]], dtype=np.int8), bins=10)
    assert (found["rows"], found["frequency"]) == ([1, 2], [0.0, 0.5])
    assert found["ece"] == pytest.approx((0.05 + 2 * 0.45) / 3, abs=1e-5)
    assert reliability(probabilities[:0], np.zeros((0, 1), np.int8))["ece"] is None
