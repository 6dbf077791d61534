"""Texts that equal or nearly equal others: an exact search by Jaccard similarity.

Similarity is taken on sets of four-character grams without spaces. Two sets that are similar enough
must share one of their rarest grams, so only those are looked up (prefix filtering: Bayardo, Ma and
Srikant, "Scaling up all pairs similarity search", 2007); what is left is thinned out by size and by
bit patterns of the grams, and then compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap

import numpy as np
from numpy.typing import NDArray

_GRAM = 4
_BITS = 256
_CHUNK = 2000
_AT_ONCE = 50_000
_MOST_PAIRS = 4_000_000
_SLACK = 1e-9
_ONES = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)

_Ints = NDArray[np.int64]
Update = Callable[[int, int], None]
"""Told the texts that are done, and their number."""


class NearDuplicateIndex:
    """Normalised texts to look others up in.

    :param threshold: least Jaccard similarity of what counts as nearly equal, in (0, 1].
    """

    def __init__(self, references: Sequence[str], threshold: float = 0.8) -> None:
        self._references = references
        self._threshold = threshold

    def find(
        self,
        candidates: Sequence[str],
        passed_over: Sequence[int] | None = None,
        update: Update | None = None,
    ) -> list[int | None]:
        """Find the index of the first reference for each candidate, a normalised text.

        :param passed_over: per candidate the index of a reference that does not count.
        """
        found: list[int | None] = [None] * len(candidates)
        for first in range(0, len(candidates), _AT_ONCE):
            part = candidates[first : first + _AT_ONCE]
            grams = _Grams.of([*self._references, *part], len(self._references))

            def told(done: int, _total: int, before: int = first) -> None:
                if update is not None:
                    update(before + done, len(candidates))

            for i, reference in _similar_pairs(grams, self._threshold, told):
                i += first
                if found[i] is None and (passed_over is None or passed_over[i] != reference):
                    found[i] = reference
        return found


def near_duplicate_pairs(
    texts: Sequence[str], threshold: float = 0.8, update: Update = lambda _done, _total: None
) -> list[tuple[int, int]]:
    """Find all pairs of normalised texts that are nearly equal; equal ones are pairs too.

    :return: pairs of positions, the smaller first, in ascending order.
    """
    grams = _Grams.of(texts, len(texts))
    return sorted((j, i) for i, j in _similar_pairs(grams, threshold, update))


@dataclass(frozen=True)
class _Grams:
    """The grams of texts, as ranks: those that few references have come first.

    :param references: how many of the texts are references; the candidates follow. Where none do,
        each text is looked up among those before it.
    :param starts: shape (texts + 1,): where each text's ranks begin in `ranks`.
    :param ranks: each text's, ascending and distinct.
    :param patterns: uint8, shape (texts, _BITS / 8): a bit for each of a text's ranks.
    """

    references: int
    starts: _Ints
    ranks: _Ints
    patterns: NDArray[np.uint8]

    @staticmethod
    def of(texts: Sequence[str], references: int) -> _Grams:
        codes, owners = _coded([text.replace(" ", "") for text in texts])
        codes, size = _numbered(codes)
        # Each gram counts once a text.
        owners, codes = np.divmod(_distinct(owners * size + codes), size)
        frequency = np.bincount(codes[owners < references], minlength=size)
        rank = np.empty(size, dtype=np.int64)
        rank[np.argsort(frequency, kind="stable")] = np.arange(size)
        owners, ranks = np.divmod(np.sort(owners * size + rank[codes]), size)
        starts = np.searchsorted(owners, np.arange(len(texts) + 1))
        return _Grams(references, starts, ranks, _patterns(owners, ranks, starts))

    @property
    def sizes(self) -> _Ints:
        return np.diff(self.starts)

    def of_text(self, text: int) -> _Ints:
        return self.ranks[self.starts[text] : self.starts[text + 1]]


def _coded(texts: Sequence[str]) -> tuple[_Ints, _Ints]:
    """Write grams as numbers, and say which text each is of; four characters or less are one."""
    letters = {letter: i for i, letter in enumerate(sorted(set().union(*texts)), 1)}
    # Zeros fill up short texts.
    lengths = np.array([max(len(text), _GRAM) for text in texts], dtype=np.int64)
    flat = np.zeros(int(lengths.sum()), dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(lengths)])[:-1] if len(texts) else lengths
    for begin, text in zip(begins.tolist(), texts, strict=True):
        flat[begin : begin + len(text)] = [letters[letter] for letter in text]
    # Pairs are numbered first, so that no alphabet is too large for a pair of pairs.
    pairs, size = _numbered(flat[:-1] * (len(letters) + 1) + flat[1:])
    inside = _spread(begins, lengths - _GRAM + 1)
    codes = pairs[inside] * size + pairs[inside + 2]
    return codes, np.repeat(np.arange(len(texts)), lengths - _GRAM + 1)


def _distinct(values: _Ints) -> _Ints:
    """Sort and thin out; `numpy.unique` hashes, which takes ten times as long."""
    values = np.sort(values)
    new = np.ones(len(values), dtype=bool)
    new[1:] = values[1:] != values[:-1]
    return values[new]


def _numbered(values: _Ints) -> tuple[_Ints, int]:
    """Number values from 0; say how many different ones there are."""
    distinct = _distinct(values)
    return np.searchsorted(distinct, values), max(len(distinct), 1)


def _spread(starts: _Ints, counts: _Ints) -> _Ints:
    """Return start, start + 1, ... of each start, as many as its count, one after another."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + counts, counts)


def _patterns(owners: _Ints, ranks: _Ints, starts: _Ints) -> NDArray[np.uint8]:
    texts = len(starts) - 1
    patterns = np.empty((texts, _BITS // 8), dtype=np.uint8)
    for first in range(0, texts, 1 << 15):
        last = min(first + (1 << 15), texts)
        bits = np.zeros((last - first, _BITS), dtype=np.uint8)
        part = slice(starts[first], starts[last])
        bits[owners[part] - first, ranks[part] % _BITS] = 1
        patterns[first:last] = np.packbits(bits, axis=1)
    return patterns


def _similar_pairs(grams: _Grams, threshold: float, update: Update) -> Iterator[tuple[int, int]]:
    """Yield candidates with references that are similar to them, both in ascending order."""
    references, sizes = grams.references, grams.sizes
    among_themselves = len(sizes) == references
    before = 0 if among_themselves else references
    candidates = len(sizes) - before
    prefixes = sizes - np.ceil(threshold * sizes).astype(np.int64) + 1
    # References by each gram of their prefixes.
    listed = grams.ranks[_spread(grams.starts[:references], prefixes[:references])]
    owners = np.repeat(np.arange(references), prefixes[:references])
    order = np.argsort(listed, kind="stable")
    listed, owners = listed[order], owners[order]
    for first in range(0, candidates, _CHUNK):
        last = min(first + _CHUNK, candidates)
        texts = np.arange(before + first, before + last)
        looked_up = grams.ranks[_spread(grams.starts[texts], prefixes[texts])]
        begins = np.searchsorted(listed, looked_up, "left")
        counts = np.searchsorted(listed, looked_up, "right") - begins
        pairs = [np.empty(0, dtype=np.int64)]
        askers = np.repeat(texts, prefixes[texts])
        for part in _slices(counts):
            who = np.repeat(askers[part], counts[part])
            whom = owners[_spread(begins[part], counts[part])]
            if among_themselves:
                who, whom = who[whom < who], whom[whom < who]
            likely = _may_be_similar(grams, who, whom, threshold)
            pairs.append(who[likely] * references + whom[likely])
        for pair in _distinct(np.concatenate(pairs)).tolist():
            who, whom = divmod(pair, references)
            one, other = grams.of_text(who), grams.of_text(whom)
            shared = len(np.intersect1d(one, other, assume_unique=True))
            if shared >= threshold * (len(one) + len(other) - shared):
                yield who - before, whom
        update(last, candidates)


def _slices(counts: _Ints) -> Iterator[slice]:
    """Cut a list where the pairs before each cut are about as many as memory should hold."""
    totals = np.cumsum(counts) // _MOST_PAIRS
    cuts = [0, *(np.flatnonzero(np.diff(totals)) + 1).tolist(), len(counts)]
    return starmap(slice, pairwise(cuts))


def _may_be_similar(grams: _Grams, one: _Ints, other: _Ints, threshold: float) -> NDArray[np.bool_]:
    """Tell which pairs have sizes, and then bit patterns, that do not rule similarity out."""
    sizes = grams.sizes
    a, b = sizes[one], sizes[other]
    likely = np.minimum(a, b) >= threshold * np.maximum(a, b) - _SLACK
    places = np.flatnonzero(likely)
    different = _ONES[grams.patterns[one[places]] ^ grams.patterns[other[places]]].sum(axis=1)
    # Sets that share enough differ in so many at the most; patterns differ in no more.
    most = (a + b)[places] * (1 - threshold) / (1 + threshold) + _SLACK
    likely[places] = different <= most
    return likely
