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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from ov_emotions._extras import require
from ov_emotions.errors import DataError

FORMATS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
"""File name extensions that can be read; all but .parquet also with .gz behind."""

MAX_LINE_BYTES = 16 * 2**20
"""A longer line is a bad row: it is skipped without being held in memory."""

_SAMPLE = 100
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
# What numpy and pandas write for a missing value.
_NAN_CELLS = frozenset({"nan", "NaN"})


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
    with _reading(path):
        if path.is_dir():
            raise DataError(f"{path} is a folder; name a file in it")
        extension = text_format(path)
        if extension == ".parquet":
            _open_parquet(path, column)
            return
        if not path.is_file():
            # A pipe can be read only once, so it is checked while it is read.
            path.stat()
            return
        with _open(path) as file:
            _check_encoding(path, file, header=extension in _DELIMITERS)
        with _open(path) as file:
            if extension == ".jsonl":
                _check_fields(path, file, column)
            elif extension in _DELIMITERS:
                _open_csv(path, file, column, _DELIMITERS[extension])


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
    for number, line in enumerate(_raw_lines(file), start=1):
        text = _decode(number, line)
        yield _cell(number, text.rstrip("\r\n")) if isinstance(text, str) else text


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
    with _reading(path):
        if extension == ".parquet":
            yield from _parquet_rows(path, column)
            return
        with _open(path) as file:
            if extension == ".txt":
                yield from read_lines(file)
            elif extension == ".jsonl":
                yield from _jsonl_rows(file, column)
            else:
                yield from _csv_rows(path, file, column, _DELIMITERS[extension])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines without a byte order mark; of a line that is too long, the beginning."""
    first = True
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


def _cell(number: int, value: Any) -> str | BadRow:
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
    for number, line in enumerate(islice(_raw_lines(file), _SAMPLE), start=1):
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


def _missing_column(path: Path, column: str, available: Sequence[str]) -> DataError:
    return DataError(
        f"{path} has no column {column!r}; name the one that holds the text: "
        f"{', '.join(available) or 'it has none'}"
    )


def _open_csv(path: Path, file: BinaryIO, column: str, delimiter: str) -> tuple[Any, int]:
    """Read the header; return the reader and the column's position."""
    # Bytes that are not UTF-8 become lone surrogates: only a text that has them is a bad row.
    lines = (line.decode("utf-8", "surrogateescape") for line in _raw_lines(file))
    # Strict, because a stray quote would otherwise join many rows to one without a word.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{path} has a header that cannot be read: {error}") from error
    if column not in header:
        names = [name.encode("utf-8", "replace").decode("utf-8") for name in header]
        raise _missing_column(path, column, names)
    return reader, header.index(column)


def _csv_rows(path: Path, file: BinaryIO, column: str, delimiter: str) -> Iterator[str | BadRow]:
    reader, position = _open_csv(path, file, column, delimiter)
    number = 0
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield BadRow(number, f"{error} (lines {start} to {reader.line_num})")
            continue
        if not cells:
            continue
        number += 1
        yield _csv_cell(number, cells, position)


def _csv_cell(number: int, cells: list[str], position: int) -> str | BadRow:
    if position >= len(cells):
        return BadRow(number, "the row is too short to have a text")
    text = cells[position]
    if text in _NAN_CELLS:
        return BadRow(number, "the text is NaN")
    if any("\udc80" <= character <= "\udcff" for character in text):
        return BadRow(number, "the text is not UTF-8")
    return _cell(number, text)


def _jsonl_objects(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    for number, line in enumerate(_raw_lines(file), start=1):
        if not line.strip():
            continue
        text = _decode(number, line)
        if isinstance(text, BadRow):
            yield number, text
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
    for _, value in islice(_jsonl_objects(file), _SAMPLE):
        if isinstance(value, dict):
            if column in value:
                return
            seen.update(dict.fromkeys(value))
    if seen:
        raise _missing_column(path, column, list(seen))


def _jsonl_rows(file: BinaryIO, column: str) -> Iterator[str | BadRow]:
    for number, value in _jsonl_objects(file):
        if isinstance(value, BadRow):
            yield value
        elif column in value:
            yield _cell(number, value[column])
        else:
            fields = ", ".join(value) or "nothing"
            yield BadRow(number, f"there is no field {column!r}, only {fields}")


def _open_parquet(path: Path, column: str) -> Any:
    """Open the file and check the column; return what reads it in batches."""
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
        raise _missing_column(path, column, schema.names)
    kind = schema.field(column).type
    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(held) or pa.types.is_large_string(held)):
        file.close()
        raise DataError(f"the column {column!r} of {path} holds {kind}, not strings")
    return file


def _parquet_rows(path: Path, column: str) -> Iterator[str | BadRow]:
    pa = require("pyarrow", extra="train")
    number = 0
    with _open_parquet(path, column) as file:
        try:
            for batch in file.iter_batches(batch_size=1024, columns=[column]):
                for scalar in batch.column(0):
                    number += 1
                    yield _parquet_cell(number, scalar)
        except pa.ArrowException as error:
            raise DataError(f"{path} is damaged after row {number}: {error}") from error


def _parquet_cell(number: int, scalar: Any) -> str | BadRow:
    try:
        return _cell(number, scalar.as_py())
    except UnicodeDecodeError:
        return BadRow(number, "the text is not UTF-8")
