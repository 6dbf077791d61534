"""Dialogues out of files: tables, recognisers' transcripts, and plain ones of `speaker: text`.

A line of a plain transcript may begin with a time, `[00:12] Клиент: алло` or `00:12 Клиент: алло`,
or have it behind the speaker, `Клиент [00:12]: алло`; of a span such as `[00:12 - 00:15]` the
beginning counts. An indented line goes on with the utterance above it. A blank line ends a
dialogue; where every utterance stands between blank lines, two of them do. A line `# name` names
the dialogue that follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ov_emotions.dialogues.dialogue import (
    Dialogue,
    LeftOut,
    Reading,
    Utterance,
    joined,
    spelt_alike,
)
from ov_emotions.errors import DataError
from ov_emotions.texts import (
    FORMATS,
    NAN_CELLS,
    BadRow,
    ReadSettings,
    Row,
    Table,
    is_readable,
    open_table,
)
from ov_emotions.texts.streams import reading as reading_file
from ov_emotions.texts.streams import text_lines
from ov_emotions.texts.transcripts import CLOCK, cell_seconds, clock_seconds

_NOBODY = "UNKNOWN"
_SPAN = rf"{CLOCK}(?:\s*(?:-->|[-–—])\s*{CLOCK})?"
# Seconds in brackets, too, as recognisers write them.
_BOXED = r"\[\s*\d{1,6}(?:\.\d{1,3})?s?(?:\s*(?:-->|[-–—])\s*\d{1,6}(?:\.\d{1,3})?s?)?\s*\]"
_TIME = rf"(?:[\[(<]\s*{_SPAN}\s*[\])>]|{_SPAN}|{_BOXED})"
# A name has no punctuation of sentences but the point of initials, and no more than five words.
_NAME = r"[^\s:.,!?;()\[\]<>«»\"—–-][^:,!?;()\[\]<>«»\"\n]{0,59}?"
_LINE = re.compile(
    rf"(?:(?P<before>{_TIME})\s*[-–—]?\s*)?"
    rf"(?P<speaker>{_NAME})\s*(?:(?P<behind>{_TIME})\s*)?"
    r":(?!//)(?!\d)\s*(?P<text>.*)"
)
_FIRST_TIME = re.compile(rf"{CLOCK}|\d+(?:\.\d+)?")
_MOST_WORDS = 5
_HEADING = re.compile(r"#+\s*(?P<name>\S.*?)\s*#*\s*")


@dataclass(frozen=True)
class _Line:
    """An utterance, or a heading (without a speaker), and how many blank lines stood before it."""

    blanks: int
    utterance: Utterance | None
    heading: str = ""


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called.

    :param text: with what was said.
    :param speaker: with who said it.
    :param dialogue: with what tells one dialogue from another; None takes a column `dialogue` if
        there is one, and the whole file for one dialogue if there is none.
    :param time: with when it was said; None takes a column `time` or `start` if there is one.
    """

    text: str = "text"
    speaker: str = "speaker"
    dialogue: str | None = None
    time: str | None = None


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Replace folders by the readable files in them, sorted by name.

    :raises DataError: if a folder has none, or a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        with reading_file(path):
            inside = sorted(filter(is_readable, path.iterdir())) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path} has no file that ends in {', '.join(FORMATS)}")
        files += inside
    return files


def read_dialogues(
    paths: Sequence[Path], columns: Columns | None = None, settings: ReadSettings | None = None
) -> Reading:
    """Read the dialogues of files and folders.

    Rows of a table belong to one dialogue by its column, wherever they stand; they are put in the
    order of their times where each of the dialogue has one. Transcripts keep the order of their
    lines.

    :param paths: files, and folders whose files are read; `-` is standard input.
    :param columns: what the columns of tables are called.
    :param settings: how files are read; the column with the text is that of `columns`.
    :return: dialogues with unique names, and the rows that could not be used.
    :raises DataError: if a file cannot be read, lacks a column, or holds no dialogue.
    """
    wanted = columns or Columns()
    how = replace(settings or ReadSettings(), text_column=wanted.text)
    # All are looked into before the first is read through.
    tables = [open_table(path, how) for path in find_files(paths)]
    return joined([_read_table(table, wanted) for table in tables])


def _read_table(table: Table, columns: Columns) -> Reading:
    name = table.path.name.removesuffix(".gz")
    name = name.removesuffix(Path(name).suffix) or name
    if table.format == "txt" and table.lines is not None:
        with reading_file(table.path):
            found = read_transcript(text_lines(table.lines.read()), name, table.source.name)
        return replace(found, notes=table.notes)
    named = _columns(table, columns)
    groups: dict[str, list[Utterance]] = {}
    left_out: list[LeftOut] = []
    nobody = False
    for row in table.rows(tuple(dict.fromkeys(filter(None, named)))):
        found_row = row if isinstance(row, BadRow) else _utterance(row, *named, table.spoken)
        if isinstance(found_row, BadRow):
            left_out.append(LeftOut(table.source.name, found_row.row, found_row.reason))
        else:
            groups.setdefault(found_row[0] or name, []).append(found_row[1])
            nobody = nobody or found_row[1].speaker == _NOBODY
    if not groups:
        reason = f"; row {left_out[0].row}: {left_out[0].reason}" if left_out else ""
        raise DataError(f"{table.source.name} has no usable rows, of {len(left_out)}{reason}")
    notes = table.notes
    if table.spoken and nobody:
        notes += (f"{table.source.name} does not name every speaker; the rest is {_NOBODY}'s",)
    source = table.source.name
    return Reading(
        tuple(Dialogue(n, spelt_alike(_in_time(said)), source) for n, said in groups.items()),
        tuple(left_out),
        notes,
    )


def _columns(table: Table, columns: Columns) -> tuple[str, str | None, str | None]:
    """Find the columns of speaker, dialogue and time."""
    speaker = table.find("speaker" if table.spoken else columns.speaker)
    if speaker is None:
        raise DataError(
            f"{table.source.name} has no column {columns.speaker!r}, and so names no speakers; "
            f"beside {table.text!r} it has {', '.join(table.others) or 'none'}; name the one with "
            "the speakers (--speaker-column)"
        )
    found = []
    for asked, usual in ((columns.dialogue, ("dialogue",)), (columns.time, ("time", "start"))):
        one = next(filter(None, map(table.find, (asked,) if asked else usual)), None)
        if asked and one is None:
            raise DataError(
                f"{table.source.name} has no column {asked!r}; beside {table.text!r} it has "
                f"{', '.join(table.others) or 'none'}"
            )
        found.append(one)
    return speaker, found[0], found[1]


def _utterance(
    row: Row, speaker: str, dialogue: str | None, time: str | None, spoken: bool
) -> tuple[str, Utterance] | BadRow:
    cells = {name: row.cells[name] for name in (speaker, dialogue, time) if name}
    for cell in cells.values():
        if isinstance(cell, BadRow):
            return BadRow(row.row, cell.reason)
    who = _name(cells[speaker]) or (_NOBODY if spoken else "")
    if not who:
        return BadRow(row.row, "the speaker is missing")
    where = ""
    if dialogue is not None:
        where = _name(cells[dialogue])
        if not where:
            return BadRow(row.row, "the dialogue is missing")
    try:
        seconds = None if time is None else cell_seconds(cells[time])
    except (ValueError, OverflowError) as error:
        return BadRow(row.row, f"the time {error}")
    return where, Utterance(who, row.text, seconds, row.row)


def _name(value: Any) -> str:
    if value is None or value != value or value in NAN_CELLS:
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return " ".join(str(int(value) if whole else value).split())


def _in_time(utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
    """Sort by time where all have one, and count it from the first."""
    times = [utterance.time for utterance in utterances]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return tuple(utterances)
    # Dates have seconds since 1970, which no reader wants to see.
    first = min(known) if min(known) > 1e8 else 0.0
    ordered = sorted(zip(known, utterances, strict=True), key=lambda pair: pair[0])
    return tuple(replace(utterance, time=time - first) for time, utterance in ordered)


def complaints(reading: Reading) -> Iterator[str]:
    """Say what was left out, a line each.

    :param reading: what was read.
    :return: yields `file: row 3: the text is empty`.
    """
    for row in reading.left_out:
        source = f"{row.source}: " if row.source else ""
        yield f"{source}row {row.row}: {row.reason}"


def parse_transcript(content: str, name: str) -> Reading:
    """Read a transcript that is already in memory.

    :param content: all of it.
    :param name: what to call its dialogues.
    :return: its dialogues and the lines that are none of them.
    :raises DataError: if no line has a speaker.
    """
    lines = content.removeprefix("\ufeff").split("\n")
    return read_transcript(text_lines(lines), name, source="")


def read_transcript(lines: Iterable[tuple[int, str | BadRow]], name: str, source: str) -> Reading:
    """Read a transcript.

    :param lines: numbered, without their ends.
    :param name: what to call its dialogues; a number follows where there are several.
    :param source: the file, for messages; empty where there is none.
    :raises DataError: if no line has a speaker.
    """
    left_out: list[LeftOut] = []
    found = list(_parsed(lines, source, left_out))
    if not any(line.utterance for line in found):
        where = source or "the transcript"
        if not found and not left_out:
            raise DataError(f"{where} is empty; a transcript has lines of the form speaker: text")
        first = f"; line {left_out[0].row}: {left_out[0].reason}" if left_out else ""
        raise DataError(
            f"{where} names no speaker: none of its lines has the form speaker: text, such as "
            f"«Клиент: добрый день»{first}"
        )
    return Reading(tuple(_dialogues(found, name, source)), tuple(left_out))


def _parsed(
    lines: Iterable[tuple[int, str | BadRow]], source: str, left_out: list[LeftOut]
) -> Iterator[_Line]:
    """Yield the utterances whole: a line is held back until it is known what follows."""
    held: _Line | None = None
    blanks = 0
    for number, line in lines:
        if isinstance(line, BadRow):
            left_out.append(LeftOut(source, line.row, line.reason))
            continue
        if not line.strip():
            blanks += 1
            continue
        parsed = _parse(number, line, blanks)
        if parsed is None and held and held.utterance and line[0].isspace() and not blanks:
            said = f"{held.utterance.text} {line.strip()}".strip()
            held = replace(held, utterance=replace(held.utterance, text=said))
            continue
        if parsed is None:
            left_out.append(LeftOut(source, number, "the line does not begin with a speaker"))
        else:
            if held:
                yield held
            held = parsed
        blanks = 0
    if held:
        yield held


def _parse(number: int, line: str, blanks: int) -> _Line | None:
    stripped = line.strip()
    if heading := _HEADING.fullmatch(stripped):
        return _Line(blanks, None, heading["name"])
    match = _LINE.fullmatch(stripped)
    if match is None or len(match["speaker"].split()) > _MOST_WORDS:
        return None
    first = _FIRST_TIME.search(match["before"] or match["behind"] or "")
    time = None
    if first is not None:
        time = clock_seconds(first[0]) if ":" in first[0] else float(first[0])
    return _Line(blanks, Utterance(match["speaker"].strip(), match["text"], time, number))


def _dialogues(found: list[_Line], name: str, source: str) -> Iterator[Dialogue]:
    spoken = [line for line in found if line.utterance]
    spaced = len(spoken) > 2 and all(line.blanks for line in spoken[1:])
    groups: list[tuple[str, list[Utterance]]] = []
    heading, begins = "", True
    for line in found:
        begins = begins or line.blanks > spaced
        if line.utterance is None:
            heading, begins = line.heading, True
            continue
        if begins:
            groups.append((heading, []))
            heading, begins = "", False
        groups[-1][1].append(line.utterance)
    for i, (title, utterances) in enumerate(groups, start=1):
        numbered = name if len(groups) == 1 else f"{name}-{i}"
        yield Dialogue(title or numbered, spelt_alike(utterances), source)
