"""Plain transcripts: lines of `speaker: text`, with or without times.

A line may begin with a time, `[00:12] Клиент: алло` or `00:12 Клиент: алло`, or have it behind the
speaker, `Клиент [00:12]: алло`; of a span such as `[00:12 - 00:15]` the beginning counts. An
indented line goes on with the utterance above it. A blank line ends a dialogue; where every
utterance stands between blank lines, two of them do. A line `# name` names the dialogue that
follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO

from ov_emotions.dialogues.dialogue import Dialogue, LeftOut, Reading, Utterance, spelt_alike
from ov_emotions.dialogues.times import CLOCK, clock_seconds
from ov_emotions.errors import DataError
from ov_emotions.texts import BadRow, numbered_lines

_SPAN = rf"{CLOCK}(?:\s*(?:-->|[-–—])\s*{CLOCK})?"
_TIME = rf"(?:[\[(<]\s*{_SPAN}\s*[\])>]|{_SPAN})"
# A name has no punctuation of sentences but the point of initials, and no more than five words.
_NAME = r"[^\s:.,!?;()\[\]<>«»\"—–-][^:,!?;()\[\]<>«»\"\n]{0,59}?"
_LINE = re.compile(
    rf"(?:(?P<before>{_TIME})\s*[-–—]?\s*)?"
    rf"(?P<speaker>{_NAME})\s*(?:(?P<behind>{_TIME})\s*)?"
    r":(?!//)(?!\d)\s*(?P<text>.*)"
)
_FIRST_TIME = re.compile(CLOCK)
_MOST_WORDS = 5
_HEADING = re.compile(r"#+\s*(?P<name>\S.*?)\s*#*\s*")


@dataclass(frozen=True)
class _Line:
    """An utterance, or a heading (without a speaker), and how many blank lines stood before it."""

    blanks: int
    utterance: Utterance | None
    heading: str = ""


def parse_transcript(content: str, name: str) -> Reading:
    """Read a transcript that is already in memory.

    :param content: all of it.
    :param name: what to call its dialogues.
    :return: its dialogues and the lines that are none of them.
    :raises DataError: if no line has a speaker.
    """
    data = content.encode("utf-8", "replace")
    return read_transcript(numbered_lines(BytesIO(data)), name, source="")


def read_transcript(lines: Iterable[tuple[int, str | BadRow]], name: str, source: str) -> Reading:
    """Read a transcript.

    :param lines: numbered, without their ends.
    :param name: what to call its dialogues; a number follows where there are several.
    :param source: the file, for messages; empty where there is none.
    :return: its dialogues and the lines that are none of them.
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
    time = clock_seconds(first[0]) if first else None
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
