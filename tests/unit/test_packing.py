"""Rows of several texts: that each is whole, next to nothing is padding, and shapes are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ov_emotions.encoding import EncodedTexts
from ov_emotions.runtime.packing import PackedBatch, Packing

PAD = 7


def of_lengths(*lengths: int, max_length: int = 96) -> EncodedTexts:
    """Windows whose tokens are numbered on and on from 1,000, so that none is like another."""
    return EncodedTexts(
        texts=len(lengths),
        ids=np.arange(1000, 1000 + sum(lengths)),
        lengths=np.array(lengths, dtype=np.int64),
        owners=np.arange(len(lengths)),
        truncated=np.zeros(len(lengths), dtype=np.bool_),
        pad_id=PAD,
        max_length=max_length,
    )


def drawn(count: int, seed: int = 0) -> EncodedTexts:
    """Windows about as long as comments are."""
    rng = np.random.default_rng(seed)
    return of_lengths(*np.clip(rng.gamma(3.0, 5.5, count).astype(int), 3, 96).tolist())


def unpack(packing: Packing) -> dict[int, list[int]]:
    """Read every window out of the batches, as a model's pooling would."""
    found: dict[int, list[int]] = {}
    for group, batch in zip(packing.groups, packing.batches(), strict=True):
        flat = batch.input_ids.reshape(-1)
        assert not batch.attention_mask[len(group) :].any()
        for window, places, mask in zip(group, batch.places, batch.attention_mask, strict=False):
            assert int(window) not in found
            found[int(window)] = flat[places[mask > 0]].tolist()
    return found


def runs_of(batch: PackedBatch) -> Sequence[tuple[int, list[int], list[int]]]:
    """Cut rows where the segment changes: segment, ids, positions."""
    runs = []
    for ids, positions, segments in zip(
        batch.input_ids, batch.positions, batch.segments, strict=True
    ):
        cuts = np.flatnonzero(np.diff(segments)) + 1
        parts = (np.split(array, cuts) for array in (segments, ids, positions))
        runs += [(int(s[0]), i.tolist(), p.tolist()) for s, i, p in zip(*parts, strict=True)]
    return runs


@pytest.mark.parametrize("count", [1, 2, 3, 17, 300, 3000])
@pytest.mark.parametrize(("tokens", "streams"), [(1024, 2), (1024, 1), (100, 3), (1, 1)])
def test_every_window_is_in_one_batch_whole(count: int, tokens: int, streams: int) -> None:
    encoded = drawn(count, seed=count)
    packing = Packing(encoded, tokens, streams)
    ends = np.cumsum(encoded.lengths)
    expected = {
        i: list(range(1000 + end - length, 1000 + end))
        for i, (end, length) in enumerate(zip(ends.tolist(), encoded.lengths.tolist(), strict=True))
    }
    assert unpack(packing) == expected


def test_rows_keep_windows_apart_and_count_positions_from_their_beginnings() -> None:
    encoded = drawn(500)
    whole = {tuple(ids) for ids in unpack(Packing(encoded, 512, 2)).values()}
    for batch in Packing(encoded, 512, 2).batches():
        for segment, ids, positions in runs_of(batch):
            if segment == 0:
                assert set(ids) == {PAD}
                assert set(positions) == {0}
            else:
                assert tuple(ids) in whole
                assert positions == list(range(len(ids)))
        for row in batch.segments:
            numbers = [n for i, n in enumerate(row) if i == 0 or n != row[i - 1]]
            assert len(numbers) == len(set(numbers)), "a number a window, and padding at the end"


def test_next_to_nothing_is_padding_and_shapes_are_few() -> None:
    shapes, windows = set(), set()
    for seed in range(20):
        texts, padded = (400, 1.08) if seed % 2 else (4000, 1.02)
        encoded = drawn(texts, seed)
        batches = list(Packing(encoded, 1024, 2).batches())
        computed = sum(batch.input_ids.size for batch in batches)
        assert computed <= padded * len(encoded.ids)
        shapes |= {batch.input_ids.shape for batch in batches}
        windows |= {batch.places.shape for batch in batches}
    assert len(windows) <= 24
    assert {width for _, width in shapes} <= {32, 64, 96}
    assert len(shapes) <= 18
    assert all(rows == 6 or rows & (rows - 1) == 0 for rows, _ in shapes), "six, or powers of two"
    assert max(rows * width for rows, width in shapes) <= 1024


def test_a_window_wider_than_any_row_has_a_row_of_its_width() -> None:
    """A model that reads fewer tokens than its tokeniser was told of is not ours to judge."""
    packing = Packing(of_lengths(5, 130, 96, max_length=96), 64, 1)
    shapes = [batch.input_ids.shape for batch in packing.batches()]
    assert shapes == [(1, 130), (1, 96), (1, 32)]
    assert [group.tolist() for group in packing.groups] == [[1], [2], [0]]
