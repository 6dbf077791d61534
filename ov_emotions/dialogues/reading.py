"""Dialogues out of files: tables (.csv, .tsv, .jsonl, .parquet) and plain transcripts (.txt)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from ov_emotions.dialogues.times import cell_seconds
from ov_emotions.dialogues.transcripts import read_transcript
from ov_emotions.errors import DataError
from ov_emotions.texts import (
    FORMATS,
    NAN_CELLS,
    BadRow,
    Record,
    check_text_file,
    column_names,
    numbered_lines,
    open_file,
    read_records,
    text_format,
)
from ov_emotions.texts import reading as reading_file


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called.

    :param text: with what was said.
    :param speaker: with who said it.
    :param dialogue: with what tells one dialogue from another; None takes a column `dialogue` if
        there is one, and the whole file for one dialogue if there is none.
    :param time: with when it was said; None takes a column `time` if there is one.
    """

    text: str = "text"
    speaker: str = "speaker"
    dialogue: str | None = None
    time: str | None = None


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Replace folders by the readable files in them, sorted by name.

    :param paths: files and folders.
    :return: the files.
    :raises DataError: if a folder has none, or a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist")
        if not path.is_dir():
            files.append(path)
            continue
        with reading_file(path):
            inside = [p for p in sorted(path.iterdir()) if _is_readable(p)]
        if not inside:
            raise DataError(f"{path} has no file that ends in {', '.join(FORMATS)}")
        files += inside
    return files


def _is_readable(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    try:
        return bool(text_format(path))
    except DataError:
        return False


def read_dialogues(paths: Sequence[Path], columns: Columns | None = None) -> Reading:
    """Read the dialogues of files and folders.

    Rows of a table belong to one dialogue by its column, wherever they stand; they are put in the
    order of their times where each of the dialogue has one. Transcripts keep the order of their
    lines.

    :param paths: files, and folders whose files are read.
    :param columns: what the columns of tables are called.
    :return: dialogues with unique names, and the rows that could not be used.
    :raises DataError: if a file cannot be read, lacks a column, or holds no dialogue.
    """
    wanted = columns or Columns()
    files = find_files(paths)
    for path in files:
        extension = text_format(path)
        check_text_file(path, wanted.text if extension != ".txt" else "text")
    return joined([_read_file(path, wanted) for path in files])


def _read_file(path: Path, columns: Columns) -> Reading:
    name = path.name.removesuffix(".gz")
    name = name.removesuffix(Path(name).suffix) or name
    if text_format(path) == ".txt":
        with reading_file(path), open_file(path) as file:
            return read_transcript(numbered_lines(file), name, str(path))
    return _read_table(path, columns, name)


def _read_table(path: Path, columns: Columns, name: str) -> Reading:
    available = column_names(path, columns.text)
    dialogue = columns.dialogue or ("dialogue" if "dialogue" in available else None)
    time = columns.time or ("time" if "time" in available else None)
    if columns.speaker not in available:
        raise DataError(
            f"{path} has no column {columns.speaker!r}, and so names no speakers; beside "
            f"{columns.text!r} it has {', '.join(available) or 'none'}; name the one with the "
            "speakers"
        )
    wanted = [column for column in (columns.speaker, dialogue, time) if column]
    groups: dict[str, list[Utterance]] = {}
    left_out: list[LeftOut] = []
    for row in read_records(path, columns.text, list(dict.fromkeys(wanted))):
        found = row if isinstance(row, BadRow) else _utterance(row, columns.speaker, dialogue, time)
        if isinstance(found, BadRow):
            left_out.append(LeftOut(str(path), found.row, found.reason))
        else:
            groups.setdefault(found[0] or name, []).append(found[1])
    if not groups:
        reason = f"; row {left_out[0].row}: {left_out[0].reason}" if left_out else ""
        raise DataError(f"{path} has no usable rows, of {len(left_out)}{reason}")
    dialogues = (Dialogue(n, spelt_alike(_in_time(said)), str(path)) for n, said in groups.items())
    return Reading(tuple(dialogues), tuple(left_out))


def _utterance(
    record: Record, speaker: str, dialogue: str | None, time: str | None
) -> tuple[str, Utterance] | BadRow:
    for cell in record.cells.values():
        if isinstance(cell, BadRow):
            return cell
    who = _name(record.cells[speaker])
    if not who:
        return BadRow(record.row, "the speaker is missing")
    where = ""
    if dialogue is not None:
        where = _name(record.cells[dialogue])
        if not where:
            return BadRow(record.row, "the dialogue is missing")
    try:
        seconds = None if time is None else cell_seconds(record.cells[time])
    except (ValueError, OverflowError) as error:
        return BadRow(record.row, f"the time {error}")
    return where, Utterance(who, record.text, seconds, record.row)


def _name(value: Any) -> str:
    if value is None or value != value or value in NAN_CELLS:
        return ""
    return " ".join(str(value).split())


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
