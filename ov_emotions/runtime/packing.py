"""Several short texts in one row of a batch, so that next to nothing of it is padding.

Rows have one of few widths, and batches one of few numbers of rows, so that a runtime meets few
shapes, whatever it is given. A model takes them if its attention keeps the texts of a row apart
(Krell et al. 2021, "Efficient sequence packing without cross-contamination").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ov_emotions.encoding import EncodedTexts

# Tokens of the narrowest row; wider ones have a power of two. Attention computes every token of a
# row with every other, so rows are no wider than their longest text needs; but narrower ones than
# this would leave too much room at their ends.
_NARROWEST = 32
# Short lists have rows of one width, so that they are few batches; up to this one, attention costs
# next to nothing.
_NARROWEST_OF_FEW = 64
# A batch costs as much as so many rows before its first.
_BATCH_COST = 2
# What comes out of a batch is as many windows, rounded up, so that of these shapes there are few.
_WINDOWS_STEP = 16


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """One batch of rows that hold several windows each.

    :param input_ids: int64, shape (rows, width).
    :param positions: int32, same shape: a token's number in its window, from 0.
    :param segments: int32, same shape: a window's number in its row, from 1; 0 for padding.
    :param places: int32, shape (windows, width): where in the batch, row after row, each token of
        each window stands. The last windows may be none.
    :param attention_mask: int64, shape (windows, width): 1 for a token, 0 for padding.
    """

    input_ids: NDArray[np.int64]
    positions: NDArray[np.int32]
    segments: NDArray[np.int32]
    places: NDArray[np.int32]
    attention_mask: NDArray[np.int64]

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


class _Pattern(NamedTuple):
    """Rows that hold windows of the same lengths: how wide they are, and how many."""

    width: int
    lengths: list[int]
    rows: int


class Packing:
    """Where each window of a list goes.

    :param encoded: the windows.
    :param batch_tokens: tokens of a batch at most, padding included.
    :param streams: batches that run side by side; these shall end together.
    """

    def __init__(self, encoded: EncodedTexts, batch_tokens: int, streams: int) -> None:
        self._encoded = encoded
        self._starts = np.cumsum(encoded.lengths) - encoded.lengths
        few = len(encoded.ids) <= batch_tokens * streams
        longest = int(encoded.lengths.max())
        narrowest = _NARROWEST_OF_FEW if few and longest > _NARROWEST else _NARROWEST
        counts = np.bincount(encoded.lengths).tolist()
        patterns = list(_patterns(counts, encoded.max_length, narrowest))
        self._lay_out(patterns)
        # The widest rows come first: the batches that take longest shall not be waited for.
        self._batches: list[tuple[int, int, int]] = []
        rows: Counter[int] = Counter()
        for pattern in patterns:
            rows[pattern.width] += pattern.rows
        first = 0
        for width, count in rows.items():
            for used, size in _batch_rows(count, max(1, batch_tokens // width), streams):
                self._batches.append((first, size, width))
                first += used
        cuts = np.searchsorted(self._rows, [first for first, _, _ in self._batches[1:]])
        self.groups: list[NDArray[np.int64]] = np.split(self._windows, cuts)
        """Window positions per batch, every window once."""

    def _lay_out(self, patterns: Sequence[_Pattern]) -> None:
        """Give every window its row, its place in the row and its number there."""
        by_length = np.argsort(self._encoded.lengths, kind="stable")
        given = np.searchsorted(
            self._encoded.lengths[by_length], np.arange(int(self._encoded.lengths.max()) + 1)
        ).tolist()
        windows, rows, offsets, numbers = [], [], [], []
        first = 0
        for pattern in patterns:
            offset = 0
            for number, length in enumerate(pattern.lengths, 1):
                windows.append(by_length[given[length] : given[length] + pattern.rows])
                rows.append(np.arange(first, first + pattern.rows))
                offsets.append(np.full(pattern.rows, offset))
                numbers.append(np.full(pattern.rows, number))
                given[length] += pattern.rows
                offset += length
            first += pattern.rows
        row_of = np.concatenate(rows)
        order = np.argsort(row_of, kind="stable")
        self._rows = row_of[order]
        self._windows = np.concatenate(windows)[order]
        self._offsets = np.concatenate(offsets)[order]
        self._numbers = np.concatenate(numbers)[order]

    def batches(self) -> Iterator[PackedBatch]:
        """Fill the batches, one at a time, in the order of `groups`."""
        first_window = 0
        for (first, size, width), group in zip(self._batches, self.groups, strict=True):
            mine = slice(first_window, first_window + len(group))
            first_window += len(group)
            lengths = self._encoded.lengths[group]
            starts = (self._rows[mine] - first) * width + self._offsets[mine]
            # Of every token: its number in its window, where it comes from, and where it goes.
            ends = np.cumsum(lengths)
            within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
            source = np.repeat(self._starts[group], lengths) + within
            target = np.repeat(starts, lengths) + within
            ids = np.full(size * width, self._encoded.pad_id, dtype=np.int64)
            positions = np.zeros(size * width, dtype=np.int32)
            segments = np.zeros(size * width, dtype=np.int32)
            ids[target] = self._encoded.ids[source]
            positions[target] = within
            segments[target] = np.repeat(self._numbers[mine], lengths)
            windows = -(-len(group) // _WINDOWS_STEP) * _WINDOWS_STEP
            columns = np.arange(width)
            present = np.zeros((windows, width), dtype=np.bool_)
            present[: len(group)] = columns < lengths[:, None]
            places = np.zeros((windows, width), dtype=np.int32)
            places[: len(group)] = starts[:, None] + columns
            places *= present
            shape = (size, width)
            yield PackedBatch(
                ids.reshape(shape),
                positions.reshape(shape),
                segments.reshape(shape),
                places,
                present.astype(np.int64),
            )


def _patterns(left: list[int], max_length: int, narrowest: int) -> Iterator[_Pattern]:
    """Fill rows, each from its longest window on with the longest that fits; widths never rise.

    Rows that hold the same lengths are made together: so this takes as many steps as there are
    kinds of rows, of which a list of any length has some dozens.

    :param left: how many windows there are of each length; spent.
    :param max_length: tokens of the widest row, where no window is longer.
    :param narrowest: tokens of the narrowest row.
    """
    longest = len(left) - 1
    while longest:
        if not left[longest]:
            longest -= 1
            continue
        power = 1 << (longest - 1).bit_length()
        width = max(longest, min(max_length, max(narrowest, power)))
        taken: Counter[int] = Counter()
        lengths = []
        room, length = width, longest
        while length:
            if length > room or left[length] <= taken[length]:
                length -= 1
                continue
            taken[length] += 1
            lengths.append(length)
            room -= length
        rows = min(left[length] // number for length, number in taken.items())
        for length, number in taken.items():
            left[length] -= number * rows
        yield _Pattern(width, lengths, rows)


def _batch_rows(rows: int, most: int, streams: int) -> Iterator[tuple[int, int]]:
    """Share rows out to batches: how many each has, and their number rounded up to one of few.

    Streams take batches in this order, and shall end at about the same time: so each gets one of
    each size, and the last of them even shares.
    """
    largest = 1 << most.bit_length() - 1
    full = rows // (largest * streams) * streams
    yield from [(largest, largest)] * full
    rows -= full * largest
    for size in sorted(_sizes(rows, streams)[0], reverse=True):
        for others in reversed(range(streams)):
            if used := min(size, -(-rows // (others + 1))):
                yield used, _rounded(used)
                rows -= used


def _rounded(rows: int) -> int:
    """Round a number of rows up to a power of two, or to six.

    A list that comes to five or six rows a stream is common where single texts share a batch; as
    two batches it takes a tenth longer. Every shape more costs a runtime some MB.
    """
    return 6 if rows in (5, 6) else 1 << (rows - 1).bit_length()


@cache
def _sizes(rows: int, streams: int) -> tuple[tuple[int, ...], int]:
    """Choose the sizes of the batches that every stream gets, and tell what they cost a stream."""
    if rows <= 0:
        return (), 0
    even = -(-rows // streams)
    found = None
    for size in sorted({_rounded(rows) for rows in range(1, even + 1)}):
        sizes, cost = _sizes(rows - size * streams, streams)
        cost += _BATCH_COST + size
        if found is None or cost < found[1]:
            found = (size, *sizes), cost
    assert found is not None  # one row each is a way
    return found
