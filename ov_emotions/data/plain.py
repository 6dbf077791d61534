"""Labelled texts straight from files, in the place of a prepared folder.

    data = open_data([Path("val.csv")], labels=("радость", "грусть"), seed=1)
    data.validation_part("calibration")

A file is a validation split: its rows are dealt by seed to what calibrates, what thresholds are
fitted on, and what is left to choose by.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import LabelledTexts, Manifest, PreparedData, SplitFacts
from ov_emotions.data.own_labels import (
    LIST_NAMES,
    LabelColumns,
    find_columns,
    listed_labels,
    make_label_set,
    one_hot_cell,
    open_labelled,
)
from ov_emotions.data.prepare import VALIDATION_PARTS, stratified_parts
from ov_emotions.data.settings import SEED, ImportConfig
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.labels import LABEL_SETS, LabelSet
from ov_emotions.texts import BadRow, Row, Table

_LOGGER = logging.getLogger(__name__)

FEWEST_ROWS = 30
"""Rows below which the smallest part would hold so few that no figure could be honest."""

FEW_ROWS = 500
"""Rows below which a warning says how uncertain figures are."""

DEFAULT_SEED = SEED
_NUMBERS = re.compile(r"\[[\d.\s]*\]")


@dataclass(frozen=True)
class PlainData(PreparedData):
    """Rows of files behind what a prepared folder offers; `validation` is the only split.

    :param rows: all usable rows, texts that stand there twice once.
    """

    rows: LabelledTexts

    def split(self, name: str) -> LabelledTexts:
        if name != "validation":
            raise DataError(f"{self.folder} is a file with one split, validation, not {name!r}")
        return self.rows


def open_data(
    source: Path | Sequence[Path],
    labels: Sequence[str] | None = None,
    seed: int = DEFAULT_SEED,
    text_column: str = "text",
) -> PreparedData:
    """Open what `--data` names: a prepared folder, or files with labelled texts.

    Labels stand in one column of 0 and 1 each, or in a column called labels or label: names, a list
    of names, an index or a list of indices into the model's labels, or a list of as many zeros and
    ones.

    :param source: a folder that `ov-emotions data` wrote, or files that `classify` reads.
    :param labels: of the model, in the order of its outputs; None takes those of the files.
    :param seed: of the parts that the rows are dealt to.
    :raises DataError: if it cannot be read, or has too few rows for any honest figure.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    if len(paths) == 1 and not paths[0].is_file():
        return PreparedData.open(paths[0])
    rows = read_rows(paths, labels, text_column)
    if len(rows) < FEWEST_ROWS:
        raise DataError(
            f"{paths[0]} has {len(rows)} different texts with labels, and with fewer than "
            f"{FEWEST_ROWS} no figure could be honest; give more, or leave --data out"
        )
    if len(rows) < FEW_ROWS:
        _LOGGER.warning(
            "%s has %d texts: figures and thresholds of so few are uncertain", paths[0], len(rows)
        )
    digest = "".join(sha256_file(path) for path in paths)
    facts = {
        "seed": seed,
        "near_threshold": 1.0,
        "sources": (),
        "dropped": {},
        "validation_parts": stratified_parts(
            rows.targets, VALIDATION_PARTS, np.random.default_rng(seed)
        ),
    }
    splits = {"validation": SplitFacts.of(rows, digest[:64])}
    return PlainData(paths[0], Manifest.of(rows.label_set, splits, facts), rows.label_set, rows)


def read_rows(
    paths: Sequence[Path], labels: Sequence[str] | None, text_column: str = "text"
) -> LabelledTexts:
    """Read labelled texts, each once; rows that do not fit are left out with a warning.

    :param labels: see `open_data`.
    :raises DataError: if a file cannot be read, has no labels, or no row that fits.
    """
    tables = [open_labelled(path, text_column) for path in paths]
    label_set = _label_set(tables, text_column, labels)
    texts: dict[str, tuple[int, NDArray[np.int8], str]] = {}
    bad: list[BadRow] = []
    for table in tables:
        columns = _columns(table, label_set)
        for record in table.rows(columns.names, strict=True):
            if isinstance(record, BadRow):
                bad.append(record)
                continue
            try:
                target = _target(record, label_set, columns.listed)
            except DataError as error:
                bad.append(BadRow(record.row, str(error)))
            else:
                texts.setdefault(record.text, (record.row, target, table.path.name))
    if bad:
        reason = f"row {bad[0].row}: {bad[0].reason}"
        if not texts:
            raise DataError(f"{paths[0]} has no usable row: {reason}")
        _LOGGER.warning("%s: %d rows are left out, such as %s", paths[0], len(bad), reason)
    found = texts.values()
    return LabelledTexts(
        label_set,
        tuple(texts),
        np.array([t for _, t, _ in found], dtype=np.int8).reshape(len(texts), len(label_set)),
        tuple(name for _, _, name in found),
        np.array([row for row, _, _ in found], dtype=np.int64),
    )


def _label_set(tables: Sequence[Table], text_column: str, labels: Sequence[str] | None) -> LabelSet:
    if labels is not None:
        same = next((s for s in LABEL_SETS.values() if s.labels == tuple(labels)), None)
        return same or LabelSet("model", tuple(labels), MappingProxyType({}))
    paths = tuple(table.path for table in tables)
    config = ImportConfig(paths, Path(), text_column=text_column)
    found = find_columns(config)
    listed = found.listed
    if listed is None:
        return make_label_set(config, found.one_hot)
    names = {
        name
        for table in tables
        for record in table.rows((listed,))
        if isinstance(record, Row)
        for name in listed_labels(listed, record.cells[listed], ",")
    }
    return make_label_set(config, sorted(names))


def _columns(table: Table, labels: LabelSet) -> LabelColumns:
    names = table.all_fields()
    if set(labels.labels) <= set(names):
        return LabelColumns(labels.labels)
    listed = next((name for name in LIST_NAMES if name in names), None)
    if listed is None:
        others = ", ".join(name for name in names if name != table.text) or "none"
        raise DataError(
            f"{table.path} has neither a column for each of the labels "
            f"{', '.join(labels.labels)} nor one called labels; beside {table.text!r} it has "
            f"{others}"
        )
    return LabelColumns(listed=listed)


def _target(record: Row, labels: LabelSet, listed: str | None) -> NDArray[np.int8]:
    """Read a row's labels: int8, shape (labels,)."""
    if listed is None:
        values = [one_hot_cell(name, record.cells[name]) for name in labels.labels]
        return np.array(values, dtype=np.int8)
    cell = _plain_cell(record.cells[listed])
    target = np.zeros(len(labels), dtype=np.int8)
    if isinstance(cell, list) and cell and all(map(_is_number, cell)):
        if len(cell) == len(labels) and set(cell) <= {0, 1}:
            return np.array(cell, dtype=np.int8)
        for number in cell:
            if not 0 <= number < len(labels) or number != int(number):
                raise DataError(f"label {number} is no index of the model's {len(labels)} labels")
            target[int(number)] = 1
        return target
    for name in listed_labels(listed, cell, ","):
        if name not in labels.labels:
            raise DataError(f"label {name!r} is not among {', '.join(labels.labels)}")
        target[labels.index(name)] = 1
    return target


def _plain_cell(cell: Any) -> Any:
    """Read numbers, which the reader of names does not take: 3, [1, 2], [1 2]."""
    if _is_number(cell) and cell == cell:
        return [cell]
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if text.isdecimal():
        return [int(text)]
    if _NUMBERS.fullmatch(text):
        return [float(n) for n in text.strip("[]").split()]
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return cell
    return cell


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
