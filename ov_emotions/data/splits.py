"""What splits must be: free of leaks, and holding every label where there are rows for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.near_duplicates import find_near_duplicates
from ov_emotions.normalize import normalize

VALIDATION_PARTS = {"calibration": 0.2, "thresholds": 0.5, "selection": 0.3}
"""Shares of the validation split: INT8 calibration, threshold fitting, model choice."""


def first_by_text(texts: Sequence[str]) -> list[int]:
    """Find the first row of every text.

    :param texts: normalised texts; empty ones are left out.
    :return: positions, ascending.
    """
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        if text:
            first.setdefault(text, i)
    return sorted(first.values())


def drop_leaks(
    data: LabelledTexts,
    references: Sequence[str],
    threshold: float,
    update: Callable[[int, int], None] | None = None,
) -> tuple[LabelledTexts, dict[str, int]]:
    """Deduplicate, then drop what a reference equals or nearly equals.

    :param data: the rows.
    :param references: normalised texts that no row may equal.
    :param threshold: Jaccard similarity from which two texts count as nearly equal.
    :param update: told the texts looked up and their number.
    :return: the rows that are left, and how many went for each reason.
    """
    texts = [normalize(text) for text in data.texts]
    empty = sum(not text for text in texts)
    kept = first_by_text(texts)
    duplicates = len(texts) - empty - len(kept)
    known = set(references)
    distinct = [i for i in kept if texts[i] not in known]
    equal = len(kept) - len(distinct)
    matches = find_near_duplicates([texts[i] for i in distinct], references, threshold, update)
    clean = [i for i, match in zip(distinct, matches, strict=True) if match is None]
    return data.select(clean), {
        "empty_after_normalising": empty,
        "duplicates": duplicates,
        "equal_to_held_out": equal,
        "near_equal_to_held_out": len(distinct) - len(clean),
    }


def random_parts(
    rows: int, shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, list[int]]:
    """Deal rows out by chance alone.

    :param rows: how many there are.
    :param shares: of each part; they sum to 1.
    :param rng: the source of chance.
    :return: positions of each part, ascending.
    """
    order = rng.permutation(rows)
    parts: dict[str, list[int]] = {}
    start = 0.0
    for name, share in shares.items():
        stop = start + share
        chosen = order[round(start * rows) : round(stop * rows)]
        parts[name] = sorted(int(i) for i in chosen)
        start = stop
    return parts


def stratified_parts(
    targets: NDArray[np.int8], shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, list[int]]:
    """Deal rows out so that every part gets its share of each label, the rarest first.

    Iterative stratification: Sechidis, Tsoumakas and Vlahavas, "On the stratification of
    multi-label data" (2011). The rows of the rarest label that is left go, one by one, to the part
    that lacks most of this label, then most rows. Rows without any label come last.

    :param targets: int8, shape (rows, labels): 1 present, 0 absent, -1 unknown.
    :param shares: of each part; they sum to 1.
    :param rng: breaks ties, and gives the order of the rows.
    :return: positions of each part, ascending.
    """
    wanted = np.array(list(shares.values()), dtype=np.float64)
    present = targets == 1
    lacking = wanted[:, None] * present.sum(axis=0)  # parts x labels
    room = wanted * len(targets)
    left = rng.permutation(len(targets))
    places = np.zeros(len(targets), dtype=np.int64)

    def place(row: int, label: int | None) -> None:
        need = room if label is None else lacking[:, label]
        best = np.flatnonzero(need >= need.max() - 1e-9)
        if len(best) > 1:
            best = best[room[best] >= room[best].max() - 1e-9]
        part = int(rng.choice(best))
        places[row] = part
        room[part] -= 1
        lacking[part] -= present[row]

    while len(left):
        counts = present[left].sum(axis=0)
        if not counts.any():
            for row in left:
                place(int(row), None)
            break
        label = int(np.argmin(np.where(counts > 0, counts, len(targets) + 1)))
        holding = present[left, label]
        for row in left[holding]:
            place(int(row), label)
        left = left[~holding]
    return {
        name: [int(i) for i in np.flatnonzero(places == number)]
        for number, name in enumerate(shares)
    }
