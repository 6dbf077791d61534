from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ov_emotions.quantization.ptq import stratified_rows


def test_a_rare_label_is_as_often_in_the_sample_as_a_frequent_one():
    targets = np.zeros((1000, 2), dtype=np.int8)
    targets[:500, 0] = 1
    targets[500:520, 1] = 1
    rows = stratified_rows(targets, 60, seed=1)
    assert (targets[rows] == 1).sum(axis=0).tolist() == [20, 20]


@given(
    st.integers(1, 40).flatmap(
        lambda rows: hnp.arrays(np.int8, (rows, 3), elements=st.integers(-1, 1))
    ),
    st.integers(1, 50),
)
@settings(deadline=None)
def test_as_many_rows_as_asked_for_come_sorted_and_once(targets, size):
    rows = stratified_rows(targets, size, seed=0)
    assert len(rows) == min(size, len(targets))
    assert (np.diff(rows) > 0).all()
    assert ((rows >= 0) & (rows < len(targets))).all()


def test_rows_without_a_label_take_part():
    targets = np.array([[1, 0]] * 50 + [[0, 0]] * 25 + [[0, -1]] * 25, dtype=np.int8)
    rows = stratified_rows(targets, 20, seed=0)
    assert (rows >= 50).sum() == 10


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_repeats_the_sample(seed):
    targets = np.random.default_rng(5).integers(0, 2, (200, 3)).astype(np.int8)
    first = stratified_rows(targets, 30, seed)
    np.testing.assert_array_equal(first, stratified_rows(targets, 30, seed))
    assert first.tolist() != stratified_rows(targets, 30, seed + 1).tolist()
