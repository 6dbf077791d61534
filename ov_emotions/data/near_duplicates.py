"""Texts that equal or nearly equal a text of another set."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence

_GRAM = 4


def _grams(text: str) -> frozenset[str]:
    squeezed = text.replace(" ", "")
    if len(squeezed) <= _GRAM:
        return frozenset((squeezed,))
    return frozenset(squeezed[i : i + _GRAM] for i in range(len(squeezed) - _GRAM + 1))


def find_near_duplicates(
    candidates: Sequence[str],
    references: Sequence[str],
    threshold: float = 0.8,
    update: Callable[[int, int], None] | None = None,
) -> list[int | None]:
    """Find, for each candidate, a reference whose Jaccard similarity reaches the threshold.

    Similarity is taken on sets of four-character grams without spaces. The search is exact: two
    sets that are similar enough must share one of their rarest grams, so only those are indexed
    (prefix filtering: Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", 2007).

    :param candidates: normalised texts to look up.
    :param references: normalised texts to look among.
    :param threshold: least Jaccard similarity, in (0, 1].
    :param update: told the candidates done and their number.
    :return: per candidate the index of the first reference found, or None.
    """
    return NearDuplicateIndex(references, threshold).find(candidates, update=update)


class NearDuplicateIndex:
    """References to look up many texts in, as `find_near_duplicates` does.

    :param references: normalised texts to look among.
    :param threshold: least Jaccard similarity, in (0, 1].
    """

    def __init__(self, references: Sequence[str], threshold: float = 0.8) -> None:
        self._threshold = threshold
        self._ranks = _ranks([_grams(text) for text in references])
        # Lists take a tenth of the memory of sets, and only few are ever compared with.
        self._grams = [sorted(self._ranks[gram] for gram in _grams(text)) for text in references]
        self._index: dict[int, list[int]] = defaultdict(list)
        for i, grams in enumerate(self._grams):
            for gram in _prefix(grams, threshold):
                self._index[gram].append(i)

    def find(
        self,
        candidates: Sequence[str],
        passed_over: Sequence[int] | None = None,
        update: Callable[[int, int], None] | None = None,
    ) -> list[int | None]:
        """Find a reference for each candidate.

        :param candidates: normalised texts to look up.
        :param passed_over: per candidate the index of a reference that does not count.
        :param update: told the candidates done and their number.
        :return: per candidate the index of the first reference found, or None.
        """
        found: list[int | None] = []
        for n, text in enumerate(candidates):
            found.append(self._first(text, None if passed_over is None else passed_over[n]))
            if update is not None:
                update(n + 1, len(candidates))
        return found

    def _first(self, text: str, passed_over: int | None) -> int | None:
        # Grams that no reference has are the rarest of all; each keeps a rank of its own.
        grams = sorted(self._ranks.get(gram, -i) for i, gram in enumerate(_grams(text), 1))
        own = frozenset(grams)
        near = {i for gram in _prefix(grams, self._threshold) for i in self._index.get(gram, ())}
        for i in sorted(near):
            if i != passed_over and _similar(own, self._grams[i], self._threshold):
                return i
        return None


def near_duplicate_pairs(
    texts: Sequence[str],
    threshold: float = 0.8,
    update: Callable[[int, int], None] | None = None,
) -> list[tuple[int, int]]:
    """Find all pairs of texts whose Jaccard similarity reaches the threshold.

    It is measured as `find_near_duplicates` measures it, and the search is as exact.

    :param texts: normalised texts; equal ones are pairs too.
    :param threshold: least Jaccard similarity, in (0, 1].
    :param update: told the texts done and their number.
    :return: pairs of positions, the smaller first, in ascending order.
    """
    ranked = _ranked(texts)
    sets = [frozenset(grams) for grams in ranked]
    # By size, so that what is indexed is never larger, and what is too small is passed over.
    order = sorted(range(len(texts)), key=lambda i: len(ranked[i]))
    index: dict[int, list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    for done, i in enumerate(order, 1):
        least = threshold * len(ranked[i])
        prefix = _prefix(ranked[i], threshold)
        candidates: set[int] = set()
        for gram in prefix:
            candidates.update(index.get(gram, ()))
        pairs += [
            (min(i, j), max(i, j))
            for j in candidates
            if len(ranked[j]) >= least and _similar(sets[i], sets[j], threshold)
        ]
        for gram in prefix:
            index[gram].append(i)
        if update is not None:
            update(done, len(texts))
    return sorted(pairs)


def _ranks(texts: Sequence[frozenset[str]]) -> dict[str, int]:
    """Number the grams of some texts, the rarest first."""
    frequency: Counter[str] = Counter()
    for grams in texts:
        frequency.update(grams)
    # Ties are broken by the gram itself: all texts must sort alike for the filter to be exact.
    order = sorted(frequency, key=lambda gram: (frequency[gram], gram))
    return {gram: i for i, gram in enumerate(order)}


def _ranked(texts: Sequence[str]) -> list[list[int]]:
    """Write each text's grams as their ranks, the rarest first."""
    grams = [_grams(text) for text in texts]
    ranks = _ranks(grams)
    return [sorted(ranks[gram] for gram in some) for some in grams]


def _prefix(grams: list[int], threshold: float) -> list[int]:
    return grams[: len(grams) - math.ceil(threshold * len(grams)) + 1]


def _similar(one: frozenset[int], other: Collection[int], threshold: float) -> bool:
    shared = len(one.intersection(other))
    return shared >= threshold * (len(one) + len(other) - shared)
