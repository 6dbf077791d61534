"""Rows that equal or nearly equal others, within a group and between splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import UNKNOWN
from ov_emotions.data.near_duplicates import near_duplicate_pairs
from ov_emotions.data.statistics.facts import Overlap


@dataclass(frozen=True)
class Likeness:
    """Which distinct texts nearly equal which.

    :param position: by normalised text its number.
    :param near: by that number the numbers of the texts that are nearly equal.
    """

    position: Mapping[str, int]
    near: Mapping[int, frozenset[int]]

    @staticmethod
    def find(
        texts: Mapping[str, Sequence[str]],
        threshold: float,
        update: Callable[[int, int], None],
    ) -> Likeness:
        """Compare every text with every other.

        :param texts: normalised, by split.
        :param threshold: least Jaccard similarity of what counts as nearly equal.
        :param update: told the texts done and their number.
        :return: what was found; empty texts are left out.
        """
        distinct = sorted({text for split in texts.values() for text in split if text})
        near: dict[int, set[int]] = defaultdict(set)
        for i, j in near_duplicate_pairs(distinct, threshold, update):
            near[i].add(j)
            near[j].add(i)
        return Likeness(
            {text: i for i, text in enumerate(distinct)},
            {i: frozenset(others) for i, others in near.items()},
        )

    def numbers(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of texts, row by row, without the empty ones."""
        return [self.position[text] for text in texts if text]

    def near_any(self, number: int, others: frozenset[int]) -> bool:
        """Tell whether a text nearly equals one of a set's."""
        return not self.near.get(number, frozenset()).isdisjoint(others)


@dataclass(frozen=True)
class Repeats:
    """Rows of a group that are there more than once.

    :param empty: rows without a word.
    :param duplicates: rows whose text an earlier row has.
    :param near: rows that nearly equal another row, and equal none.
    :param contradictions: distinct texts with different known labels.
    """

    empty: int
    duplicates: int
    near: int
    contradictions: int


def repeats(texts: Sequence[str], targets: NDArray[np.int8], likeness: Likeness) -> Repeats:
    """Count what is repeated in a group.

    :param texts: normalised.
    :param targets: int8, shape (texts, labels).
    :param likeness: which texts are alike.
    :return: the counts.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        if text:
            rows[text].append(i)
    present = frozenset(likeness.position[text] for text in rows)
    near = sum(
        likeness.near_any(likeness.position[text], present)
        for text, where in rows.items()
        if len(where) == 1
    )
    filled = sum(map(len, rows.values()))
    return Repeats(
        empty=len(texts) - filled,
        duplicates=filled - len(rows),
        near=near,
        contradictions=sum(
            _contradict(targets[where]) for where in rows.values() if len(where) > 1
        ),
    )


def _contradict(targets: NDArray[np.int8]) -> bool:
    known = targets != UNKNOWN
    highest = np.where(known, targets, -1).max(axis=0)
    lowest = np.where(known, targets, 2).min(axis=0)
    return bool(((highest == 1) & (lowest == 0)).any())


def overlaps(texts: Mapping[str, Sequence[str]], likeness: Likeness) -> tuple[Overlap, ...]:
    """Count each split's rows that another split has too.

    :param texts: normalised, by split.
    :param likeness: which texts are alike.
    :return: every ordered pair of splits.
    """
    numbers = {name: likeness.numbers(some) for name, some in texts.items()}
    sets = {name: frozenset(some) for name, some in numbers.items()}
    found = []
    for split, rows in numbers.items():
        for other, there in sets.items():
            if split != other:
                equal = sum(row in there for row in rows)
                near = sum(row not in there and likeness.near_any(row, there) for row in rows)
                found.append(Overlap(split, other, equal, near))
    return tuple(found)
