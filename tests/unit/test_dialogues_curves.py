from __future__ import annotations

import numpy as np
import pytest

from ov_emotions.dialogues.changes import find_changes
from ov_emotions.dialogues.curves import running, share_of, smooth, wilson


def test_smoothing_agrees_with_the_kernel_written_out():
    rng = np.random.default_rng(1)
    values, weights = rng.random(25), rng.random(25)
    weights[3] = 0
    i = np.arange(25)
    kernel = np.exp(-0.5 * ((i[:, None] - i[None]) / 2.0) ** 2)
    kernel[np.abs(i[:, None] - i[None]) > 8] = 0
    expected = (kernel * weights) @ values / (kernel @ weights)
    assert smooth(values, weights, 2.0, 0.95).level == pytest.approx(expected)


def test_the_running_level_sees_no_future():
    rng = np.random.default_rng(2)
    values = rng.random(30)
    whole = running(values, np.ones(30), 2.0, 0.95).level
    for stop in (1, 2, 17):
        cut = running(values[:stop], np.ones(stop), 2.0, 0.95).level
        assert cut == pytest.approx(whole[:stop])
    assert running(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), np.ones(5), 2.0, 0.95).level[1] == 0


def test_what_cannot_be_read_weighs_nothing():
    values, weights = np.array([0.2, 1.0, 0.2]), np.array([1.0, 0.0, 1.0])
    assert smooth(values, weights, 2.0, 0.95).level == pytest.approx([0.2, 0.2, 0.2])
    nothing = smooth(values, np.zeros(3), 2.0, 0.95)
    assert np.isnan(nothing.level).all()
    assert np.isnan(nothing.low).all()


def test_the_interval_holds_the_true_level_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    held = []
    for _ in range(200):
        values = (rng.random(60) < 0.3).astype(float)
        curve = smooth(values, np.ones(60), 3.0, 0.9)
        held.append(curve.low[30] <= 0.3 <= curve.high[30])
    assert 0.84 <= np.mean(held) <= 0.97


def test_wilson_agrees_with_its_published_example():
    # 15 of 148, Newcombe (1998), table I.
    low, high = wilson(np.array(15 / 148), np.array(148.0), 0.95)
    assert (float(low), float(high)) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_a_share_counts_weights_and_says_how_much_it_rests_on():
    share = share_of(np.array([True, False, True]), np.array([1.0, 1.0, 0.0]), 0.95)
    assert (share.value, share.count) == (0.5, 2)
    assert share.low < 0.1
    assert share.high > 0.9
    empty = share_of(np.zeros(2, dtype=bool), np.zeros(2), 0.95)
    assert (empty.value, empty.low, empty.high, empty.count) == (None, 0.0, 1.0, 0)


# Turning points


def changes(values, weights=None, **settings):
    values = np.asarray(values, dtype=float)
    weights = np.ones(len(values)) if weights is None else weights
    defaults = {"min_segment": 3, "alpha": 0.05, "permutations": 499, "min_shift": 0.15, "seed": 0}
    return find_changes(values, weights, **{**defaults, **settings})


def test_shifts_of_the_mean_are_found_where_they_are():
    rng = np.random.default_rng(6)
    means = np.repeat([0.2, 0.8, 0.3], [20, 15, 25])
    values = np.clip(means + rng.normal(0, 0.1, 60), 0, 1)
    found = changes(values)
    assert [change.index for change in found] == [20, 35]
    assert found[0].before == pytest.approx(values[:20].mean())
    assert found[0].after == found[1].before == pytest.approx(values[20:35].mean())
    assert all(change.p_value <= 0.05 for change in found)


def test_noise_is_seldom_taken_for_a_turning_point():
    rng = np.random.default_rng(7)
    false = [bool(changes(rng.random(30), min_shift=0.0, seed=i)) for i in range(200)]
    assert np.mean(false) <= 0.09


@pytest.mark.parametrize("values", [[], [0.5], [0.1, 0.9, 0.1, 0.9, 0.1], [0.5] * 50])
def test_too_few_or_equal_values_have_none(values):
    assert changes(values) == ()


def test_no_side_of_a_turning_point_is_shorter_than_allowed():
    values = [0.0] * 20 + [1.0] * 2
    assert changes(values, min_segment=2)[0].index == 20
    assert all(change.index <= 17 for change in changes(values, min_segment=5))
