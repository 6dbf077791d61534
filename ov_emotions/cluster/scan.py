"""Input files found, checked, and cut into ranges of rows without holding them in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ov_emotions.errors import DataError
from ov_emotions.textfiles import (
    DELIMITERS,
    FORMATS,
    check_text_file,
    csv_records,
    jsonl_objects,
    open_csv,
    open_file,
    open_parquet,
    raw_lines,
    reading,
    text_format,
)

_READABLE = tuple(name for name in FORMATS if name != ".txt")
_SAMPLE = 100


@dataclass(frozen=True)
class Start:
    """Where a range of rows begins in a file.

    :param row: rows before it; lines of .jsonl, which rows are numbered by.
    :param offset: its first byte; 0 for .parquet.
    :param line: lines before it; 0 for .parquet.
    """

    row: int
    offset: int = 0
    line: int = 0


def find_files(source: Path) -> tuple[Path, list[Path]]:
    """List the files that can be read.

    :param source: a folder, which is searched through, or one file. Names that begin with a dot or
        an underscore are left out, as Ray, Spark and pyarrow do.
    :return: the folder, absolute, and the files in the order of their names.
    :raises DataError: if there are none.
    """
    with reading(source):
        if not source.is_dir():
            source.stat()
            file_format(source)
            return source.resolve().parent, [source.resolve()]
        root = source.resolve()
        found = []
        for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
            folders[:] = [name for name in folders if name[0] not in "._"]
            found += [Path(folder, name) for name in names if name[0] not in "._"]
    files = [path for path in found if _is_readable(path)]
    if not files:
        raise DataError(f"{source} holds no file whose name ends in {', '.join(_READABLE)}")
    return root, sorted(files, key=lambda path: path.relative_to(root).as_posix())


def _refuse(error: OSError) -> None:
    raise error


def _is_readable(path: Path) -> bool:
    try:
        return bool(file_format(path)) and path.is_file()
    except DataError:
        return False


def file_format(path: Path) -> str:
    """Tell a file's format by its name.

    :param path: the file.
    :return: its extension, that of a compression left out.
    :raises DataError: if it is none with columns.
    """
    extension = text_format(path)
    if extension not in _READABLE:
        raise DataError(
            f"{path} holds texts only; `ov-emotions classify` takes it. This takes "
            f"{', '.join(_READABLE)}"
        )
    return extension


def check_columns(path: Path, text_column: str, added: Sequence[str]) -> None:
    """Find out from the beginning of a file whether its rows can be answered beside their columns.

    :param path: the file.
    :param text_column: the one with the text.
    :param added: the columns that will be added.
    :raises DataError: if it cannot be read, lacks the text, or has a column twice or of that name.
    """
    check_text_file(path, text_column)
    extension = file_format(path)
    with reading(path):
        if extension == ".parquet":
            with open_parquet(path, text_column) as parquet:
                names = list(parquet.schema_arrow.names)
        else:
            with open_file(path) as file:
                if extension == ".jsonl":
                    sample = islice(jsonl_objects(file), _SAMPLE)
                    rows = (value for _, value in sample if isinstance(value, dict))
                    names = list(dict.fromkeys(name for value in rows for name in value))
                else:
                    names = open_csv(path, file, text_column, DELIMITERS[extension])[2]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has more than one column {', '.join(map(repr, twice))}")
    if taken := [name for name in added if name in names]:
        raise DataError(
            f"{path} has a column {taken[0]!r} already; --prefix puts something before the names "
            f"of those that are added: {', '.join(added)}"
        )


def scan(path: Path, text_column: str, part_rows: int) -> Iterator[tuple[Start, int]]:
    """Cut a file into ranges.

    A compressed file can only be read from its beginning, so it is one range whatever its length.

    :param path: the file.
    :param text_column: the one with the text.
    :param part_rows: rows of a range at most.
    :return: yields where each begins and how many rows it has, at least one.
    :raises DataError: if the file cannot be read.
    """
    extension = file_format(path)
    with reading(path):
        if extension == ".parquet":
            with open_parquet(path, text_column) as parquet:
                rows = parquet.metadata.num_rows
            for first in range(0, rows, part_rows):
                yield Start(first), min(part_rows, rows - first)
            return
        whole = path.suffix.lower() == ".gz"
        cut = _scan_jsonl if extension == ".jsonl" else _scan_csv
        yield from cut(path, text_column, None if whole else part_rows)


def _scan_jsonl(path: Path, _: str, part_rows: int | None) -> Iterator[tuple[Start, int]]:
    start, rows = Start(0), 0
    with open_file(path) as file:
        for number, line in enumerate(raw_lines(file), start=1):
            rows += bool(line.strip())
            if rows == part_rows:
                yield start, rows
                start, rows = Start(number, file.tell(), number), 0
    if rows:
        yield start, rows


def _scan_csv(path: Path, text_column: str, part_rows: int | None) -> Iterator[tuple[Start, int]]:
    with open_file(path) as file:
        reader, _, _ = open_csv(path, file, text_column, DELIMITERS[file_format(path)])
        start, rows = Start(0, file.tell(), reader.line_num), 0
        for number, _cells in csv_records(reader):
            rows += 1
            if rows == part_rows:
                # The reader takes no line before it needs it, so the file stands behind the row.
                yield start, rows
                start, rows = Start(number, file.tell(), reader.line_num), 0
    if rows:
        yield start, rows
