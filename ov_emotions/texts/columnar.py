"""Workbooks (.xlsx) and Parquet."""

from __future__ import annotations

import io
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, time
from itertools import accumulate
from typing import Any

from ov_emotions.errors import DataError
from ov_emotions.system import require
from ov_emotions.texts.streams import BadRow, Row, Source, reading
from ov_emotions.texts.table import (
    ReadSettings,
    Start,
    Table,
    Wanted,
    find_text,
    said,
    text_value,
    unique,
)


def open_xlsx(source: Source, kind: str, settings: ReadSettings) -> Table:
    """Look into a sheet of a workbook; formulas are read as their last values."""
    openpyxl = require("openpyxl", extra="excel")
    with source.open() as file:
        content = io.BytesIO(file.read())  # a sheet's file would be open as long as the sheet
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and rules that it passes over
            book = openpyxl.load_workbook(content, read_only=True, data_only=True)
    except Exception as error:  # of many kinds
        raise DataError(
            f"{source.name} is not a readable .xlsx workbook: {str(error) or type(error).__name__}"
        ) from error
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    shown = [name for name, sheet in sheets.items() if sheet.sheet_state == "visible"]
    name = settings.sheet or next(iter(shown or sheets), "")
    if name not in sheets:
        raise DataError(f"{source.name} has no sheet {name!r}; it has {', '.join(sheets)}")
    sheet = sheets[name]
    sheet.reset_dimensions()  # which some programs write wrong
    rows = enumerate(sheet.iter_rows(values_only=True), start=1)
    first, header = next(((i, row) for i, row in rows if any(map(_is_filled, row))), (0, ()))
    names = ["" if cell is None else str(cell) for cell in header]
    while names and not names[-1]:
        del names[-1]
    columns, twice = unique(names)
    text = find_text(source, names, settings.text_column)
    position = columns.index(text)
    notes: tuple[str, ...] = ()
    if settings.sheet is None and len(shown) > 1:
        notes = (said(source, f"its sheet {name!r}, of {len(sheets)}", "--sheet"),)

    def read(wanted: Wanted) -> Iterator[Row | BadRow]:
        places = [(name, columns.index(name)) for name in wanted.columns]
        for i, row in enumerate(sheet.iter_rows(min_row=first + 1, values_only=True), start=1):
            if not any(map(_is_filled, row)):
                continue
            cells = (*row, *[None] * (len(columns) - len(row)))
            said = cells[position]
            value = text_value(i, said if said is None else _spelt(said))
            others = {name: cells[place] for name, place in places}
            if isinstance(value, str):
                yield Row(i, value, others)
            else:
                yield replace(value, kept=Row(i, "", others))

    return Table(source, kind, columns, text, read, notes=notes, twice=twice)


def _is_filled(cell: Any) -> bool:
    return cell is not None and cell != ""


def _spelt(cell: Any) -> str:
    """Write a cell as a person reads it: whole numbers without a point, dates by ISO 8601."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)


def open_parquet(source: Source, kind: str, settings: ReadSettings) -> Table:
    """Look into Parquet; see `open_table`."""
    pa = require("pyarrow", extra="train")
    parquet = require("pyarrow.parquet", extra="train")
    content: Any = source.path
    if not source.regular:
        content = pa.BufferReader(source.open().read())

    def opened() -> Any:
        try:
            return parquet.ParquetFile(content, pre_buffer=False)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{source.name} is not a readable Parquet file: {error}") from error

    with reading(source.path), opened() as file:
        schema = file.schema_arrow
    if twice := unique(schema.names)[1]:
        raise DataError(f"{source.name} has more than one column {', '.join(map(repr, twice))}")
    text = find_text(source, schema.names, settings.text_column)
    held = schema.field(text).type
    held = held.value_type if pa.types.is_dictionary(held) else held
    if not (pa.types.is_string(held) or pa.types.is_large_string(held)):
        kind_of = schema.field(text).type
        raise DataError(f"the column {text!r} of {source.name} holds {kind_of}, not strings")

    def read(wanted: Wanted) -> Iterator[Row | BadRow]:
        number = wanted.start.row if wanted.start else 0
        with opened() as file:
            groups, skip = _row_groups(file.metadata, number)
            asked = {"columns": [text, *wanted.columns], "row_groups": groups, "batch_size": 1024}
            try:
                for whole in file.iter_batches(**asked):
                    batch = whole.slice(skip)
                    skip = max(skip - whole.num_rows, 0)
                    for place, value in enumerate(_text_values(batch.column(text), number)):
                        number += 1
                        if isinstance(value, str):
                            yield Row(number, value, ArrowCells(batch, place, wanted.columns))
                        else:
                            yield value
            except (pa.ArrowException, NotImplementedError) as error:
                raise DataError(f"{source.name} is damaged after row {number}: {error}") from error

    def cut(rows: int) -> Iterator[tuple[Start, int]]:
        with opened() as file:
            total = file.metadata.num_rows
        for first in range(0, total, rows):
            yield Start(first), min(rows, total - first)

    return Table(source, kind, tuple(schema.names), text, read, schema=schema, _cut=cut)


class ArrowCells(Mapping[str, Any]):
    """The cells of a row of an Arrow batch, made plain values when they are asked for."""

    __slots__ = ("batch", "names", "place")

    def __init__(self, batch: Any, place: int, names: tuple[str, ...]) -> None:
        self.batch = batch
        self.place = place
        self.names = names

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        try:
            return self.batch.column(name)[self.place].as_py()
        except (ValueError, OverflowError):  # not UTF-8, or a time that Python cannot hold
            return BadRow(self.place, "a value cannot be read")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _text_values(column: Any, before: int) -> list[str | BadRow]:
    """Take the values of a column, with so many rows before it, for texts."""

    def value(number: int, scalar: Any) -> str | BadRow:
        try:
            return text_value(number, scalar.as_py())
        except UnicodeDecodeError:
            return BadRow(number, "the text is not UTF-8")

    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        return [value(number, scalar) for number, scalar in enumerate(column, before + 1)]
    return [text_value(number, one) for number, one in enumerate(values, before + 1)]


def _row_groups(metadata: Any, before: int) -> tuple[list[int], int]:
    """Find the row groups behind so many rows, and the rows of the first that lie before."""
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    first = bisect_right(list(accumulate(sizes)), before)
    return list(range(first, len(sizes))), before - sum(sizes[:first])
