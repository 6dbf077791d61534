"""Rows written with their answers beside them: .csv, .tsv, .xlsx, .jsonl and .parquet.

All columns of the input stand as they were, then those that are added. Cells that a spreadsheet
would run as a formula are escaped, and labels that hold the separator of a list of labels are
written as a JSON list.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import pickle
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from ov_emotions.errors import DataError
from ov_emotions.system import require
from ov_emotions.texts.streams import BadRow, Row
from ov_emotions.texts.table import DELIMITERS, Table

if TYPE_CHECKING:
    from ov_emotions.prediction import Prediction

Written = Literal["csv", "tsv", "jsonl", "parquet", "xlsx"]
WRITTEN: tuple[str, ...] = get_args(Written)
"""Formats of tables that are written."""

_FLUSH_ROWS = 20_000
_FLUSH_BYTES = 64 * 2**20
_SHEET_ROWS = 1_048_576
_SHEET_CELL = 32_767
_BYTES = "ov_emotions.bytes"


def _kept(error: UnicodeError) -> tuple[bytes, int]:
    """Write bytes that were read as lone surrogates as they were, and others as question marks."""
    assert isinstance(error, UnicodeEncodeError)
    some = error.object[error.start : error.end]
    kept = (ord(c) - 0xDC00 if "\udc80" <= c <= "\udcff" else ord("?") for c in some)
    return bytes(kept), error.end


codecs.register_error(_BYTES, _kept)


@dataclass(frozen=True)
class Added:
    """The columns that are added to a row.

    :param labels: of the model, in the order of its outputs.
    :param names: what to write for labels, where that is not the label.
    :param prefix: before the names of the columns.
    :param wide: whether tables of cells have a column a label, and not one with all scores.
    :param source: whether a column names the file of a row.
    :param titles: what to call the columns `source_file`, `labels`, `scores` and `truncated`, where
        that is not their name.
    """

    labels: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    wide: bool = False
    source: bool = False
    titles: Mapping[str, str] = field(default_factory=dict)

    def columns(self, cells: bool) -> tuple[str, ...]:
        """Name the columns, of a format of plain cells or of one that holds structures."""
        scores = self.written(self.labels) if self.wide and cells else ["scores"]
        source = ["source_file"] if self.source else []
        names = (*source, "labels", *scores, "truncated")
        return tuple(self.prefix + self.titles.get(name, name) for name in names)

    def written(self, labels: Sequence[str]) -> list[str]:
        """Write labels by the names that were given."""
        return [self.names.get(label, label) for label in labels]


def check_added(tables: Sequence[Table], added: Added, format_: str) -> None:
    """Refuse input that has a column of a name that is added to a file of a format."""
    names = added.columns(cells=format_ in ("csv", "tsv", "xlsx"))
    for table in tables:
        if taken := [name for name in names if name in table.columns]:
            raise DataError(
                f"{table.source.name} has a column {taken[0]!r} already; --prefix puts something "
                f"before the names of those that are added: {', '.join(names)}"
            )


def free(row: Row | BadRow, names: Sequence[str]) -> Row | BadRow:
    """Set a row aside that has a field of a name that is added: of .jsonl, any may have."""
    if isinstance(row, Row) and type(row.cells) is dict:
        for name in names:
            if name in row.cells:
                return BadRow(row.row, f"there is a field {name!r} already; see --prefix")
    return row


def joined(labels: Sequence[str], separator: str) -> Callable[[Sequence[str]], str]:
    """Make what writes some of the labels into a cell.

    :param separator: between them, unless one holds it: then they are a JSON list.
    """
    if any(separator in label or label.startswith("[") for label in labels):
        return lambda some: json.dumps(list(some), ensure_ascii=False)
    return separator.join


def escaped(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula.

    Numbers with a sign are none.
    """
    if not cell or cell[0] not in "=+-@\t\r":
        return cell
    try:
        float(cell.replace(",", ".", 1))
    except ValueError:
        return "'" + cell
    return cell


def spelt(cell: Any) -> str:
    """Write a value as a cell of text."""
    if isinstance(cell, str):
        return escaped(cell)
    if cell is None or isinstance(cell, BadRow):
        return ""
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, bool | list | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


class RowWriter(ABC):
    """Takes rows with their answers, in order.

    :param columns: of the input.
    :param text: which of them is the text.
    :param added: the columns beside them.
    """

    def __init__(self, out: BinaryIO, columns: Sequence[str], text: str, added: Added) -> None:
        self.out = out
        self.columns = tuple(columns)
        self.text = text
        self.added = added

    @abstractmethod
    def write(self, row: Row, answer: Prediction) -> None:
        """Write a row of the input with the answer to its text."""

    @abstractmethod
    def finish(self) -> None:
        """Write what was held back."""

    def _answer(self, row: Row, answer: Prediction, *, rounded: bool = True) -> list[Any]:
        """Return source, labels, scores and truncated, as far as they are added."""
        found, names = answer.to_dict(rounded=rounded), self.added.names
        scores = {names.get(label, label): score for label, score in found["scores"].items()}
        source = [row.source] if self.added.source else []
        return [*source, self.added.written(found["labels"]), scores, found["truncated"]]


@contextmanager
def open_writer(
    out: BinaryIO, format_: str, tables: Sequence[Table], added: Added
) -> Iterator[RowWriter]:
    """Write rows to an open file or a pipe; it is whole when the block ends.

    :param format_: one of `WRITTEN`.
    :param tables: of the input, whose columns are written; none for texts that stand alone.
    :raises DataError: if the input has a column that is added.
    :raises MissingExtraError: if what writes the format is not installed.
    """
    check_added(tables, added, format_)
    text = tables[0].text if tables else "text"
    columns: dict[str, None] = {}
    for table in tables:
        # The text of each file goes where that of the first stands.
        names = table.columns if format_ == "jsonl" else table.all_fields()
        columns.update((text if name == table.text else name, None) for name in names)
    named = tuple(columns) or (text,)
    writer: RowWriter
    if format_ == "xlsx":
        writer = _XlsxWriter(out, named, text, added)
    elif format_ == "parquet":
        schemas = [table.schema for table in tables]
        if schemas and all(s is not None and s.equals(schemas[0]) for s in schemas):
            writer = _ArrowWriter(out, named, text, added, schemas[0])
        else:
            writer = _ParquetWriter(out, named, text, added)
    elif format_ == "jsonl":
        writer = _JsonlWriter(out, named, text, added)
    else:
        delimiter = DELIMITERS[format_]
        if format_ == "csv" and tables and tables[0].format == "csv":
            delimiter = tables[0].delimiter or delimiter
        # What is read by people, and not by programs, keeps the mark that their programs want.
        marked = added.wide and any(table.marked or table.format == "xlsx" for table in tables)
        writer = _TextWriter(out, named, text, added, delimiter, marked=marked)
    yield writer
    writer.finish()


class _CellWriter(RowWriter):
    """Writes plain cells: a column a label, or all scores in one as JSON."""

    def __init__(self, out: BinaryIO, columns: Sequence[str], text: str, added: Added) -> None:
        super().__init__(out, columns, text, added)
        self.labels = added.written(added.labels)
        self.join = joined(self.labels, ",")

    def write(self, row: Row, answer: Prediction) -> None:
        cells = row.cells
        values = [row.text if name == self.text else cells.get(name) for name in self.columns]
        *source, labels, scores, truncated = self._answer(row, answer)
        values += [*source, self.join(labels)]
        if self.added.wide:
            values += [scores.get(name) for name in self.labels]
        else:
            values.append(json.dumps(scores, ensure_ascii=False))
        self._write([*values, json.dumps(truncated) if scores else ""])

    @abstractmethod
    def _write(self, values: Sequence[Any]) -> None: ...


class _TextWriter(_CellWriter):
    def __init__(
        self,
        out: BinaryIO,
        columns: Sequence[str],
        text: str,
        added: Added,
        delimiter: str,
        *,
        marked: bool,
    ) -> None:
        super().__init__(out, columns, text, added)
        # The mark tells a spreadsheet that it is UTF-8.
        encoding = "utf-8-sig" if marked else "utf-8"
        self.stream = io.TextIOWrapper(out, encoding, errors=_BYTES, newline="")
        self.csv = csv.writer(self.stream, delimiter=delimiter, lineterminator="\n")
        self._write([*columns, *added.columns(cells=True)])

    def _write(self, values: Sequence[Any]) -> None:
        self.csv.writerow(map(spelt, values))

    def finish(self) -> None:
        self.stream.flush()
        self.stream.detach()


class _XlsxWriter(_CellWriter):
    """Holds the rows back in a file without a name: openpyxl's own would outlive a killed process.

    A sheet is made of them at the end.
    """

    def __init__(self, out: BinaryIO, columns: Sequence[str], text: str, added: Added) -> None:
        super().__init__(out, columns, text, added)
        self.openpyxl = require("openpyxl", extra="excel")
        self.rows = 0
        self.held = tempfile.TemporaryFile()  # noqa: SIM115, closed when it is let go
        self._write([*columns, *added.columns(cells=True)])

    def _write(self, values: Sequence[Any]) -> None:
        self.rows += 1
        if self.rows > _SHEET_ROWS:
            raise DataError(f"a sheet holds no more than {_SHEET_ROWS:,} rows; write .csv instead")
        pickle.dump(list(map(_sheet_value, values)), self.held)

    def finish(self) -> None:
        cells = require("openpyxl.cell.cell", extra="excel")
        book = self.openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("emotions")

        def cell(value: Any) -> Any:
            if not isinstance(value, str):
                return value
            clean = cells.ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)
            made = cells.WriteOnlyCell(sheet, clean[:_SHEET_CELL])
            made.data_type = "s"  # a text that begins with = is no formula
            return made

        with self.held:
            self.held.seek(0)
            for _ in range(self.rows):
                sheet.append([cell(value) for value in pickle.load(self.held)])  # noqa: S301, written above
        book.save(self.out)


def _sheet_value(value: Any) -> Any:
    """Return a value that a sheet has a type for, or its text."""
    if isinstance(value, datetime | time) and value.tzinfo is not None:
        return value.isoformat()
    if isinstance(value, bool | int | float | date | time):
        return value
    return _clean(value if isinstance(value, str) else spelt(value))


class _JsonlWriter(RowWriter):
    def write(self, row: Row, answer: Prediction) -> None:
        cells = row.cells
        value = {
            name: row.text if name == self.text else cells[name]
            for name in self.columns
            if name == self.text or name in cells
        }
        value.update((name, cells[name]) for name in cells if name not in value)
        names = self.added.columns(cells=False)
        value.update(zip(names, self._answer(row, answer), strict=True))
        text = json.dumps(value, ensure_ascii=False, default=_plain)
        try:
            line = text.encode("utf-8")
        except UnicodeEncodeError:  # halves of surrogate pairs become escapes
            line = json.dumps(value, default=_plain).encode("ascii")
        self.out.write(line + b"\n")

    def finish(self) -> None:
        self.out.flush()


def _plain(value: Any) -> Any:
    return None if value is None or isinstance(value, BadRow) else spelt(value)


class _ParquetWriter(RowWriter):
    """Writes plain values; the first rows decide what a column holds."""

    def __init__(
        self, out: BinaryIO, columns: Sequence[str], text: str, added: Added, schema: Any = None
    ) -> None:
        super().__init__(out, columns, text, added)
        self.pa = pa = require("pyarrow", extra="train")
        self.parquet = require("pyarrow.parquet", extra="train")
        types = (
            *([pa.string()] if added.source else []),
            pa.list_(pa.string()),
            pa.struct([pa.field(name, pa.float32()) for name in added.written(added.labels)]),
            pa.bool_(),
        )
        names = added.columns(cells=False)
        self.fields = [pa.field(name, kind) for name, kind in zip(names, types, strict=True)]
        self.schema: Any = None if schema is None else self._with_added(schema)
        self.rows: list[Row] = []
        self.answers: list[list[Any]] = []
        self.size = 0
        self.writer: Any = None

    def _with_added(self, schema: Any) -> Any:
        return self.pa.schema([*schema, *self.fields], metadata=schema.metadata)

    def write(self, row: Row, answer: Prediction) -> None:
        self.rows.append(row)
        self.answers.append(self._answer(row, answer, rounded=False))
        self.size += len(row.text)
        if len(self.rows) >= _FLUSH_ROWS or self.size >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        columns = self._columns()
        answers = zip(*self.answers, strict=True) if self.answers else [[]] * len(self.fields)
        for values, one in zip(answers, self.fields, strict=True):
            columns.append(self.pa.array(list(values), one.type))
        table = self.pa.Table.from_arrays(columns, schema=self.schema)
        if self.writer is None:
            self.writer = self.parquet.ParquetWriter(self.out, self.schema, compression="zstd")
        self.writer.write_table(table)
        self.rows, self.answers, self.size = [], [], 0

    def _columns(self) -> list[Any]:
        found = [self._column(i, name) for i, name in enumerate(self.columns)]
        if self.schema is None:
            pairs = zip(self.columns, found, strict=True)
            fields = [self.pa.field(name, column.type) for name, column in pairs]
            self.schema = self._with_added(self.pa.schema(fields))
        return found

    def _column(self, place: int, name: str) -> Any:
        values = [row.text if name == self.text else row.cells.get(name) for row in self.rows]
        text = self.pa.string()
        kind = None if self.schema is None else self.schema.field(place).type
        if kind is None and all(value is None for value in values):
            kind = text
        if kind != text:
            try:
                return self.pa.array(values, kind)
            # Half of a surrogate pair can be a text's, and becomes a question mark.
            except (self.pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
                if kind is not None:
                    raise DataError(
                        f"column {name!r} holds {kind} at first and something else in a later row; "
                        "write .jsonl, which takes both"
                    ) from error
        texts = [value if isinstance(value, str) else _plain(value) for value in values]
        return self.pa.array([None if t is None else _clean(t) for t in texts], text)

    def finish(self) -> None:
        if self.rows or self.writer is None:
            self._flush()
        self.writer.close()


class _ArrowWriter(_ParquetWriter):
    """Writes the rows of Arrow batches as they are, so that no type is lost."""

    def _columns(self) -> list[Any]:
        names = self.schema.names[: len(self.columns)]
        groups: list[tuple[Any, list[int]]] = []
        for row in self.rows:
            cells: Any = row.cells
            if not groups or groups[-1][0] is not cells.batch:
                groups.append((cells.batch, []))
            groups[-1][1].append(cells.place)
        kept = [batch.select(names).take(self.pa.array(places)) for batch, places in groups]
        schema = self.pa.schema(list(self.schema)[: len(names)])
        return list(self.pa.Table.from_batches(kept, schema).columns)
