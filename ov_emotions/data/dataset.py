"""Labelled texts in memory and as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import DataError
from ov_emotions.files import atomic_path
from ov_emotions.labels import LabelSet
from ov_emotions.system import require

UNKNOWN = -1
"""The target of a label that the row's set does not annotate; losses and metrics mask it."""

NOT_AUGMENTED = -1
"""Stands for "made from no other row" in `LabelledTexts.augmented_from`."""

RESERVED_COLUMNS = ("text", "origin", "row", "augmentation", "augmented_from")
"""Columns of a prepared split that are no labels."""


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with multi-label targets, some of them unknown.

    :param label_set: the labels, in the order of the columns of `targets`.
    :param texts: raw texts; normalising is the tokeniser's work.
    :param targets: int8, shape (texts, labels): 1 present, 0 absent, `UNKNOWN` not annotated.
    :param origins: the name of the set each row came from; a row made from another has its set.
    :param rows: int64, the row's number in its set's file, counted from 1 below the header; a row
        made from another has its number.
    :param augmentations: the method that made each row from another one, "" for rows as they came;
        none given means that all are as they came.
    :param augmented_from: int64, the position in the split's file, counted from 0, of the row that
        each was made from; `NOT_AUGMENTED` for rows as they came.
    """

    label_set: LabelSet
    texts: tuple[str, ...]
    targets: NDArray[np.int8]
    origins: tuple[str, ...]
    rows: NDArray[np.int64]
    augmentations: tuple[str, ...] = ()
    augmented_from: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if not self.augmentations and not len(self.augmented_from):
            blank = np.full(len(self.texts), NOT_AUGMENTED, dtype=np.int64)
            object.__setattr__(self, "augmentations", ("",) * len(self.texts))
            object.__setattr__(self, "augmented_from", blank)
        expected = (len(self.texts), len(self.label_set))
        if self.targets.shape != expected:
            raise DataError(f"targets have shape {self.targets.shape}, expected {expected}")
        if not len(self.texts) == len(self.origins) == len(self.rows):
            raise DataError("texts, origins and rows differ in length")
        if not len(self.texts) == len(self.augmentations) == len(self.augmented_from):
            raise DataError("texts and what they were made from differ in length")

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> LabelledTexts:
        """Return the named rows, in the order given.

        :param indices: positions in this set.
        :return: a new set with those rows.
        """
        positions = np.asarray(indices, dtype=np.int64)
        return LabelledTexts(
            self.label_set,
            tuple(self.texts[i] for i in indices),
            self.targets[positions],
            tuple(self.origins[i] for i in indices),
            self.rows[positions],
            tuple(self.augmentations[i] for i in indices),
            self.augmented_from[positions],
        )

    @staticmethod
    def concatenate(parts: Sequence[LabelledTexts]) -> LabelledTexts:
        """Join sets that share a label set.

        :param parts: at least one set.
        :return: all rows, in order.
        :raises DataError: if the label sets differ.
        """
        label_set = parts[0].label_set
        if any(part.label_set.labels != label_set.labels for part in parts):
            raise DataError("cannot join sets with different labels")
        return LabelledTexts(
            label_set,
            tuple(text for part in parts for text in part.texts),
            np.concatenate([part.targets for part in parts]),
            tuple(origin for part in parts for origin in part.origins),
            np.concatenate([part.rows for part in parts]),
            tuple(name for part in parts for name in part.augmentations),
            np.concatenate([part.augmented_from for part in parts]),
        )

    def label_counts(self) -> dict[str, dict[str, int]]:
        """Count how often each label is present, absent and unknown.

        :return: per label the three counts.
        """
        return {
            label: {
                "present": int((self.targets[:, i] == 1).sum()),
                "absent": int((self.targets[:, i] == 0).sum()),
                "unknown": int((self.targets[:, i] == UNKNOWN).sum()),
            }
            for i, label in enumerate(self.label_set.labels)
        }

    def save(self, path: Path) -> None:
        """Write Parquet atomically: text, origin, row and one nullable column per label.

        Where rows were made from others, there are two more nullable columns: augmentation and
        augmented_from.

        :param path: the file to write.
        """
        pa = require("pyarrow", extra="train")
        parquet = require("pyarrow.parquet", extra="train")
        columns = {
            "text": pa.array(self.texts, pa.string()),
            "origin": pa.array(self.origins, pa.string()),
            "row": pa.array(self.rows),
        }
        if any(self.augmentations):
            plain = self.augmented_from == NOT_AUGMENTED
            methods = [name or None for name in self.augmentations]
            columns["augmentation"] = pa.array(methods, pa.string())
            columns["augmented_from"] = pa.array(self.augmented_from, mask=plain)
        for i, label in enumerate(self.label_set.labels):
            values = self.targets[:, i]
            columns[label] = pa.array(values, mask=values == UNKNOWN)
        with atomic_path(path) as temporary:
            parquet.write_table(pa.table(columns), temporary, compression="zstd")

    @staticmethod
    def load(path: Path, label_set: LabelSet) -> LabelledTexts:
        """Read what `save` wrote.

        :param path: the Parquet file.
        :param label_set: the labels it must hold.
        :return: the rows.
        :raises DataError: if the file is missing, damaged or lacks a column.
        """
        parquet = require("pyarrow.parquet", extra="train")
        if not path.is_file():
            raise DataError(f"{path} does not exist; prepare the data again")
        try:
            table = parquet.read_table(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable Parquet file: {error}") from error
        wanted = ["text", "origin", "row", *label_set.labels]
        missing = [name for name in wanted if name not in table.column_names]
        if missing:
            raise DataError(f"{path} lacks the columns {', '.join(missing)}")
        targets = np.stack(
            [
                table[label].fill_null(UNKNOWN).to_numpy().astype(np.int8)
                for label in label_set.labels
            ],
            axis=1,
        )
        made: tuple[Any, ...] = ()
        if {"augmentation", "augmented_from"} <= set(table.column_names) - set(label_set.labels):
            made = (
                tuple(table["augmentation"].fill_null("").to_pylist()),
                table["augmented_from"].fill_null(NOT_AUGMENTED).to_numpy().astype(np.int64),
            )
        return LabelledTexts(
            label_set,
            tuple(table["text"].to_pylist()),
            targets,
            tuple(table["origin"].to_pylist()),
            table["row"].to_numpy().astype(np.int64),
            *made,
        )
