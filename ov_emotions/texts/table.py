"""A file of texts that was looked into: what it is, its columns, its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ov_emotions.errors import DataError, InputError, MissingColumnError
from ov_emotions.texts.streams import (
    BadRow,
    Lines,
    Row,
    Source,
    check_encoding,
    folded,
    reading,
)

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

_JSON_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
SAMPLE = 100
"""Rows that are looked at before a file is read."""

# What numpy and pandas write for a missing value.
NAN_CELLS = frozenset({"nan", "NaN"})
NO_CELLS: Mapping[str, Any] = {}


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
    """What is read of each row.

    :param columns: beside the text.
    :param strict: whether a row with too few cells is bad.
    :param start: where to begin; None for the first row.
    """

    columns: tuple[str, ...]
    strict: bool
    start: Start | None


Read = Callable[[Wanted], Iterator[Row | BadRow]]


@dataclass(frozen=True)
class Table:
    """A file of texts that was looked into.

    :param source: its bytes.
    :param format: of it.
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
    _read: Read
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

        :param name: what it is called.
        :return: its name in `columns`; None if there is none.
        :raises DataError: if several are called so.
        """
        found = [name] if name in self.columns else _alike(self.columns, name)
        if len(found) > 1 or (found and found[0] in self.twice):
            raise DataError(f"{self.source.name} has more than one column {name!r}")
        return found[0] if found else None

    def rows(
        self,
        columns: Sequence[str] | None = None,
        *,
        strict: bool = False,
        start: Start | None = None,
    ) -> Iterator[Row | BadRow]:
        """Read the rows lazily and in order.

        :param columns: of `columns`, those to read beside the text; None for all others.
        :param strict: whether a row that has fewer cells than the header is bad.
        :param start: one that `parts` gave, to begin there.
        :return: yields each row, or why it is left out.
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
        :return: yields where each begins and how many rows it has, at least one.
        """
        if self._cut is not None:
            with reading(self.path):
                yield from self._cut(rows)
        elif count := sum(1 for _ in self.rows(())):
            yield Start(), count


def text_format(path: Path) -> str:
    """Tell a file's format by its name.

    :param path: the file; it need not exist.
    :return: one of `FORMATS`.
    :raises DataError: if the extension is not known.
    """
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
    """Take a value for a text, or say why it is none.

    :param number: of the row.
    :param value: what the row holds.
    :return: the text as it stands, or the bad row.
    """
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


def _alike(names: Iterable[str], name: str) -> list[str]:
    wanted = folded(name)
    return [one for one in names if folded(one) == wanted]


def find_text(source: Source, names: Sequence[str], wanted: str) -> str:
    """Find the column with the text: by its name, by its name in another case, or in Russian."""
    tried = TEXT_NAMES if wanted == TEXT_NAMES[0] else (wanted,)
    for name in tried:
        found = [one for one in names if one == name] or _alike(names, name)
        if len(found) > 1:
            raise DataError(f"{source.name} has more than one column {name!r}")
        if found:
            return found[0]
    shown = [name.encode("utf-8", "replace").decode("utf-8") for name in names]
    raise MissingColumnError(
        f"{source.name} has no column {wanted!r}; name the one that holds the text "
        f"(--text-column): {', '.join(shown) or 'it has none'}",
        names,
    )


def said(source: Source, what: str, flags: str) -> str:
    """Tell what a file was taken for, and which flag takes it for something else."""
    return f"{source.name} was read as {what}; {flags} says otherwise"


def _encoding_note(lines: Lines, settings: ReadSettings) -> tuple[str, ...]:
    if settings.encoding is not None or lines.encoding == "utf-8":
        return ()
    name = "Windows-1251" if lines.encoding == "cp1251" else "UTF-16"
    return (said(lines.source, name, "--encoding"),)


def table_of_lines(
    lines: Lines,
    kind: str,
    settings: ReadSettings,
    read: Read,
    *,
    columns: tuple[str, ...] = ("text",),
    text: str = "text",
    notes: tuple[str, ...] = (),
    **more: Any,
) -> Table:
    """Make the table of a file of lines, and note an encoding that is not UTF-8.

    :param more: other fields of `Table`.
    """
    return Table(
        lines.source,
        kind,
        columns,
        text,
        read,
        lines=lines,
        notes=_encoding_note(lines, settings) + notes,
        **more,
    )


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


class ArrowCells(Mapping[str, Any]):
    """The cells of a row of an Arrow batch, made plain values when they are asked for.

    :param batch: Arrow's; it has the text too.
    :param place: of the row in it.
    :param names: of the cells.
    """

    __slots__ = ("batch", "names", "place")

    def __init__(self, batch: Any, place: int, names: tuple[str, ...]) -> None:
        self.batch = batch
        self.place = place
        self.names = names

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        try:
            return self.batch.column(name)[self.place].as_py()
        except (ValueError, OverflowError):  # not UTF-8, or a time that Python cannot hold
            return BadRow(self.place, "a value cannot be read")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
