"""The labels of own data: which columns tell them, what a cell says, what they are called."""

from __future__ import annotations

import ast
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ov_emotions.data.dataset import RESERVED_COLUMNS, UNKNOWN
from ov_emotions.data.settings import ImportConfig
from ov_emotions.errors import DataError, InputError
from ov_emotions.labels import LABEL_SETS, LabelSet
from ov_emotions.texts import NAN_CELLS, BadRow, ReadSettings, Row, Table, open_table

LIST_NAMES = ("labels", "label")
"""Names by which a column that lists labels is found."""

_FOUND_SHARE = 0.9
"""Of a column's cells that say something, how many must be 0 or 1 for it to be found as a label; a
stray value is then a bad row, and not a label that is gone without a word."""

_CELLS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True)
class LabelColumns:
    """Where the labels of a row stand: in one column a label, or in one column that lists them."""

    one_hot: tuple[str, ...] = ()
    listed: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return self.one_hot if self.listed is None else (self.listed,)


def one_hot_cell(label: str, cell: Any) -> int:
    """Read a cell of a label's column: 1 present, 0 absent, `UNKNOWN` where it is empty or NaN.

    :raises DataError: if it holds anything but 0 and 1, as a number, text or truth value.
    """
    if _is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return UNKNOWN
    if isinstance(cell, int | float) and cell in (0, 1):
        return int(cell)
    if isinstance(cell, str) and (value := _CELLS.get(cell.strip().lower())) is not None:
        return value
    raise DataError(f"column {label!r} holds {_shown(cell)}, expected 0, 1 or nothing")


def listed_labels(column: str, cell: Any, delimiter: str) -> tuple[str, ...]:
    """Read a cell of a list column: each name once, none for an empty list or text.

    :param cell: a list of names, JSON or Python source of one, or names between delimiters.
    :raises DataError: if there is no list, or something in it is no name.
    """
    if _is_missing(cell):
        raise DataError(f"column {column!r} holds nothing, so the row is not annotated")
    names = _from_text(cell.strip(), delimiter) if isinstance(cell, str) else cell
    if not isinstance(names, list):
        raise DataError(f"column {column!r} holds {_shown(cell)}, not a list of labels")
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"column {column!r} lists {_shown(name)}, expected names of labels")
        if not name.strip():
            raise DataError(f"column {column!r} lists a blank label")
    return tuple(dict.fromkeys(name.strip() for name in names))


def _from_text(cell: str, delimiter: str) -> Any:
    if not cell.startswith("["):
        return [name for name in cell.split(delimiter) if name.strip()]
    for read in (json.loads, ast.literal_eval):  # the second takes what pandas writes for a list
        try:
            return read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip() in NAN_CELLS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _shown(value: Any) -> str:
    if isinstance(value, BadRow):
        return value.reason
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def some(names: Sequence[str]) -> str:
    """List names for a message, the first ten at most."""
    rest = len(names) - 10
    return ", ".join(names[:10]) + (f" and {rest} more" if rest > 0 else "")


def open_labelled(path: Path, text_column: str, columns: Sequence[str] = ()) -> Table:
    """Open a file of texts with labels.

    :param columns: that it must have beside the text.
    :raises DataError: if it cannot be read, has no columns beside the text, lacks one of those
        that are wanted, or has one twice.
    """
    table = open_table(path, ReadSettings(text_column))
    if table.format == "txt":
        raise DataError(f"{path} has texts only, and no column with labels")
    if not table.source.regular:
        raise DataError(f"{path} is no plain file, and would have to be read more than once")
    if table.twice:
        raise DataError(f"{path} has more than one column {', '.join(map(repr, table.twice))}")
    others = [name for name in table.all_fields() if name != table.text]
    if missing := [name for name in columns if name not in others]:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; beside {table.text!r} it has "
            f"{', '.join(others) or 'none'}"
        )
    return table


def find_columns(config: ImportConfig) -> LabelColumns:
    """Decide which columns tell the labels: those that are named, or else those that look it.

    :raises DataError: if none is named and none looks it, or both kinds do.
    """
    if config.label_columns:
        return LabelColumns(one_hot=config.label_columns)
    if config.list_column is not None:
        return LabelColumns(listed=config.list_column)
    names: dict[str, None] = {}
    known: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    rows = 0
    for path in (*config.files, *config.validation, *config.test):
        table = open_labelled(path, config.text_column)
        own = tuple(name for name in table.all_fields() if name != table.text)
        names.update(dict.fromkeys(own))
        for record in table.rows(own, strict=True):
            rows += 1
            for name, cell in record.cells.items() if isinstance(record, Row) else ():
                try:
                    known[name] += one_hot_cell(name, cell) != UNKNOWN
                except DataError:
                    wrong[name] += 1
    first = config.files[0]
    if not rows:
        raise DataError(f"{first} has no rows")
    one_hot = tuple(n for n in names if known[n] > _FOUND_SHARE * (known[n] + wrong[n]))
    listed = next((name for name in LIST_NAMES if name in names and name not in one_hot), None)
    if config.labels:
        if listed is None:
            raise DataError(
                f"labels say what a list column may hold, and {first} has none called "
                "labels; name it with --list-column, or one-hot columns with --label-columns"
            )
        return LabelColumns(listed=listed)
    if one_hot and listed is not None:
        raise DataError(
            f"{first} has a column {listed!r} and columns of 0 and 1 ({some(one_hot)}); "
            "name the one with --list-column or the others with --label-columns"
        )
    if not one_hot and listed is None:
        raise DataError(
            f"{first} has no column of 0 and 1 and none called labels; beside "
            f"{config.text_column!r} it has {', '.join(names) or 'none'}; name one with "
            "--label-columns or --list-column"
        )
    return LabelColumns(one_hot, listed)


def _check_names(labels: Sequence[str]) -> None:
    """Refuse names that no label can have."""
    if twice := [name for name, count in Counter(labels).items() if count > 1]:
        raise DataError(f"a label is named twice: {some(twice)}")
    if taken := [name for name in labels if name in RESERVED_COLUMNS]:
        raise DataError(
            f"{taken[0]!r} cannot be the name of a label, because prepared files have a column "
            f"of that name ({', '.join(RESERVED_COLUMNS)}); rename it"
        )
    for name in labels:
        if not name.strip() or name != name.strip() or not name.isprintable():
            raise DataError(
                f"{name!r} cannot be the name of a label: it is blank, has blanks at an end, or "
                "holds what does not print"
            )


def make_label_set(config: ImportConfig, labels: Sequence[str]) -> LabelSet:
    """Name the set; labels of a known set take its order and its Russian names.

    :raises DataError: if a label cannot be called so.
    :raises InputError: if a Russian name has no label, or the set's name is another's.
    """
    _check_names(labels)
    given = config.russian or {}
    if strangers := [name for name in given if name not in labels]:
        raise InputError(
            f"russian names {some(strangers)}, and the labels are {some(tuple(labels))}"
        )
    if blank := [label for label, name in given.items() if not name.strip()]:
        raise InputError(f"russian has a blank name for {some(blank)}")
    same = next((s for s in LABEL_SETS.values() if set(s.labels) == set(labels)), None)
    name = config.label_set or (same.name if same else f"{config.set_name}-{len(labels)}")
    if name in LABEL_SETS and (same is None or same.name != name):
        raise InputError(
            f"label_set {name!r} is a set of {len(LABEL_SETS[name])} other labels; choose "
            "another name"
        )
    russian: Mapping[str, str] = {**(same.russian if same else {}), **given}
    order = same.labels if same else tuple(labels)
    return LabelSet(name, order, MappingProxyType(dict(russian)))
