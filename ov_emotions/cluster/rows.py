"""A part's rows, read a chunk at a time: their texts, and the rows themselves as they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ov_emotions._extras import require
from ov_emotions.cluster.plan import Part, Settings
from ov_emotions.cluster.scan import file_format
from ov_emotions.errors import DataError
from ov_emotions.records import csv_flaw
from ov_emotions.textfiles import (
    DELIMITERS,
    BadRow,
    csv_reader,
    csv_records,
    csv_text,
    jsonl_objects,
    jsonl_text,
    open_csv,
    open_file,
    open_parquet,
    parquet_text,
    reading,
)

CHUNK_ROWS = 1024
"""Rows that are read and classified together; a part of what the answers depend on."""

_CHUNK_CHARACTERS = 1 << 20


@dataclass
class Chunk:
    """Some rows of a part, in their order.

    :param texts: of the usable rows.
    :param source: the usable rows: lists of cells, dictionaries, or one Arrow batch.
    :param bad: those that are set aside.
    """

    texts: list[str] = field(default_factory=list)
    source: Any = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows it holds, usable or not."""
        return len(self.texts) + len(self.bad)


def source_schema(path: Path, settings: Settings) -> Any:
    """Read what the columns of a file are.

    :param path: the file.
    :param settings: of the job.
    :return: the header of .csv and .tsv, the Arrow schema of .parquet, None of .jsonl.
    :raises DataError: if the file cannot be read.
    """
    extension = file_format(path)
    with reading(path):
        if extension == ".jsonl":
            return None
        if extension == ".parquet":
            with open_parquet(path, settings.text_column) as parquet:
                return parquet.schema_arrow
        with open_file(path) as file:
            return open_csv(path, file, settings.text_column, DELIMITERS[extension])[2]


def read_part(path: Path, part: Part, settings: Settings, schema: Any) -> Iterator[Chunk]:
    """Read a part.

    :param path: its file.
    :param part: its range.
    :param settings: of the job.
    :param schema: what `source_schema` gave.
    :return: yields its rows.
    :raises DataError: if the file is damaged, or holds fewer rows than it did.
    """
    extension = file_format(path)
    found = 0
    with reading(path):
        if extension == ".parquet":
            chunks = _parquet(path, part, settings.text_column)
        elif extension == ".jsonl":
            chunks = _together(_jsonl(path, part, settings))
        else:
            chunks = _together(_csv(path, part, settings.text_column, schema))
        for chunk in chunks:
            found += chunk.rows
            yield chunk
    if found != part.rows:
        raise DataError(
            f"{path} has changed since the plan was made: {found:,} rows where {part.rows:,} were"
        )


def _together(rows: Iterable[tuple[str, Any] | BadRow]) -> Iterator[Chunk]:
    """Gather rows into chunks."""
    chunk, characters = Chunk(), 0
    for row in rows:
        if isinstance(row, BadRow):
            chunk.bad.append(row)
        else:
            chunk.texts.append(row[0])
            chunk.source.append(row[1])
            characters += len(row[0])
        if chunk.rows >= CHUNK_ROWS or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = Chunk(), 0
    if chunk.rows:
        yield chunk


def _jsonl(path: Path, part: Part, settings: Settings) -> Iterator[tuple[str, Any] | BadRow]:
    with open_file(path) as file:
        file.seek(part.start.offset)
        for number, value in islice(jsonl_objects(file, part.start.line), part.rows):
            if isinstance(value, BadRow):
                yield value
                continue
            text = jsonl_text(number, value, settings.text_column)
            if isinstance(text, BadRow):
                yield text
            elif taken := [name for name in settings.added if name in value]:
                yield BadRow(number, f"there is a field {taken[0]!r} already; see --prefix")
            else:
                yield text, value


def _csv(
    path: Path, part: Part, text_column: str, header: list[str]
) -> Iterator[tuple[str, Any] | BadRow]:
    position = header.index(text_column)
    others = [name for name in header if name != text_column]
    with open_file(path) as file:
        file.seek(part.start.offset)
        reader = csv_reader(file, DELIMITERS[file_format(path)])
        records = csv_records(reader, part.start.row, part.start.line)
        for number, cells in islice(records, part.rows):
            if isinstance(cells, BadRow):
                yield cells
            elif flaw := csv_flaw(number, cells, header, others):
                yield flaw
            else:
                text = csv_text(number, cells, position)
                yield text if isinstance(text, BadRow) else (text, cells)


def _parquet(path: Path, part: Part, text_column: str) -> Iterator[Chunk]:
    pa = require("pyarrow", extra="cluster")
    number = part.start.row
    with open_parquet(path, text_column) as file:
        groups, skip = _row_groups(file, part)
        left = part.rows
        try:
            for batch in file.iter_batches(batch_size=CHUNK_ROWS, row_groups=groups):
                wanted = batch.slice(skip, left)
                skip = max(skip - batch.num_rows, 0)
                if not wanted.num_rows:
                    continue
                left -= wanted.num_rows
                yield _parquet_chunk(pa, wanted, wanted.column(text_column), number)
                number += wanted.num_rows
                if not left:
                    return
        except (pa.ArrowException, NotImplementedError) as error:
            raise DataError(f"{path} is damaged after row {number}: {error}") from error


def _row_groups(file: Any, part: Part) -> tuple[list[int], int]:
    """Find the row groups that hold a part, and the rows of the first that lie before it."""
    groups: list[int] = []
    skip = first = 0
    for group in range(file.metadata.num_row_groups):
        behind = first + file.metadata.row_group(group).num_rows
        if behind > part.start.row and first < part.start.row + part.rows:
            skip = skip if groups else part.start.row - first
            groups.append(group)
        first = behind
    return groups, max(skip, 0)


def _parquet_chunk(pa: Any, batch: Any, texts: Any, before: int) -> Chunk:
    chunk = Chunk()
    usable = []
    for number, scalar in enumerate(texts, start=before + 1):
        text = parquet_text(number, scalar)
        usable.append(isinstance(text, str))
        if isinstance(text, str):
            chunk.texts.append(text)
        else:
            chunk.bad.append(text)
    chunk.source = batch if all(usable) else batch.filter(pa.array(usable))
    return chunk
