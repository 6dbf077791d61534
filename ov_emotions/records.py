"""Whole rows out of files: a text and what stands beside it, as `textfiles` reads the text alone.

The formats, the numbering of rows and what makes a row bad are those of `textfiles`, without .txt,
which has no columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ov_emotions._extras import require
from ov_emotions.errors import DataError
from ov_emotions.textfiles import (
    DELIMITERS,
    BadRow,
    check_text_file,
    csv_records,
    csv_text,
    is_broken,
    jsonl_objects,
    open_csv,
    open_file,
    open_parquet,
    parquet_text,
    reading,
    text_format,
    text_value,
)


@dataclass(frozen=True)
class Record:
    """A row with a usable text.

    :param row: its number, counted from 1 below the header.
    :param text: as it stands in the file.
    :param cells: the other columns asked for, by name: strings of .csv and .tsv, plain values of
        .jsonl and .parquet; None where a .jsonl row lacks the field. A cell that cannot be read is
        a `BadRow`.
    """

    row: int
    text: str
    cells: Mapping[str, Any]


def column_names(path: Path, text_column: str) -> tuple[str, ...]:
    """Name the columns of a file beside the one with the text.

    :param path: .csv, .tsv, .jsonl (the fields of all its rows) or .parquet.
    :param text_column: must be among them.
    :return: the names, in the order of the file.
    :raises DataError: if the file cannot be read, has no columns, or names one twice.
    """
    check_text_file(path, text_column)
    if not path.is_file():
        raise DataError(f"{path} is no plain file, and would have to be read more than once")
    extension = text_format(path)
    with reading(path):
        if extension == ".txt":
            raise DataError(f"{path} has texts only, and no column with labels")
        if extension == ".parquet":
            with open_parquet(path, text_column) as parquet:
                names = list(parquet.schema_arrow.names)
        else:
            with open_file(path) as file:
                if extension == ".jsonl":
                    fields: dict[str, None] = {}
                    for _, value in jsonl_objects(file):
                        if isinstance(value, dict):
                            fields.update(dict.fromkeys(value))
                    names = list(fields)
                else:
                    names = open_csv(path, file, text_column, DELIMITERS[extension])[2]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has more than one column {', '.join(map(repr, twice))}")
    return tuple(name for name in names if name != text_column)


def read_records(path: Path, text_column: str, columns: Sequence[str]) -> Iterator[Record | BadRow]:
    """Read the rows of a file lazily and in order.

    :param path: the file; its extension names the format.
    :param text_column: the column with the text.
    :param columns: the others that are wanted.
    :return: yields each row, or why it is left out.
    :raises DataError: at the call, if the file cannot be read or lacks a column; while reading, if
        it turns out to be damaged.
    """
    available = column_names(path, text_column)
    if missing := [name for name in columns if name not in available]:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; beside {text_column!r} it has "
            f"{', '.join(available) or 'none'}"
        )
    return _read(path, text_column, columns)


def _read(path: Path, text_column: str, columns: Sequence[str]) -> Iterator[Record | BadRow]:
    extension = text_format(path)
    with reading(path):
        if extension == ".parquet":
            yield from _parquet(path, text_column, columns)
            return
        with open_file(path) as file:
            if extension == ".jsonl":
                for number, value in jsonl_objects(file):
                    if isinstance(value, BadRow):
                        yield value
                        continue
                    text = text_value(number, value.get(text_column))
                    yield _record(number, text, {name: value.get(name) for name in columns})
                return
            reader, position, header = open_csv(path, file, text_column, DELIMITERS[extension])
            places = {name: header.index(name) for name in columns}
            for number, cells in csv_records(reader):
                if isinstance(cells, BadRow):
                    yield cells
                elif flaw := csv_flaw(number, cells, header, columns):
                    yield flaw
                else:
                    text = csv_text(number, cells, position)
                    yield _record(number, text, {n: cells[place] for n, place in places.items()})


def csv_flaw(
    number: int, cells: Sequence[str], header: Sequence[str], columns: Sequence[str]
) -> BadRow | None:
    """Find what makes a row of CSV unusable beside its text.

    :param number: of the row.
    :param cells: of the row.
    :param header: the names of all columns.
    :param columns: those that are wanted.
    :return: what is wrong; None if nothing is.
    """
    if len(cells) != len(header):
        # A stray delimiter would put every cell behind it under another's name.
        reason = f"the row has {len(cells)} cells, the header has {len(header)}"
        return BadRow(number, reason)
    for name, cell in zip(header, cells, strict=True):
        if name in columns and is_broken(cell):
            return BadRow(number, f"column {name!r} is not UTF-8")
    return None


def _record(number: int, text: str | BadRow, cells: Mapping[str, Any]) -> Record | BadRow:
    return text if isinstance(text, BadRow) else Record(number, text, cells)


def _parquet(path: Path, text_column: str, columns: Sequence[str]) -> Iterator[Record | BadRow]:
    pa = require("pyarrow", extra="train")
    number = 0
    with open_parquet(path, text_column) as file:
        try:
            for batch in file.iter_batches(batch_size=1024, columns=[text_column, *columns]):
                texts = batch.column(text_column)
                others = {name: batch.column(name) for name in columns}
                for i, scalar in enumerate(texts):
                    number += 1
                    cells = {name: _plain(number, other[i]) for name, other in others.items()}
                    yield _record(number, parquet_text(number, scalar), cells)
        except (pa.ArrowException, NotImplementedError) as error:
            raise DataError(f"{path} is damaged after row {number}: {error}") from error


def _plain(number: int, scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):  # not UTF-8, or a time that Python cannot hold
        return BadRow(number, "a value cannot be read")
