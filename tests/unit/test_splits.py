from __future__ import annotations

import numpy as np
import pytest

from ov_emotions.data.splits import random_parts, stratified_parts

SHARES = {"calibration": 0.2, "thresholds": 0.5, "selection": 0.3}


def _targets(rows: int, rates: tuple[float, ...]) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.random((rows, len(rates))) < rates).astype(np.int8)


@pytest.mark.parametrize("deal", [random_parts, stratified_parts])
def test_every_row_goes_to_one_part_and_the_parts_have_their_shares(deal):
    targets = _targets(1000, (0.4, 0.1, 0.02))
    rows = len(targets) if deal is random_parts else targets
    parts = deal(rows, SHARES, np.random.default_rng(0))
    assert sorted(i for part in parts.values() for i in part) == list(range(1000))
    assert {name: len(part) for name, part in parts.items()} == {
        name: pytest.approx(1000 * share, abs=5) for name, share in SHARES.items()
    }


def test_each_label_is_dealt_out_by_the_shares():
    targets = _targets(1000, (0.4, 0.1, 0.02))
    targets[:5] = -1
    parts = stratified_parts(targets, SHARES, np.random.default_rng(0))
    for label in range(3):
        total = int((targets[:, label] == 1).sum())
        for name, share in SHARES.items():
            got = int((targets[parts[name], label] == 1).sum())
            assert got == pytest.approx(share * total, abs=2)


def test_a_label_with_as_many_rows_as_parts_is_in_all_of_them():
    targets = _targets(500, (0.5, 0.0))
    targets[[7, 99, 400], 1] = 1
    shares = dict.fromkeys("abc", 1 / 3)
    parts = stratified_parts(targets, shares, np.random.default_rng(0))
    assert all((targets[part, 1] == 1).sum() == 1 for part in parts.values())


def test_the_same_seed_deals_alike_and_another_does_not():
    targets = _targets(200, (0.3, 0.1))
    dealt = [stratified_parts(targets, SHARES, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert dealt[0] == dealt[1] != dealt[2]
