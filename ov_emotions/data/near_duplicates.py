"""Texts that equal or nearly equal a text of another set."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

_GRAM = 4


def _grams(text: str) -> frozenset[str]:
    squeezed = text.replace(" ", "")
    if len(squeezed) <= _GRAM:
        return frozenset((squeezed,))
    return frozenset(squeezed[i : i + _GRAM] for i in range(len(squeezed) - _GRAM + 1))


def find_near_duplicates(
    candidates: Sequence[str], references: Sequence[str], threshold: float = 0.8
) -> list[int | None]:
    """Find, for each candidate, a reference whose Jaccard similarity reaches the threshold.

    Similarity is taken on sets of four-character grams without spaces. The search is exact: two
    sets that are similar enough must share one of their rarest grams, so only those are indexed
    (prefix filtering: Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", 2007).

    :param candidates: normalised texts to look up.
    :param references: normalised texts to look among.
    :param threshold: least Jaccard similarity, in (0, 1].
    :return: per candidate the index of the first reference found, or None.
    """
    candidate_grams = [_grams(text) for text in candidates]
    reference_grams = [_grams(text) for text in references]
    frequency: Counter[str] = Counter()
    for grams in (*candidate_grams, *reference_grams):
        frequency.update(grams)

    def prefix(grams: frozenset[str]) -> list[str]:
        # Ties are broken by the gram itself: both sides must sort alike for the filter to be exact.
        rarest_first = sorted(grams, key=lambda gram: (frequency[gram], gram))
        return rarest_first[: len(grams) - math.ceil(threshold * len(grams)) + 1]

    index: dict[str, list[int]] = defaultdict(list)
    for i, grams in enumerate(reference_grams):
        for gram in prefix(grams):
            index[gram].append(i)

    found: list[int | None] = []
    for grams in candidate_grams:
        match = None
        for i in sorted({i for gram in prefix(grams) for i in index.get(gram, ())}):
            other = reference_grams[i]
            shared = len(grams & other)
            if shared >= threshold * (len(grams) + len(other) - shared):
                match = i
                break
        found.append(match)
    return found
