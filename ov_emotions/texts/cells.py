"""Cells between delimiters: .csv and .tsv as people have them."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from ov_emotions.errors import DataError
from ov_emotions.texts.lines import cuttable
from ov_emotions.texts.streams import MAX_LINE, BadRow, Lines, Row, Source, open_lines
from ov_emotions.texts.table import (
    DELIMITERS,
    NAN_CELLS,
    NO_CELLS,
    SAMPLE,
    TEXT_NAMES,
    ReadSettings,
    Start,
    Table,
    Wanted,
    find_text,
    folded,
    said,
    unique,
)

_CANDIDATES = (",", ";", "\t", "|")
_NO_DELIMITER = "\x1f"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_MAX_RECORD = 4 * MAX_LINE
_REASONS = {
    "expected after '\"'": "something stands between a closing quote and the end of its cell",
    "end of data": "a quote is opened and not closed",
}


def open_cells(source: Source, kind: str, settings: ReadSettings) -> Table:
    """Look into .csv or .tsv; see `open_table`."""
    # Of the whole process, and only ever raised: a cell may be as long as a row.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_RECORD))
    lines = open_lines(source, settings.encoding)
    delimiter, names, before = _header(source, lines, kind, settings)
    columns, twice = unique(names)
    text = find_text(source, names, settings.text_column)
    notes: tuple[str, ...] = ()
    if settings.delimiter is None and delimiter not in (DELIMITERS[kind], _NO_DELIMITER):
        cells = f"cells between {_NAMES.get(delimiter, repr(delimiter))}"
        notes = (said(source, cells, "--delimiter"),)
    offset = lines.mark + sum(len(lines.encode(line)) for line in before)
    below = Start(0, offset, len(before))

    def read(wanted: Wanted) -> Iterator[Row | BadRow]:
        if cuttable(lines):
            start = wanted.start or below
            below_header = lines.read(start.offset)
        else:
            start = below
            below_header = islice(lines.read(), len(before), None)
        records = _Records(below_header, delimiter, len(columns), start)
        return _cell_rows(records, columns, columns.index(text), wanted)

    def cut(rows: int) -> Iterator[tuple[Start, int]]:
        records = _Records(lines.read(offset), delimiter, len(columns), below)
        start, count, place = below, 0, offset
        for number, _ in records:
            place += sum(len(lines.encode(line)) for line in records.taken)
            count += 1
            if count == rows:
                yield start, count
                start, count = Start(number, place, records.line), 0
        if count:
            yield start, count

    return Table(
        source,
        kind,
        columns,
        text,
        read,
        lines,
        delimiter="" if delimiter == _NO_DELIMITER else delimiter,
        notes=notes,
        twice=twice,
        _cut=cut if cuttable(lines) else None,
    )


def _header(
    source: Source, lines: Lines, kind: str, settings: ReadSettings
) -> tuple[str, list[str], list[str]]:
    """Find the delimiter, the names of the columns, and the lines they and what is before take."""
    while True:
        head = lines.head.split(lines.end)
        whole = [line + lines.end for line in head[:-1]]
        if source.ended and head[-1]:
            whole.append(head[-1])
        first = next((i for i, line in enumerate(whole) if line.strip()), len(whole))
        # The line `sep=;`, which spreadsheets take for the delimiter.
        line = whole[first].strip("\r\n").strip('"') if whole[first:] else ""
        told = line[4] if line[:4].lower() == "sep=" and len(line) == 5 else None
        first += told is not None
        delimiter = settings.delimiter or told
        if delimiter is None and whole[first:]:
            delimiter = _find_delimiter(whole[first:], DELIMITERS[kind], settings.text_column)
        reader = csv.reader(whole[first:], delimiter=delimiter or ",", strict=True)
        try:
            names = next(filter(None, reader), [])
        except csv.Error as error:
            if source.grow():
                continue
            raise DataError(f"{source.name} has a header that cannot be read: {error}") from error
        if not names and source.grow():
            continue
        if len(names) == 1 and settings.delimiter is None and not told:
            delimiter = _NO_DELIMITER  # what stands in a row is all of the text
        taken = first + reader.line_num
        return delimiter or DELIMITERS[kind], names, whole[:taken]


def _find_delimiter(lines: Sequence[str], usual: str, column: str) -> str:
    """Find what parts the cells: it gives the header the text's column, and rows as many cells."""

    def score(delimiter: str) -> tuple[bool, int, bool]:
        try:
            rows = csv.reader(lines[: SAMPLE + 1], delimiter=delimiter)
            cells = [row for row in islice(rows, SAMPLE) if row]
        except csv.Error:
            return False, 0, False
        header = cells[0] if cells else []
        named = {folded(name) for name in header}
        found = any(folded(name) in named for name in {column, *TEXT_NAMES})
        same = sum(len(row) == len(header) for row in cells) if len(header) > 1 else 0
        return found and len(header) > 1, same, delimiter == usual

    return max(_CANDIDATES, key=score)


class _Records:
    """The records of lines with cells, numbered; a stray quote costs its own row only."""

    def __init__(self, lines: Iterator[str], delimiter: str, width: int, start: Start) -> None:
        self.lines = lines
        self.delimiter = delimiter
        self.width = width
        self.row = start.row
        self.line = start.line
        """Lines up to the end of the record."""
        self.taken: list[str] = []
        """The lines of the record."""
        self._again: deque[str] = deque()

    def _feed(self) -> Iterator[str]:
        taken, again, size = self.taken, self._again, 0
        while (line := again.popleft() if again else next(self.lines, None)) is not None:
            size = size + len(line) if taken else 0
            if size > _MAX_RECORD:
                again.append(line)
                raise csv.Error(f"the row is longer than {_MAX_RECORD // 2**20} MiB")
            taken.append(line)
            yield line

    def __iter__(self) -> Iterator[tuple[int, list[str] | BadRow]]:
        taken = self.taken
        reader = self._reader()
        while True:
            taken.clear()
            cells: list[str] | None = None
            reason = ""
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                reason = _REASONS.get(str(error).partition(" ")[2], str(error))
            if len(taken) > 1 and (cells is None or len(cells) != self.width) and self._stray():
                # Rows that the quote would have joined are read each for itself.
                self._again.extendleft(reversed(taken[1:]))
                del taken[1:]
                reader = self._reader()
                cells, reason = None, "a quote is opened and not closed"
            self.line += len(taken)
            if cells:
                self.row += 1
                yield self.row, cells
            elif cells is None:
                self.row += 1
                first = self.line - len(taken) + 1
                where = f"line {first}" if len(taken) < 2 else f"lines {first} to {self.line}"
                yield self.row, BadRow(self.row, f"{reason} ({where})")

    def _reader(self) -> Iterator[list[str]]:
        # Strict, because a stray quote would otherwise join many rows to one without a word.
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

    def _stray(self) -> bool:
        """Tell whether the record's first line, read literally, is a row of its own."""
        literal = csv.reader(self.taken[:1], delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        try:
            return len(next(literal)) == self.width
        except csv.Error:
            return False


def _cell_rows(
    records: _Records, header: Sequence[str], position: int, wanted: Wanted
) -> Iterator[Row | BadRow]:
    width = len(header)
    places = [(name, header.index(name)) for name in wanted.columns]
    others = [name for i, name in enumerate(header) if i != position]
    everything = list(wanted.columns) == others
    for number, cells in records:
        if isinstance(cells, BadRow):
            yield cells
            continue
        if len(cells) != width:
            # A stray delimiter would put every cell behind it under another's name.
            stray = any(cell.strip() for cell in cells[width:])
            if stray or (len(cells) < width and wanted.strict):
                yield BadRow(number, f"the row has {len(cells)} cells, the header has {width}")
                continue
            if position >= len(cells):
                yield BadRow(number, "the row is too short to have a text")
                continue
            cells = cells[:width] + [""] * (width - len(cells))
        if wanted.strict and (broken := [n for n, i in places if _is_broken(cells[i])]):
            yield BadRow(number, f"column {broken[0]!r} is not UTF-8")
            continue
        text = cells[position]
        if not text.isascii() and _is_broken(text):
            yield BadRow(number, "the text is not UTF-8")
            continue
        if not places:
            row = Row(number, text, NO_CELLS)
        elif everything:
            del cells[position]
            row = Row(number, text, dict(zip(others, cells, strict=True)))
        else:
            row = Row(number, text, {name: cells[place] for name, place in places})
        if not text or text.isspace():
            yield BadRow(number, "the text is empty", row)
        elif text in NAN_CELLS:
            yield BadRow(number, "the text is NaN", row)
        else:
            yield row


def _is_broken(cell: str) -> bool:
    """Tell whether a cell holds bytes that are not of its file's encoding."""
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
