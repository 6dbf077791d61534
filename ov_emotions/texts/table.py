"""A file of texts that was looked into: what it is, its columns, its rows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ov_emotions.errors import DataError, InputError, MissingColumnError
from ov_emotions.texts.streams import BadRow, Lines, Row, Source, check_encoding, reading

Format = Literal[
    "txt", "csv", "tsv", "jsonl", "parquet", "xlsx", "json", "srt", "vtt", "transcript"
]
FORMATS = tuple(f".{name}" for name in get_args(Format) if name != "transcript")
"""File name extensions that can be read; those of lines also with .gz behind."""

DELIMITERS = {"csv": ",", "tsv": "\t"}
_SPELT = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_WHOLE = ("parquet", "xlsx", "json")
TEXT_NAMES = ("text", "текст")
"""Names of the column with the text; the second is found where the first was asked for."""

SAMPLE = 100
"""Rows that are looked at before a file is read."""

# What numpy and pandas write for a missing value.
NAN_CELLS = frozenset({"nan", "NaN"})
NO_CELLS: Mapping[str, Any] = {}
_JSON_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
_WHITE = re.compile(r"\s+")


@dataclass(frozen=True)
class ReadSettings:
    """How files of texts are read.

    :param text_column: column or field with the text; case and blanks do not matter.
    :param delimiter: between cells of .csv and .tsv, in place of the one that is found.
    :param encoding: such as utf-8, utf-16 or cp1251, in place of the one that is found.
    :param format: of the files, in place of what their names say; `transcript` has lines of
        time, speaker and text.
    :param sheet: of a workbook, by name; the first if none is given.
    """

    text_column: str = "text"
    delimiter: str | None = None
    encoding: str | None = None
    format: Format | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            delimiter = _SPELT.get(self.delimiter.lower(), self.delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n':
                raise InputError(
                    f"delimiter must be one character, such as ';' or tab, not {self.delimiter!r}"
                )
            object.__setattr__(self, "delimiter", delimiter)
        if self.encoding is not None:
            check_encoding(self.encoding)


@dataclass(frozen=True)
class Start:
    """Where a range of rows begins in a file.

    :param row: rows before it; lines of .txt and .jsonl, which rows are numbered by.
    :param offset: its first byte; 0 where rows are not found by bytes.
    :param line: lines before it; 0 likewise.
    """

    row: int = 0
    offset: int = 0
    line: int = 0


@dataclass(frozen=True)
class Wanted:
    """What is read of each row: the arguments of `Table.rows`."""

    columns: tuple[str, ...]
    strict: bool
    start: Start | None


@dataclass(frozen=True)
class Table:
    """A file of texts that was looked into.

    :param columns: all, in the order of the file, each by a name of its own; of .jsonl, the fields
        of its first rows. Of texts that stand alone, the one column `text`.
    :param text: the column with the text.
    :param lines: of a format of lines.
    :param delimiter: between cells; empty where there is none.
    :param notes: what was found that the file's name does not tell, a sentence each.
    :param twice: names that several columns have.
    :param schema: Arrow's, of .parquet.
    """

    source: Source
    format: str
    columns: tuple[str, ...]
    text: str
    _read: Callable[[Wanted], Iterator[Row | BadRow]]
    lines: Lines | None = None
    delimiter: str = ""
    notes: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    schema: Any = None
    _cut: Callable[[int], Iterator[tuple[Start, int]]] | None = None

    @property
    def path(self) -> Path:
        """The file; `-` is standard input."""
        return self.source.path

    @property
    def marked(self) -> bool:
        """Whether an office program saved it, as a byte order mark or another encoding tells."""
        lines = self.lines
        return lines is not None and (lines.mark > 0 or lines.encoding != "utf-8")

    @property
    def spoken(self) -> bool:
        """Whether it is a transcript, with the columns `start`, `end` and `speaker`."""
        return self.format in ("srt", "vtt", "transcript")

    @property
    def others(self) -> tuple[str, ...]:
        """The columns beside the text."""
        return tuple(name for name in self.columns if name != self.text)

    def all_fields(self) -> tuple[str, ...]:
        """Return the columns; of .jsonl the fields of all rows, for which it is read through."""
        if self.format != "jsonl" or not self.source.regular:
            return self.columns
        found = dict.fromkeys(self.columns)
        for row in self.rows():
            if isinstance(row, Row):
                found.update(dict.fromkeys(row.cells))
        return tuple(found)

    def find(self, name: str) -> str | None:
        """Find a column without regard to case and blanks.

        :raises DataError: if several are called so.
        """
        return _find(self.source, self.columns, name, self.twice)

    def rows(
        self,
        columns: Sequence[str] | None = None,
        *,
        strict: bool = False,
        start: Start | None = None,
    ) -> Iterator[Row | BadRow]:
        """Read the rows lazily and in order; one that is left out is told in its place.

        :param columns: those to read beside the text; None for all others.
        :param strict: whether a row that has fewer cells than the header is bad.
        :param start: one that `parts` gave, to begin there.
        :raises DataError: while reading, if the file turns out to be damaged; at once if it is a
            pipe that was read before.
        """
        chosen = self.others if columns is None else tuple(columns)
        with reading(self.path):
            yield from self._read(Wanted(chosen, strict, start))

    def parts(self, rows: int) -> Iterator[tuple[Start, int]]:
        """Cut the rows into ranges, for which the file is read once.

        A file that can only be read from its beginning is one range whatever its length.

        :param rows: of a range at most.
        :return: where each begins and how many rows it has, at least one.
        """
        if self._cut is not None:
            with reading(self.path):
                yield from self._cut(rows)
        elif count := sum(1 for _ in self.rows(())):
            yield Start(), count


def text_format(path: Path) -> str:
    """Tell a file's format, one of `FORMATS`, by its name; it need not exist."""
    name = path.name.lower()
    compressed = name.endswith(".gz")
    extension = Path(name.removesuffix(".gz")).suffix or (".txt" if compressed else "")
    if extension not in FORMATS or (compressed and extension[1:] in _WHOLE):
        raise DataError(
            f"{path} is of no known format; the name of a text file ends in {', '.join(FORMATS)}; "
            "--format says what another is"
        )
    return extension


def is_readable(path: Path) -> bool:
    """Tell whether a file found in a folder is one of texts, by its name."""
    try:
        return path.name[0] not in "._" and bool(text_format(path)) and path.is_file()
    except DataError:
        return False


def text_value(number: int, value: Any) -> str | BadRow:
    """Take a value of a row for a text, or say why it is none."""
    if type(value) is str and value and not value.isspace():
        return value
    if value is None:
        return BadRow(number, "the text is missing")
    if isinstance(value, float) and math.isnan(value):
        return BadRow(number, "the text is NaN")
    if not isinstance(value, str):
        kind = _JSON_TYPES.get(type(value), "an object")
        return BadRow(number, f"the text is {kind}, not a string")
    return BadRow(number, "the text is empty")


def folded(name: str) -> str:
    """Make names of columns comparable: one case, no blanks."""
    return _WHITE.sub("", name.casefold().lstrip("\ufeff"))


def _find(
    source: Source, names: Sequence[str], wanted: str, twice: Sequence[str] = ()
) -> str | None:
    """Find a name as it is, or else in another case or with other blanks."""
    found = [name for name in names if name == wanted]
    found = found or [name for name in names if folded(name) == folded(wanted)]
    if len(found) > 1 or set(found) & set(twice):
        raise DataError(f"{source.name} has more than one column {wanted!r}")
    return found[0] if found else None


def find_text(source: Source, names: Sequence[str], wanted: str) -> str:
    """Find the column with the text: by its name, by its name in another case, or in Russian."""
    for name in TEXT_NAMES if wanted == TEXT_NAMES[0] else (wanted,):
        found = _find(source, names, name)
        if found is not None:
            return found
    shown = [name.encode("utf-8", "replace").decode("utf-8") for name in names]
    raise MissingColumnError(
        f"{source.name} has no column {wanted!r}; name the one that holds the text "
        f"(--text-column): {', '.join(shown) or 'it has none'}",
        names,
    )


def said(source: Source, what: str, flags: str) -> str:
    """Tell what a file was taken for, and which flag takes it for something else."""
    return f"{source.name} was read as {what}; {flags} says otherwise"


def unique(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give each column a name of its own, and tell which names several have."""
    found: dict[str, None] = {}
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found[free] = None
    return tuple(found), tuple(sorted({name for name in names if names.count(name) > 1}))
