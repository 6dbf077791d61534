"""The rows of what a reader uploaded or pasted, numbered, and the columns to choose from."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ov_emotions.system import require
from ov_emotions.texts import (
    DELIMITERS,
    BadRow,
    Record,
    check_text_file,
    jsonl_objects,
    open_file,
    read_records,
    read_texts,
    reading,
    text_format,
    text_value,
)

_LOOKED_AT = 100


def read_rows(path: Path, column: str) -> Iterator[Record | BadRow]:
    """Read the rows of a file lazily.

    :param path: the file.
    :param column: the one with the text; .txt has none.
    :return: yields each row, or why it is left out.
    :raises DataError: at the call, if the file cannot be read or lacks the column; while reading,
        if it turns out to be damaged.
    """
    if text_format(path) != ".txt":
        return read_records(path, column, ())
    return _lines(read_texts(path))


def _lines(rows: Iterator[str | BadRow]) -> Iterator[Record | BadRow]:
    for number, row in enumerate(rows, start=1):
        yield row if isinstance(row, BadRow) else Record(number, row, {})


def pasted_rows(text: str) -> Iterator[Record | BadRow]:
    """Take each line that was pasted for a text.

    :param text: the lines.
    :return: yields each, or why it is left out.
    """
    for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):
        value = text_value(number, line)
        yield value if isinstance(value, BadRow) else Record(number, value, {})


def text_column(path: Path) -> tuple[str | None, list[str]]:
    """Find the column with the text: `text`, or the only one there is.

    :param path: the file.
    :return: the column, None where a person has to choose, and all of them.
    :raises DataError: if the file cannot be read.
    """
    extension = text_format(path)
    if extension == ".txt":
        return "text", []
    with reading(path):
        names = _columns(path, extension)
    if "text" in names or not names:
        check_text_file(path)
        return "text", names
    return (names[0] if len(names) == 1 else None), names


def _columns(path: Path, extension: str) -> list[str]:
    if extension == ".parquet":
        arrow, parquet = require("pyarrow", extra="demo"), require("pyarrow.parquet", extra="demo")
        try:
            return list(parquet.read_schema(path).names)
        except arrow.ArrowException:
            return []  # what is wrong with it is said by whoever reads it
    with open_file(path) as file:
        if extension == ".jsonl":
            values = (value for _, value in islice(jsonl_objects(file), _LOOKED_AT))
            return list(dict.fromkeys(k for v in values if isinstance(v, dict) for k in v))
        first = file.readline(1 << 20).decode("utf-8-sig", "replace")
        return next(csv.reader([first], delimiter=DELIMITERS[extension]), [])
