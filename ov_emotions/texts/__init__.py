"""Rows of texts out of files, one reader for all: tables, plain lines and transcripts.

Reading is lazy and its memory is bounded, whatever the size of a file; workbooks, .json, .srt and
.vtt are held in memory. A row that holds no usable text is yielded as a `BadRow` in its place, and
the rows after it are read all the same; only a file that is wrong as a whole raises. The formats of
lines may be compressed (.txt.gz and so on).

Rows are numbered from 1: lines of .txt and .jsonl as an editor counts them, rows of tables below
the header, cues of a transcript. Empty lines are no rows of .csv, .tsv and .jsonl; a line of .txt
is a row, empty or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ov_emotions.texts.cells import open_cells
from ov_emotions.texts.columnar import open_parquet, open_xlsx
from ov_emotions.texts.lines import open_json, open_jsonl, open_subtitles, open_txt
from ov_emotions.texts.streams import STANDARD, BadRow, Row, Source
from ov_emotions.texts.table import (
    FORMATS,
    NAN_CELLS,
    ReadSettings,
    Start,
    Table,
    is_readable,
    said,
    text_format,
)

_Answer = TypeVar("_Answer")

__all__ = [
    "FORMATS",
    "NAN_CELLS",
    "STANDARD",
    "BadRow",
    "ReadSettings",
    "Row",
    "Start",
    "Table",
    "answered",
    "is_readable",
    "open_table",
    "read_texts",
    "text_format",
]

_OPENERS: dict[str, Callable[[Source, str, ReadSettings], Table]] = {
    "txt": open_txt,
    "transcript": open_txt,
    "csv": open_cells,
    "tsv": open_cells,
    "jsonl": open_jsonl,
    "json": open_json,
    "parquet": open_parquet,
    "xlsx": open_xlsx,
    "srt": open_subtitles,
    "vtt": open_subtitles,
}


def open_table(path: Path, settings: ReadSettings | None = None) -> Table:
    """Look into a file: what it is, and which columns it has.

    :param path: the file; `-` is standard input.
    :raises DataError: if it cannot be read, is of no known format, or lacks the column.
    :raises InputError: if a setting is wrong.
    """
    settings = settings or ReadSettings()
    source = Source(path)
    try:
        name = settings.format or ("txt" if path == STANDARD else text_format(path)[1:])
        table = _OPENERS[name](source, name, settings)
    finally:
        source.close()
    if table.lines is None or settings.encoding is not None or table.lines.encoding == "utf-8":
        return table
    encoding = "Windows-1251" if table.lines.encoding == "cp1251" else "UTF-16"
    return replace(table, notes=(said(source, encoding, "--encoding"), *table.notes))


def read_texts(
    path: Path, text_column: str = "text", settings: ReadSettings | None = None
) -> Iterator[str | BadRow]:
    """Read the texts of a file alone: each as it stands there, or why there is none.

    :param settings: in place of `text_column`, all that can be set.
    :raises DataError: at the call, as `open_table` does; while reading, if the file turns out to be
        damaged.
    """
    table = open_table(path, settings or ReadSettings(text_column))
    return (row.text if isinstance(row, Row) else row for row in table.rows(()))


def answered(
    rows: Iterable[Row | BadRow],
    classify: Callable[[Iterator[str]], Iterable[_Answer]],
    leave_out: Callable[[BadRow], None] = lambda _row: None,
) -> Iterator[tuple[Row, _Answer]]:
    """Put usable rows beside the answers to their texts.

    :param classify: gives an answer for each text, in order; it may read some ahead.
    :param leave_out: is told the bad rows.
    """
    waiting: deque[Row] = deque()

    def texts() -> Iterator[str]:
        for row in rows:
            if isinstance(row, BadRow):
                leave_out(row)
            else:
                waiting.append(row)
                yield row.text

    for answer in classify(texts()):
        yield waiting.popleft(), answer
