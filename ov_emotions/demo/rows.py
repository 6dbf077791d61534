"""The rows of what a reader uploaded or pasted, numbered, and the columns to choose from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ov_emotions.errors import MissingColumnError
from ov_emotions.texts import BadRow, ReadSettings, Row, Table, open_table
from ov_emotions.texts.table import text_value


def pasted_rows(text: str) -> Iterator[Row | BadRow]:
    """Take each line that was pasted for a text.

    :param text: the lines.
    :return: yields each, or why it is left out.
    """
    for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):
        value = text_value(number, line)
        yield value if isinstance(value, BadRow) else Row(number, value, {})


def open_upload(path: Path, column: str = "") -> Table | tuple[str, ...]:
    """Open a file, whose text is in the column that is named, in `text`, or in the only one.

    :param path: the file.
    :param column: the one with the text; empty to find it.
    :return: the table, or the columns that a person has to choose from.
    :raises DataError: if it cannot be read.
    """
    try:
        return open_table(path, ReadSettings(column or "text"))
    except MissingColumnError as error:
        if column or not error.columns:
            raise
        if len(error.columns) == 1:
            return open_table(path, ReadSettings(error.columns[0]))
        return error.columns
