from __future__ import annotations

import numpy as np
import pytest

from ov_emotions.errors import InputError
from ov_emotions.evaluation.calibration import log_loss, reliability
from ov_emotions.thresholds import (
    fit_temperatures,
    mapped_thresholds,
    sigmoid,
)


@pytest.fixture
def overconfident() -> tuple[np.ndarray, np.ndarray]:
    """Logits twice and three times as large as the labels' frequencies warrant."""
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(20_000, 2)).astype(np.float32)
    targets = (rng.random(honest.shape) < sigmoid(honest)).astype(np.int8)
    return honest * np.array([2, 3], dtype=np.float32), targets


def test_a_temperature_undoes_overconfidence_label_by_label(overconfident):
    logits, targets = overconfident
    found = fit_temperatures(logits, targets, "per-label")
    np.testing.assert_allclose(found, [2, 3], rtol=0.05)
    common = fit_temperatures(logits, targets, "global")
    assert common[0] == common[1]
    assert 2 < common[0] < 3


def test_the_fitted_temperature_has_the_least_loss(overconfident):
    logits, targets = overconfident
    best = fit_temperatures(logits, targets, "global")[0]
    least = log_loss((logits / best).astype(np.float32), targets)
    for other in (0.9 * best, 1.1 * best):
        assert log_loss((logits / other).astype(np.float32), targets) > least


def test_unknown_targets_and_empty_texts_are_left_out(overconfident):
    logits, targets = overconfident
    expected = fit_temperatures(logits[100:], targets[100:], "per-label")
    masked, holes = targets.copy(), logits.copy()
    masked[:50], holes[50:100] = -1, -np.inf
    np.testing.assert_allclose(fit_temperatures(holes, masked, "per-label"), expected)


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_of_one_class_keeps_its_logits(value):
    targets = np.full((10, 1), value, dtype=np.int8)
    logits = np.linspace(-1, 1, 10, dtype=np.float32)[:, None]
    assert fit_temperatures(logits, targets, "per-label") == [1.0]


def test_nothing_known_is_told():
    with pytest.raises(InputError, match="no annotated label"):
        fit_temperatures(np.zeros((3, 2), np.float32), np.full((3, 2), -1, np.int8))


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
    assert found["rows"] == [1, 2]
    assert found["frequency"] == [0.0, 0.5]
    assert found["ece"] == pytest.approx((0.05 + 2 * 0.45) / 3, abs=1e-5)
    assert reliability(probabilities[:0], np.zeros((0, 1), np.int8))["ece"] is None
