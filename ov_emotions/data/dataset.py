"""Labelled texts in memory, as Parquet, and as a prepared folder: a file a split and a manifest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions import __version__
from ov_emotions.errors import DataError
from ov_emotions.files import atomic_folder, atomic_path, sha256_file
from ov_emotions.labels import EKMAN, LABEL_SETS, LabelSet
from ov_emotions.normalize import NORMALIZER_VERSION, normalize
from ov_emotions.schema import Schema, from_builtins, read_json, write_json
from ov_emotions.system import require
from ov_emotions.texts import BadRow

PREPARED_SCHEMA = 1
MANIFEST_NAME = "prepared.json"

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
        beside = (self.origins, self.rows, self.augmentations, self.augmented_from)
        if any(len(values) != len(self.texts) for values in beside):
            raise DataError("texts and what stands beside them differ in length")

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> LabelledTexts:
        """Return the rows at some positions, in the order given."""
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
        """Join at least one set with others of the same labels.

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
        """Count how often each label is present, absent and unknown."""
        values = {"present": 1, "absent": 0, "unknown": UNKNOWN}
        return {
            label: {name: int((column == value).sum()) for name, value in values.items()}
            for label, column in zip(self.label_set.labels, self.targets.T, strict=True)
        }

    def save(self, path: Path) -> None:
        """Write Parquet atomically: text, origin, row and one nullable column per label.

        Where rows were made from others, there are two more nullable columns: augmentation and
        augmented_from.
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

        :raises DataError: if the file is missing, damaged or lacks a column.
        """
        parquet = require("pyarrow.parquet", extra="train")
        if not path.is_file():
            raise DataError(f"{path} does not exist; prepare the data again")
        try:
            table = parquet.read_table(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable Parquet file: {error}") from error
        labels = label_set.labels
        missing = [n for n in ("text", "origin", "row", *labels) if n not in table.column_names]
        if missing:
            raise DataError(f"{path} lacks the columns {', '.join(missing)}")
        targets = [table[n].fill_null(UNKNOWN).to_numpy().astype(np.int8) for n in labels]
        made: tuple[Any, ...] = ()
        if {"augmentation", "augmented_from"} <= set(table.column_names) - set(labels):
            made = (
                tuple(table["augmentation"].fill_null("").to_pylist()),
                table["augmented_from"].fill_null(NOT_AUGMENTED).to_numpy().astype(np.int64),
            )
        return LabelledTexts(
            label_set,
            tuple(table["text"].to_pylist()),
            np.stack(targets, axis=1),
            tuple(table["origin"].to_pylist()),
            table["row"].to_numpy().astype(np.int64),
            *made,
        )


class FileFacts(Schema, frozen=True, kw_only=True, omit_defaults=True):
    """A file that rows were read from.

    :param split: that its rows were given for; none where the manifest lists files by split.
    """

    split: str | None = None
    name: str
    sha256: str
    rows: int


class SourceFacts(Schema, frozen=True, kw_only=True, omit_defaults=True):
    """A set of labelled texts: whose it is, and what was read of it.

    :param licence: SPDX expression of what it may be used under.
    :param annotates: labels that are known in its rows.
    :param files: by split, or by name.
    :param bad_rows: by the keys of `files`, the rows that were left out.
    :param synthetic: whether its texts were written for training, and never said by anybody.
    :param translated: the model that translated the texts, and how.
    """

    name: str
    licence: str
    url: str
    attribution: str
    annotates: tuple[str, ...]
    files: dict[str, FileFacts]
    bad_rows: dict[str, tuple[BadRow, ...]]
    synthetic: bool = False
    translated: dict[str, Any] | None = None


class SplitFacts(Schema, frozen=True, kw_only=True, omit_defaults=True):
    """What a split's file holds.

    :param labels: per label how often it is present, absent and unknown.
    :param rows_by_augmentation: rows by the method that made them from others.
    """

    rows: int
    sha256: str
    rows_by_origin: dict[str, int]
    labels: dict[str, dict[str, int]]
    labels_by_origin: dict[str, dict[str, dict[str, int]]]
    rows_by_augmentation: dict[str, int] | None = None

    @staticmethod
    def of(data: LabelledTexts, sha256: str) -> SplitFacts:
        """Describe the rows of a split and the file that holds them."""
        origins = np.array(data.origins)
        parts = {o: np.flatnonzero(origins == o) for o in sorted(set(data.origins))}
        return SplitFacts(
            rows=len(data),
            sha256=sha256,
            rows_by_origin={origin: len(rows) for origin, rows in parts.items()},
            labels=data.label_counts(),
            labels_by_origin={o: data.select(rows).label_counts() for o, rows in parts.items()},
        )


class Manifest(Schema, frozen=True, kw_only=True, omit_defaults=True):
    """What `prepared.json` holds.

    :param library: version that wrote it.
    :param label_set: name of the labels' set; folders of before there was a choice lack it.
    :param dropped: per split, or set, how many rows were left out for each reason.
    :param screen: the files whose texts no training row may nearly equal, with their hashes, and
        how many rows of each set were left out for it.
    :param validation_parts: rows of validation by part: calibration, thresholds, selection.
    :param augmentation: one entry a run of `data augment`.
    """

    schema: int
    library: str
    normalizer: str
    seed: int
    near_threshold: float
    label_set: str | None = None
    labels: tuple[str, ...]
    label_names_ru: dict[str, str] | None = None
    sources: tuple[SourceFacts, ...]
    dropped: dict[str, dict[str, int]]
    screen: dict[str, dict[str, Any]] | None = None
    splits: dict[str, SplitFacts]
    validation_parts: dict[str, list[int]]
    augmentation: tuple[dict[str, Any], ...] | None = None

    @staticmethod
    def of(
        label_set: LabelSet, splits: dict[str, SplitFacts], facts: Mapping[str, Any]
    ) -> Manifest:
        """Say what these splits hold, and the facts that they do not tell."""
        return Manifest(
            schema=PREPARED_SCHEMA,
            library=__version__,
            normalizer=NORMALIZER_VERSION,
            label_set=label_set.name,
            labels=label_set.labels,
            label_names_ru=dict(label_set.russian),
            splits=splits,
            **facts,
        )

    def read_label_set(self, path: Path) -> LabelSet:
        """Give the labels as a set; the path names the file in messages.

        :raises DataError: if the manifest does not tell it.
        """
        if self.label_set is None:
            if self.labels == EKMAN.labels:
                return EKMAN
            raise DataError(
                f"{path} does not say which label set it has, and its labels are not those of "
                f"{EKMAN.name}; prepare the data again"
            )
        russian = self.label_names_ru
        if not self.labels or russian is None or not set(russian) <= set(self.labels):
            raise DataError(f"{path} does not describe its label set; prepare the data again")
        known = LABEL_SETS.get(self.label_set)
        if known is not None and known.labels != self.labels:
            raise DataError(
                f"{path} calls its labels {self.label_set}, but they are "
                f"{', '.join(self.labels)}; prepare the data again"
            )
        return LabelSet(self.label_set, self.labels, MappingProxyType(russian))


def write_prepared(
    output: Path, splits: Mapping[str, LabelledTexts], facts: Mapping[str, Any]
) -> Manifest:
    """Write a prepared folder, which is replaced as a whole.

    :param splits: by name, all of one label set.
    :param facts: what else `Manifest` takes and the splits do not tell.
    """
    label_set = next(iter(splits.values())).label_set
    with atomic_folder(output) as folder:
        written = {}
        for name, data in splits.items():
            path = folder / f"{name}.parquet"
            data.save(path)
            written[name] = SplitFacts.of(data, sha256_file(path))
        manifest = Manifest.of(label_set, written, facts)
        write_json(folder / MANIFEST_NAME, manifest)
    return manifest


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder, opened.

    :param label_set: the labels of all its splits.
    """

    folder: Path
    manifest: Manifest
    label_set: LabelSet

    @staticmethod
    def open(folder: Path) -> PreparedData:
        """Open a prepared folder and check its manifest.

        :raises DataError: if it is not a prepared folder, or one of another schema.
        """
        path = folder / MANIFEST_NAME
        try:
            head = read_json(path, dict[str, Any], DataError)
        except DataError as error:
            raise DataError(
                f"{folder} is not a prepared folder ({error}); run `ov-emotions data prepare` or "
                "`data import`"
            ) from error
        if head.get("schema") != PREPARED_SCHEMA:
            raise DataError(f"{path} has schema {head.get('schema')}, not {PREPARED_SCHEMA}")
        manifest = from_builtins(head, Manifest, str(path), DataError)
        return PreparedData(folder, manifest, manifest.read_label_set(path))

    @property
    def test_split(self) -> str | None:
        """The split that final figures are taken on where none is named; None if there is none."""
        return next((name for name in self.manifest.splits if name.startswith("test")), None)

    def check_splits(self, names: Iterable[str]) -> None:
        """Refuse names that stand for no rows, before anything is computed for the others.

        :param names: of splits, or `validation:PART`.
        """
        parts = [f"validation:{part}" for part in self.manifest.validation_parts]
        known = [*self.manifest.splits, *parts]
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise DataError(
                    f"{self.folder} has no split {name!r}; {hint}it has {', '.join(known)}"
                )

    def split(self, name: str) -> LabelledTexts:
        """Read one split, after checking its hash.

        :param name: train, validation, or a test split: test_goemotions, test_cedr and
            test_brighter of `data prepare`, test of `data import`.
        :raises DataError: if there is no such split, or the file is not the one recorded.
        """
        self.check_splits([name])
        path = self.folder / f"{name}.parquet"
        if path.is_file() and sha256_file(path) != self.manifest.splits[name].sha256:
            raise DataError(
                f"{path} is not the file that was prepared: its hash differs; "
                "prepare the data again"
            )
        return LabelledTexts.load(path, self.label_set)

    def validation_part(self, name: str) -> LabelledTexts:
        """Read the calibration, thresholds or selection part of validation; see `split`."""
        self.check_splits([f"validation:{name}"])
        return self.split("validation").select(self.manifest.validation_parts[name])

    def held_out_texts(self) -> list[str]:
        """Return the normalised texts of every split but train: what no training row may equal."""
        held_out = [self.split(name) for name in self.manifest.splits if name != "train"]
        return [normalize(text) for data in held_out for text in data.texts]
