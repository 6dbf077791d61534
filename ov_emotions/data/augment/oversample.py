"""Rows of rare labels, several times over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ov_emotions.data.augment.new_rows import NewRows, chance
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.errors import InputError


def oversample(
    data: LabelledTexts, positions: Sequence[int], factors: Mapping[str, float], seed: int
) -> NewRows:
    """Repeat rows.

    :param data: the split.
    :param positions: of the rows that may be repeated.
    :param factors: per label, how many times over its rows shall stand in the split, themselves
        included; a row with several takes the largest.
    :param seed: of the row that a fraction of a factor adds, or does not.
    :return: the repetitions.
    :raises InputError: if there is no such label.
    """
    labels = data.label_set.labels
    if unknown := [label for label in factors if label not in labels]:
        raise InputError(f"oversample names {unknown[0]!r}; the labels are {', '.join(labels)}")
    columns = [(data.label_set.index(label), factor) for label, factor in factors.items()]
    repeated: list[int] = []
    for i in positions:
        factor = max((f for column, f in columns if data.targets[i, column] == 1), default=1.0)
        whole = int(factor)
        more = chance(seed, "oversample", i).random() < factor - whole
        repeated += [i] * (whole - 1 + more)
    return NewRows([data.texts[i] for i in repeated], repeated)
