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
from typing import Any, BinaryIO, Literal, Protocol, get_args

from ov_emotions.errors import DataError
from ov_emotions.texts.streams import BadRow, Row
from ov_emotions.texts.table import DELIMITERS, ArrowCells, Table

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


class Answer(Protocol):
    """What is known of a text: a `Prediction`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that were found."""

    @property
    def truncated(self) -> bool | None:
        """Whether a part of the text was left out."""

    def to_dict(self, *, rounded: bool = False) -> dict[str, Any]:
        """Return labels, scores and truncated."""


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
        """Name the columns.

        :param cells: whether the format has plain cells only.
        """
        scores = self.written(self.labels) if self.wide and cells else ["scores"]
        source = ["source_file"] if self.source else []
        names = (*source, "labels", *scores, "truncated")
        return tuple(self.prefix + self.titles.get(name, name) for name in names)

    def written(self, labels: Sequence[str]) -> list[str]:
        """Write labels by the names that were given."""
        return [self.names.get(label, label) for label in labels]


def check_added(tables: Sequence[Table], added: Added, format_: str) -> None:
    """Refuse input that has a column of a name that is added.

    :param tables: of the input.
    :param added: the columns.
    :param format_: of the output.
    :raises DataError: if one is taken.
    """
    names = added.columns(cells=format_ in ("csv", "tsv", "xlsx"))
    for table in tables:
        if taken := [name for name in names if name in table.columns]:
            raise DataError(
                f"{table.source.name} has a column {taken[0]!r} already; --prefix puts something "
                f"before the names of those that are added: {', '.join(names)}"
            )


def free(row: Row | BadRow, names: Sequence[str]) -> Row | BadRow:
    """Set a row aside that has a field of a name that is added: of .jsonl, any may have.

    :param row: of the input.
    :param names: of the columns that are added.
    :return: the row, or why it is left out.
    """
    if isinstance(row, Row) and type(row.cells) is dict:
        for name in names:
            if name in row.cells:
                return BadRow(row.row, f"there is a field {name!r} already; see --prefix")
    return row


def joined(labels: Sequence[str], separator: str) -> Callable[[Sequence[str]], str]:
    """Make what writes a list of labels into a cell.

    :param labels: all that there are.
    :param separator: between them, unless one holds it: then they are a JSON list.
    :return: the function.
    """
    if any(separator in label or label.startswith("[") for label in labels):
        return lambda some: json.dumps(list(some), ensure_ascii=False)
    return separator.join


def escaped(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula.

    :param cell: a text.
    :return: the text itself where it is none, as numbers with a sign are not.
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


class RowWriter(ABC):
    """Takes rows with their answers, in order.

    :param columns: of the input.
    :param text: which of them is the text.
    :param added: the columns beside them.
    """

    def __init__(self, columns: Sequence[str], text: str, added: Added) -> None:
        self.columns = tuple(columns)
        self.text = text
        self.added = added

    @abstractmethod
    def write(self, row: Row, answer: Answer) -> None:
        """Write a row.

        :param row: of the input.
        :param answer: to its text.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write what was held back."""

    def _values(self, row: Row) -> Iterator[Any]:
        cells = row.cells
        for name in self.columns:
            yield row.text if name == self.text else cells.get(name)

    def _answer(self, answer: Answer) -> tuple[list[str], dict[str, float], bool | None]:
        found = answer.to_dict(rounded=True)
        names = self.added.names
        scores = {names.get(label, label): score for label, score in found["scores"].items()}
        return self.added.written(found["labels"]), scores, found["truncated"]


@contextmanager
def open_writer(
    out: BinaryIO, format_: str, tables: Sequence[Table], added: Added
) -> Iterator[RowWriter]:
    """Write rows to an open file; it is whole when the block ends.

    :param out: the file, or a pipe.
    :param format_: one of `WRITTEN`.
    :param tables: of the input, whose columns are written; none for texts that stand alone.
    :param added: the columns that are added.
    :return: yields what takes the rows.
    :raises DataError: if the input has a column that is added.
    :raises MissingExtraError: if what writes the format is not installed.
    """
    check_added(tables, added, format_)
    text = tables[0].text if tables else "text"
    columns: dict[str, None] = {}
    for table in tables or ():
        # The text of each file goes where that of the first stands.
        names = table.columns if format_ == "jsonl" else table.all_fields()
        columns.update((text if name == table.text else name, None) for name in names)
    named = tuple(columns) or (text,)
    # What is read by people, and not by programs, keeps the mark that their programs want.
    marked = added.wide and any(table.marked or table.format == "xlsx" for table in tables)
    writer: RowWriter
    if format_ == "xlsx":
        writer = _XlsxWriter(out, named, text, added)
    elif format_ == "parquet":
        schemas = [table.schema for table in tables]
        same = bool(schemas) and all(s is not None and s.equals(schemas[0]) for s in schemas)
        kind = _ArrowWriter if same else _ParquetWriter
        writer = kind(out, named, text, added, schemas[0] if same else None)
    elif format_ == "jsonl":
        writer = _JsonlWriter(out, named, text, added)
    else:
        delimiter = DELIMITERS[format_]
        if format_ == "csv" and tables and tables[0].format == "csv":
            delimiter = tables[0].delimiter or delimiter
        writer = _CellWriter(out, named, text, added, delimiter, marked=marked)
    yield writer
    writer.finish()


class _CellWriter(RowWriter):
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
        super().__init__(columns, text, added)
        # The mark tells a spreadsheet that it is UTF-8.
        encoding = "utf-8-sig" if marked else "utf-8"
        self.stream = io.TextIOWrapper(out, encoding, errors=_BYTES, newline="")
        self.csv = csv.writer(self.stream, delimiter=delimiter, lineterminator="\n")
        self.csv.writerow(map(escaped, (*columns, *added.columns(cells=True))))
        self.join = joined(added.written(added.labels), ",")

    def write(self, row: Row, answer: Answer) -> None:
        self.csv.writerow(map(spelt, [*self._values(row), *self._added(answer, row.source)]))

    def _added(self, answer: Answer, source: str) -> list[Any]:
        labels, scores, truncated = self._answer(answer)
        values: list[Any] = [source] if self.added.source else []
        values.append(self.join(labels))
        if self.added.wide:
            values += [scores[name] for name in self.added.written(self.added.labels)]
        else:
            values.append(json.dumps(scores, ensure_ascii=False))
        return [*values, json.dumps(truncated)]

    def finish(self) -> None:
        self.stream.flush()
        self.stream.detach()


class _XlsxWriter(_CellWriter):
    """Holds the rows back in a file without a name: openpyxl's own would outlive a killed process.

    A sheet is made of them at the end.
    """

    def __init__(self, out: BinaryIO, columns: Sequence[str], text: str, added: Added) -> None:
        from ov_emotions.system import require

        RowWriter.__init__(self, columns, text, added)
        require("openpyxl", extra="excel")
        self.out = out
        self.rows = 0
        self.held = tempfile.TemporaryFile()  # noqa: SIM115, closed when it is let go
        self.join = joined(added.written(added.labels), ",")
        self._hold([*columns, *added.columns(cells=True)])

    def write(self, row: Row, answer: Answer) -> None:
        self._hold([*self._values(row), *self._added(answer, row.source)])

    def _hold(self, values: Sequence[Any]) -> None:
        self.rows += 1
        if self.rows > _SHEET_ROWS:
            raise DataError(f"a sheet holds no more than {_SHEET_ROWS:,} rows; write .csv instead")
        pickle.dump(list(map(_sheet_value, values)), self.held)

    def finish(self) -> None:
        from ov_emotions.system import require

        openpyxl = require("openpyxl", extra="excel")
        cells = require("openpyxl.cell.cell", extra="excel")
        book = openpyxl.Workbook(write_only=True)
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
    text = value if isinstance(value, str) else spelt(value)
    return text.encode("utf-8", "replace").decode("utf-8")


class _JsonlWriter(RowWriter):
    def __init__(self, out: BinaryIO, columns: Sequence[str], text: str, added: Added) -> None:
        super().__init__(columns, text, added)
        self.out = out

    def write(self, row: Row, answer: Answer) -> None:
        cells = row.cells
        value = {
            name: row.text if name == self.text else cells[name]
            for name in self.columns
            if name == self.text or name in cells
        }
        value.update((name, cells[name]) for name in cells if name not in value)
        labels, scores, truncated = self._answer(answer)
        answers = [*([row.source] if self.added.source else []), labels, scores, truncated]
        value.update(zip(self.added.columns(cells=False), answers, strict=True))
        self.out.write(json_line(value))

    def finish(self) -> None:
        self.out.flush()


def json_line(value: Any) -> bytes:
    """Write a value as a line of JSON; halves of surrogate pairs are written as escapes."""
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, default=_plain).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    return None if isinstance(value, BadRow) else spelt(value)


class _ParquetWriter(RowWriter):
    """Writes plain values; the first rows decide what a column holds."""

    def __init__(
        self, out: BinaryIO, columns: Sequence[str], text: str, added: Added, schema: Any
    ) -> None:
        from ov_emotions.system import require

        super().__init__(columns, text, added)
        self.out = out
        self.pa = require("pyarrow", extra="train")
        self.parquet = require("pyarrow.parquet", extra="train")
        pa = self.pa
        names = added.columns(cells=False)
        types = (
            *([pa.string()] if added.source else []),
            pa.list_(pa.string()),
            pa.struct([pa.field(name, pa.float32()) for name in added.written(added.labels)]),
            pa.bool_(),
        )
        self.fields = [pa.field(name, kind) for name, kind in zip(names, types, strict=True)]
        self.schema: Any = None if schema is None else self._with_added(schema)
        self.rows: list[Row] = []
        self.answers: list[tuple[Any, ...]] = []
        self.size = 0
        self.writer: Any = None

    def _with_added(self, schema: Any) -> Any:
        return self.pa.schema([*schema, *self.fields], metadata=schema.metadata)

    def write(self, row: Row, answer: Answer) -> None:
        self.rows.append(row)
        scores = {self.added.names.get(k, k): v for k, v in answer.to_dict()["scores"].items()}
        found = (self.added.written(answer.labels), scores, answer.truncated)
        self.answers.append((row.source, *found) if self.added.source else found)
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
        kind = None if self.schema is None else self.schema.field(place).type
        if kind is None and all(value is None for value in values):
            kind = self.pa.string()
        if kind != self.pa.string():
            try:
                return self.pa.array(values, kind)
            except (self.pa.ArrowException, OverflowError) as error:
                if kind is not None:
                    raise DataError(
                        f"column {name!r} holds {kind} at first and something else in a later row; "
                        "write .jsonl, which takes both"
                    ) from error
        texts = [
            value if value is None or isinstance(value, str) else _text(value) for value in values
        ]
        return self.pa.array(
            [t and t.encode("utf-8", "replace").decode() for t in texts], self.pa.string()
        )

    def finish(self) -> None:
        if self.rows or self.writer is None:
            self._flush()
        self.writer.close()


def _text(value: Any) -> str | None:
    return None if isinstance(value, BadRow) else spelt(value)


class _ArrowWriter(_ParquetWriter):
    """Writes the rows of Arrow batches as they are, so that no type is lost."""

    def _columns(self) -> list[Any]:
        names = self.schema.names[: len(self.columns)]
        groups: list[tuple[Any, list[int]]] = []
        for row in self.rows:
            cells = row.cells
            assert isinstance(cells, ArrowCells)
            if not groups or groups[-1][0] is not cells.batch:
                groups.append((cells.batch, []))
            groups[-1][1].append(cells.place)
        kept = [batch.select(names).take(self.pa.array(places)) for batch, places in groups]
        schema = self.pa.schema(list(self.schema)[: len(names)])
        return list(self.pa.Table.from_batches(kept, schema).columns)
