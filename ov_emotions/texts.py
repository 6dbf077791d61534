"""Texts out of files, one by one: .txt, .csv, .tsv, .jsonl and .parquet.

Reading is lazy and its memory is bounded, whatever the size of a file. A row that holds no usable
text is yielded as a `BadRow` in its place, and the rows after it are read all the same; only a file
that is wrong as a whole raises. The line formats may be compressed (.txt.gz and so on).

Rows are numbered from 1: lines of .txt and .jsonl as an editor counts them, rows of .csv, .tsv and
.parquet below the header. Empty lines are no rows of .csv, .tsv and .jsonl; a line of .txt is a
row, empty or not.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from ov_emotions.errors import DataError
from ov_emotions.system import require

FORMATS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
"""File name extensions that can be read; all but .parquet also with .gz behind."""

MAX_LINE_BYTES = 16 * 2**20
"""A longer line is a bad row: it is skipped without being held in memory."""

_SAMPLE = 100
DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
# What numpy and pandas write for a missing value.
NAN_CELLS = frozenset({"nan", "NaN"})


@dataclass(frozen=True)
class BadRow:
    """A row that was left out.

    :param row: its number, counted from 1 below the header.
    :param reason: why.
    """

    row: int
    reason: str


def check_text_file(path: Path, column: str = "text") -> None:
    """Find out, from the beginning of a file, whether it can be read at all.

    :param path: the file.
    :param column: the column or field with the text; .txt has none.
    :raises DataError: if the file is missing, a folder, of an unknown format, not UTF-8, or lacks
        the column.
    """
    with reading(path):
        if path.is_dir():
            raise DataError(f"{path} is a folder; name a file in it")
        extension = text_format(path)
        if extension == ".parquet":
            open_parquet(path, column)
            return
        if not path.is_file():
            # A pipe can be read only once, so it is checked while it is read.
            path.stat()
            return
        with open_file(path) as file:
            _check_encoding(path, file, header=extension in DELIMITERS)
        with open_file(path) as file:
            if extension == ".jsonl":
                _check_fields(path, file, column)
            elif extension in DELIMITERS:
                open_csv(path, file, column, DELIMITERS[extension])


def read_texts(path: Path, column: str = "text") -> Iterator[str | BadRow]:
    """Read the texts of a file lazily and in order.

    :param path: the file; its extension names the format.
    :param column: the column or field with the text; .txt has none.
    :return: yields each row's text as it stands in the file, or why there is none.
    :raises DataError: at the call, as `check_text_file` does; while reading, if the file turns out
        to be damaged.
    """
    check_text_file(path, column)
    return _read(path, column, text_format(path))


def read_lines(file: BinaryIO) -> Iterator[str | BadRow]:
    """Read one text a line from an open file or a pipe, as each arrives.

    :param file: opened in binary mode.
    :return: yields each line without its end, or why it is no text.
    """
    for number, text in numbered_lines(file):
        yield text_value(number, text) if isinstance(text, str) else text


def numbered_lines(file: BinaryIO, lines: int = 0) -> Iterator[tuple[int, str | BadRow]]:
    """Read the lines of an open file or a pipe, blank ones too.

    :param file: opened in binary mode.
    :param lines: of the file that lie before where it stands.
    :return: yields each line's number and the line without its end, or why it cannot be read.
    """
    for number, line in enumerate(raw_lines(file), start=lines + 1):
        text = _decode(number, line)
        yield number, text.rstrip("\r\n") if isinstance(text, str) else text


def text_format(path: Path) -> str:
    """Tell a file's format by its name.

    :param path: the file; it need not exist.
    :return: one of `FORMATS`.
    :raises DataError: if the extension is not known.
    """
    name = path.name.lower()
    compressed = name.endswith(".gz")
    extension = Path(name.removesuffix(".gz")).suffix or (".txt" if compressed else "")
    if extension not in FORMATS or (compressed and extension == ".parquet"):
        raise DataError(
            f"{path} is of no known format; the name of a text file ends in {', '.join(FORMATS)}"
        )
    return extension


def _read(path: Path, column: str, extension: str) -> Iterator[str | BadRow]:
    with reading(path):
        if extension == ".parquet":
            yield from _parquet_rows(path, column)
            return
        with open_file(path) as file:
            if extension == ".txt":
                yield from read_lines(file)
            elif extension == ".jsonl":
                yield from _jsonl_rows(file, column)
            else:
                yield from _csv_rows(path, file, column, DELIMITERS[extension])


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into a `DataError` that names it.

    :param path: the file that the block reads.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error


def open_file(path: Path) -> BinaryIO:
    """Open a file of a line format, compressed or not.

    :param path: the file.
    :return: its bytes.
    """
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Read lines, none of which is held in memory beyond `MAX_LINE_BYTES`.

    :param file: opened in binary mode; read from where it stands.
    :return: yields lines; of one that is too long, the beginning; of a file, no byte order mark.
    """
    first = not (file.seekable() and file.tell())
    while line := file.readline(MAX_LINE_BYTES):
        rest = line
        while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES)
        yield line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False


def _decode(number: int, line: bytes) -> str | BadRow:
    if len(line) >= MAX_LINE_BYTES:
        return BadRow(number, f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        return BadRow(number, f"the line is not UTF-8: byte 0x{byte:02x} at {error.start + 1}")


def text_value(number: int, value: Any) -> str | BadRow:
    """Take a value for a text, or say why it is none.

    :param number: of the row.
    :param value: what the row holds.
    :return: the text as it stands, or the bad row.
    """
    if value is None:
        return BadRow(number, "the text is missing")
    if isinstance(value, float) and math.isnan(value):
        return BadRow(number, "the text is NaN")
    if not isinstance(value, str):
        kind = _JSON_TYPES.get(type(value), "an object")
        return BadRow(number, f"the text is {kind}, not a string")
    return value if value.strip() else BadRow(number, "the text is empty")


def _check_encoding(path: Path, file: BinaryIO, *, header: bool) -> None:
    found = 0
    for number, line in enumerate(islice(raw_lines(file), _SAMPLE), start=1):
        if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path} is UTF-16; save it as UTF-8")
        if (header and number == 1) or not line.strip():
            continue
        if len(line) >= MAX_LINE_BYTES or isinstance(_decode(number, line), str):
            return
        found += 1
    if found:
        raise DataError(
            f"{path} is not UTF-8: none of its first {found} lines is; save it as UTF-8"
        )


def missing_column(path: Path, column: str, available: Sequence[str]) -> DataError:
    """Say that a file lacks the column with the text, and which columns it has."""
    return DataError(
        f"{path} has no column {column!r}; name the one that holds the text: "
        f"{', '.join(available) or 'it has none'}"
    )


def open_csv(path: Path, file: BinaryIO, column: str, delimiter: str) -> tuple[Any, int, list[str]]:
    """Read the header of a CSV file.

    :param path: the file, for messages.
    :param file: its bytes.
    :param column: the one with the text.
    :param delimiter: between cells.
    :return: a reader of the rows below, the position of the column, and all names; bytes that are
        not UTF-8 are lone surrogates.
    :raises DataError: if the header cannot be read or lacks the column.
    """
    reader = csv_reader(file, delimiter)
    try:
        header: list[str] = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{path} has a header that cannot be read: {error}") from error
    if column not in header:
        names = [name.encode("utf-8", "replace").decode("utf-8") for name in header]
        raise missing_column(path, column, names)
    return reader, header.index(column), header


def csv_reader(file: BinaryIO, delimiter: str) -> Any:
    """Read cells from where a file stands.

    :param file: its bytes.
    :param delimiter: between cells.
    :return: a reader of the module `csv`.
    """
    # Surrogates, so that only a text with such bytes is a bad row.
    lines = (line.decode("utf-8", "surrogateescape") for line in raw_lines(file))
    # Strict, because a stray quote would otherwise join many rows to one without a word.
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _csv_rows(path: Path, file: BinaryIO, column: str, delimiter: str) -> Iterator[str | BadRow]:
    reader, position, _ = open_csv(path, file, column, delimiter)
    for number, cells in csv_records(reader):
        yield cells if isinstance(cells, BadRow) else csv_text(number, cells, position)


def csv_records(
    reader: Any, rows: int = 0, lines: int = 0
) -> Iterator[tuple[int, list[str] | BadRow]]:
    """Number the rows of a CSV reader that stands below the header.

    :param reader: of the module `csv`, strict.
    :param rows: of the file that lie before where the reader began, the header not counted.
    :param lines: of the file that lie before where the reader began.
    :return: yields each row's number and its cells, or why they cannot be read.
    """
    number = rows
    while True:
        start = lines + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield number, BadRow(number, f"{error} (lines {start} to {lines + reader.line_num})")
            continue
        if cells:
            number += 1
            yield number, cells


def csv_text(number: int, cells: list[str], position: int) -> str | BadRow:
    """Take the text out of a row of CSV, or say why there is none.

    :param number: of the row.
    :param cells: all of them.
    :param position: of the text.
    :return: the text as it stands, or the bad row.
    """
    if position >= len(cells):
        return BadRow(number, "the row is too short to have a text")
    text = cells[position]
    if text in NAN_CELLS:
        return BadRow(number, "the text is NaN")
    if is_broken(text):
        return BadRow(number, "the text is not UTF-8")
    return text_value(number, text)


def is_broken(cell: str) -> bool:
    """Tell whether a cell of CSV held bytes that are not UTF-8."""
    return any("\udc80" <= character <= "\udcff" for character in cell)


def jsonl_objects(file: BinaryIO, lines: int = 0) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Read one JSON object a line.

    :param file: its bytes.
    :param lines: of the file that lie before where it stands.
    :return: yields each line's number and its object, or why it is none; empty lines are left out.
    """
    for number, text in numbered_lines(file, lines):
        if isinstance(text, BadRow):
            yield number, text
            continue
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield number, BadRow(number, f"the line is not JSON: {error}")
            continue
        is_object = isinstance(value, dict)
        yield number, value if is_object else BadRow(number, "the line is not a JSON object")


def _check_fields(path: Path, file: BinaryIO, column: str) -> None:
    seen: dict[str, None] = {}
    for _, value in islice(jsonl_objects(file), _SAMPLE):
        if isinstance(value, dict):
            if column in value:
                return
            seen.update(dict.fromkeys(value))
    if seen:
        raise missing_column(path, column, list(seen))


def _jsonl_rows(file: BinaryIO, column: str) -> Iterator[str | BadRow]:
    for number, value in jsonl_objects(file):
        if isinstance(value, BadRow):
            yield value
        else:
            yield jsonl_text(number, value, column)


def jsonl_text(number: int, value: dict[str, Any], column: str) -> str | BadRow:
    """Take the text out of a row of JSON, or say why there is none.

    :param number: of the row.
    :param value: the row.
    :param column: the field with the text.
    :return: the text as it stands, or the bad row.
    """
    if column in value:
        return text_value(number, value[column])
    fields = ", ".join(value) or "nothing"
    return BadRow(number, f"there is no field {column!r}, only {fields}")


def open_parquet(path: Path, column: str) -> Any:
    """Open a Parquet file and check the column with the text.

    :param path: the file.
    :param column: the one with the text.
    :return: what reads it in batches.
    :raises DataError: if it is damaged, lacks the column, or holds something else in it.
    """
    pa = require("pyarrow", extra="train")
    parquet = require("pyarrow.parquet", extra="train")
    try:
        file = parquet.ParquetFile(path, pre_buffer=False)
        schema = file.schema_arrow
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    if column not in schema.names:
        file.close()
        raise missing_column(path, column, schema.names)
    kind = schema.field(column).type
    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(held) or pa.types.is_large_string(held)):
        file.close()
        raise DataError(f"the column {column!r} of {path} holds {kind}, not strings")
    return file


def _parquet_rows(path: Path, column: str) -> Iterator[str | BadRow]:
    pa = require("pyarrow", extra="train")
    number = 0
    with open_parquet(path, column) as file:
        try:
            for batch in file.iter_batches(batch_size=1024, columns=[column]):
                for scalar in batch.column(0):
                    number += 1
                    yield parquet_text(number, scalar)
        except pa.ArrowException as error:
            raise DataError(f"{path} is damaged after row {number}: {error}") from error


def parquet_text(number: int, scalar: Any) -> str | BadRow:
    """Take a text out of Parquet, or say why there is none.

    :param number: of the row.
    :param scalar: pyarrow's.
    :return: the text as it stands, or the bad row.
    """
    try:
        return text_value(number, scalar.as_py())
    except UnicodeDecodeError:
        return BadRow(number, "the text is not UTF-8")


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
    return _read_records(path, text_column, columns)


def _read_records(
    path: Path, text_column: str, columns: Sequence[str]
) -> Iterator[Record | BadRow]:
    extension = text_format(path)
    with reading(path):
        if extension == ".parquet":
            yield from _parquet_records(path, text_column, columns)
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


def _parquet_records(
    path: Path, text_column: str, columns: Sequence[str]
) -> Iterator[Record | BadRow]:
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
