"""Words that tell something about a label, found in the labelled rows themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts


def strongest_deviation(
    data: LabelledTexts, words: Sequence[NDArray[np.int64]], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Measure how far the labels of a word's rows are from what chance would give.

    By chance, a row has a label as often as the rows of its set do: sets differ in their shares.
    Rows where the label is unknown do not count for it.

    :param data: labelled rows.
    :param words: per row the numbers, below `size`, of the words in it, each once.
    :param size: how many words there are.
    :return: per word, shape (size,): the rows that it stands in; and the largest absolute
        deviation over the labels, in standard errors of a sum of independent draws.
    """
    row_of = np.repeat(np.arange(len(data)), [len(some) for some in words])
    word_of = np.concatenate([*words, np.empty(0, dtype=np.int64)])
    origins = np.unique(np.array(data.origins), return_inverse=True)[1]
    largest = np.zeros(size)
    for targets in data.targets.T:
        known = targets != UNKNOWN
        rows = np.bincount(origins, weights=known)
        present = np.bincount(origins, weights=targets == 1)
        share = (present / np.maximum(rows, 1))[origins]
        variance = known * share * (1 - share)
        excess = known * ((targets == 1) - share)
        total = np.bincount(word_of, weights=excess[row_of], minlength=size)
        spread = np.sqrt(np.bincount(word_of, weights=variance[row_of], minlength=size))
        deviation = np.divide(np.abs(total), spread, out=np.zeros(size), where=spread > 0)
        largest = np.maximum(largest, deviation)
    return np.bincount(word_of, minlength=size), largest
