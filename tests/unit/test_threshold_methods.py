from __future__ import annotations

import numpy as np
import pytest

from ov_emotions.errors import InputError
from ov_emotions.thresholds import (
    METHODS,
    compare_methods,
    cross_fit,
    fit_thresholds,
    threshold_fitter,
)


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    targets = (rng.random((400, 3)) < (0.4, 0.2, 0.02)).astype(np.int8)
    scores = np.clip(0.3 * targets + rng.random(targets.shape) * 0.6, 0, 1).astype(np.float32)
    return scores, targets


def test_the_default_is_what_was_fitted_before(rows):
    np.testing.assert_array_equal(
        threshold_fitter("bootstrap-median")(*rows), fit_thresholds(*rows)
    )


def test_the_global_way_gives_one_threshold(rows):
    assert len(set(threshold_fitter("global")(*rows).tolist())) == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_way_gives_thresholds_within_bounds_even_when_nothing_is_known(rows, method):
    unknown = np.full_like(rows[1], -1)
    for targets in (rows[1], unknown, np.zeros_like(unknown)):
        found = threshold_fitter(method)(rows[0], targets)
        assert found.shape == (3,)
        assert ((found > 0) & (found < 1)).all()


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


def test_an_unknown_way_is_told():
    with pytest.raises(InputError, match="none of bootstrap-median"):
        threshold_fitter("best")  # type: ignore[arg-type]
