"""Files of lines and of JSON: plain texts, objects, transcripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from ov_emotions.errors import DataError
from ov_emotions.texts.streams import BadRow, Lines, Row, Source, open_lines, text_lines
from ov_emotions.texts.table import (
    NO_CELLS,
    SAMPLE,
    ReadSettings,
    Start,
    Table,
    Wanted,
    find_text,
    said,
    text_value,
)
from ov_emotions.texts.transcripts import (
    COLUMNS,
    Objects,
    looks_timed,
    looks_vosk,
    subtitle_rows,
    timed_rows,
    vosk_rows,
    whisper_rows,
    whisper_segments,
)

_decode_json = msgspec.json.Decoder().decode


def open_txt(source: Source, kind: str, settings: ReadSettings) -> Table:
    """Look into .txt: a text a line, or time, speaker and text; see `open_table`."""
    lines = open_lines(source, settings.encoding)
    notes: tuple[str, ...] = ()
    if settings.format is None:
        head = lines.head.split(lines.end)
        if looks_timed(head[:-1] if len(head) > 1 and not source.ended else head):
            kind = "transcript"
            notes = (said(source, "a transcript of time, speaker and text", "--format txt"),)
    if kind == "transcript":
        return _spoken(lines, kind, lambda: timed_rows(text_lines(lines.read())), notes)

    def read(wanted: Wanted) -> Iterator[Row | BadRow]:
        start = wanted.start or Start()
        for number, line in text_lines(lines.read(start.offset), start.line):
            if isinstance(line, BadRow):
                yield line
            elif line and not line.isspace():
                yield Row(number, line, NO_CELLS)
            else:
                yield BadRow(number, "the text is empty")

    return Table(source, kind, ("text",), "text", read, lines, _cut=_cutter(lines, blank=True))


def _spoken(
    lines: Lines,
    kind: str,
    rows: Callable[[], Iterable[Row | BadRow]],
    notes: tuple[str, ...] = (),
) -> Table:
    def read(wanted: Wanted) -> Iterator[Row | BadRow]:
        for row in rows():
            if isinstance(row, BadRow) or len(wanted.columns) == len(row.cells):
                yield row
            else:
                cells = {name: row.cells.get(name) for name in wanted.columns}
                yield Row(row.row, row.text, cells)

    return Table(lines.source, kind, (*COLUMNS, "text"), "text", read, lines, notes=notes)


def open_subtitles(source: Source, kind: str, settings: ReadSettings) -> Table:
    """Look into .srt or .vtt; see `open_table`."""
    lines = open_lines(source, settings.encoding)

    def rows() -> Iterator[Row | BadRow]:
        found = False
        for row in subtitle_rows(lines.read(), web=kind == "vtt"):
            found = True
            yield row
        if not found and lines.head.strip() and not lines.head.startswith("WEBVTT"):
            raise DataError(
                f"{source.name} has no cue: none of its lines has the form "
                "00:00:01,000 --> 00:00:04,000"
            )

    return _spoken(lines, kind, rows)


def open_json(source: Source, kind: str, settings: ReadSettings) -> Table:
    """Look into .json: a list of objects, or what Whisper, WhisperX or Vosk write."""
    while source.grow():
        pass
    lines = open_lines(source, settings.encoding)
    value = _json_values(source, lines.head)
    segments = whisper_segments(value)
    if segments is not None:
        return _spoken(lines, "transcript", lambda: whisper_rows(segments))
    objects = value if isinstance(value, list) else [value]
    numbered = [(number, _object(number, one)) for number, one in enumerate(objects, start=1)]
    if looks_vosk(objects):
        return _spoken(lines, "transcript", lambda: vosk_rows(numbered))
    fields = dict.fromkeys(k for one in objects if isinstance(one, dict) for k in one)
    if not isinstance(value, list) or (objects and not fields):
        raise DataError(
            f"{source.name} is neither a list of objects nor the JSON of Whisper, WhisperX or Vosk"
        )
    text = find_text(source, tuple(fields), settings.text_column) if fields else "text"

    def read(wanted: Wanted) -> Iterator[Row | BadRow]:
        return _object_rows(numbered, text, wanted)

    return Table(source, kind, tuple(fields) or (text,), text, read, lines)


def _json_values(source: Source, text: str) -> Any:
    """Read one JSON value, or several that stand one behind the other as a list."""
    decoder, values, place = json.JSONDecoder(), [], 0
    text = text.strip()
    try:
        while place < len(text):
            value, place = decoder.raw_decode(text, place)
            values.append(value)
            place += len(text[place:]) - len(text[place:].lstrip())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source.name} is not JSON: {error}") from error
    return values[0] if len(values) == 1 else values


def _object(number: int, value: Any) -> dict[str, Any] | BadRow:
    return value if isinstance(value, dict) else BadRow(number, "the line is not a JSON object")


def open_jsonl(source: Source, kind: str, settings: ReadSettings) -> Table:
    """Look into .jsonl: an object a line, which may be results of Vosk; see `open_table`."""
    lines = open_lines(source, settings.encoding)
    head = lines.head.splitlines(keepends=True)
    if len(head) > 1 and not source.ended:
        del head[-1]
    sample = [value for _, value in islice(_objects(head), SAMPLE) if isinstance(value, dict)]
    if looks_vosk(sample):
        return _spoken(lines, "transcript", lambda: vosk_rows(_objects(lines.read())))
    fields = tuple(dict.fromkeys(name for value in sample for name in value))
    text = find_text(source, fields, settings.text_column) if fields else settings.text_column

    def read(wanted: Wanted) -> Iterator[Row | BadRow]:
        start = wanted.start or Start()
        objects = _objects(lines.read(start.offset), start.line)
        return _object_rows(objects, text, wanted, known=fields)

    cut = _cutter(lines, blank=False)
    return Table(source, kind, fields or (text,), text, read, lines, _cut=cut)


def _objects(lines: Iterable[str], before: int = 0) -> Objects:
    """Read one JSON object a line; empty lines are left out."""
    for number, text in text_lines(lines, before):
        if isinstance(text, BadRow):
            yield number, text
            continue
        if not text or text.isspace():
            continue
        try:
            value = _decode_json(text)
        except (ValueError, RecursionError):
            # The slower reader takes NaN and halves of surrogate pairs, and tells what is wrong.
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield number, BadRow(number, f"the line is not JSON: {error}")
                continue
        yield number, _object(number, value)


def _object_rows(
    objects: Objects, column: str, wanted: Wanted, known: Sequence[str] = ()
) -> Iterator[Row | BadRow]:
    everything = bool(known) and len(wanted.columns) == len(known) - 1
    for number, value in objects:
        if isinstance(value, BadRow):
            yield value
            continue
        if column not in value:
            fields = ", ".join(value) or "nothing"
            yield BadRow(number, f"there is no field {column!r}, only {fields}")
            continue
        if everything:  # fields that only later rows have, too
            cells = {k: v for k, v in value.items() if k != column}
        else:
            cells = {name: value.get(name) for name in wanted.columns}
        text = text_value(number, value[column])
        if isinstance(text, BadRow):
            yield replace(text, kept=Row(number, "", cells))
        else:
            yield Row(number, text, cells)


def cuttable(lines: Lines) -> bool:
    """Tell whether reading may begin at any line: its bytes can be counted."""
    return lines.source.seekable and lines.encoding in ("utf-8", "cp1251")


def _cutter(lines: Lines, *, blank: bool) -> Callable[[int], Iterator[tuple[Start, int]]] | None:
    """Give what cuts lines into ranges of rows, if they can be cut.

    :param blank: whether blank lines are rows.
    """
    return partial(_cut_lines, lines, blank=blank) if cuttable(lines) else None


def _cut_lines(lines: Lines, rows: int, *, blank: bool) -> Iterator[tuple[Start, int]]:
    start, count = Start(0, lines.mark, 0), 0
    with lines.source.open(lines.mark) as file:
        # Lines that end in a carriage return are no lines to `file`.
        stream = file if lines.end == "\n" else map(lines.encode, lines.read(lines.mark))
        offset = lines.mark
        for number, line in enumerate(stream, start=1):
            offset += len(line)
            count += blank or bool(line.strip())
            if count == rows:
                yield start, count
                start, count = Start(number, offset, number), 0
    if count:
        yield start, count
