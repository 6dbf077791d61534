from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ov_emotions.bundle import is_threshold
from ov_emotions.metrics import score
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid


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
    probabilities = np.concatenate([np.full(40, 0.2), np.full(40, 0.3)]).astype(np.float32)[:, None]
    targets = np.repeat([0, 1], 40).astype(np.int8)[:, None]
    threshold = fit_thresholds(probabilities, targets)
    assert 0.2 < threshold[0] < 0.3
    decided = apply_thresholds(probabilities, threshold)
    assert score(targets, decided, ("a",)).macro_f1 == 1.0


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
    probabilities = np.clip(
        0.1 + 0.2 * targets + rng.normal(0, 0.06, (600, 1)), 0.001, 0.999
    ).astype(np.float32)
    fitted = apply_thresholds(probabilities, fit_thresholds(probabilities, targets))
    half = apply_thresholds(probabilities, np.array([0.5], dtype=np.float32))
    assert score(targets, fitted, ("a",)).macro_f1 > score(targets, half, ("a",)).macro_f1 + 0.3


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
def test_every_fitted_threshold_is_one_that_a_bundle_accepts(sample):
    probabilities, targets = sample
    assert all(is_threshold(value) for value in fit_thresholds(probabilities, targets))


def test_fitting_repeats():
    rng = np.random.default_rng(2)
    probabilities = rng.random((100, 3), dtype=np.float32)
    targets = rng.integers(0, 2, (100, 3)).astype(np.int8)
    np.testing.assert_array_equal(
        fit_thresholds(probabilities, targets), fit_thresholds(probabilities, targets)
    )


def test_a_probability_at_its_threshold_counts_as_present():
    decided = apply_thresholds(
        np.array([[0.5, 0.5]], dtype=np.float32), np.array([0.5, 0.6], dtype=np.float32)
    )
    assert decided.tolist() == [[True, False]]
