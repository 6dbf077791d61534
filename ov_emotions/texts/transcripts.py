"""What speech recognisers write: .srt, .vtt, the JSON of Whisper, WhisperX and Vosk, timed lines.

Each becomes rows with the columns `start`, `end` and `speaker` beside the text. Times are seconds;
a speaker is None where the file names none. Silence, a cue without a text, is no row.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ov_emotions.texts.streams import BadRow, Row

COLUMNS = ("start", "end", "speaker")
"""Of a transcript, beside the text."""

CLOCK = r"\d{1,3}:\d{2}(?::\d{2})?(?:[.,]\d{1,6})?"
"""Minutes and seconds, or hours, minutes and seconds; a pattern without groups."""

_CLOCK = re.compile(CLOCK)
_ARROW = re.compile(rf"\s*({CLOCK})\s*-{{1,2}}>\s*({CLOCK})(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>")
_TAG = re.compile(r"</?[a-zA-Z0-9:.][^<>]*>|\{\\[^}]*\}")
_PREFIX = re.compile(
    r"\s*(?:\[(?P<boxed>[^\]\n]{1,60})\]|(?P<plain>[^\s:.,!?;()\[\]-][^:,!?;()\[\]\n]{0,39}?))"
    r"\s*:(?!//|\d)\s*(?P<text>.*)",
    re.DOTALL,
)
_STAMP = rf"(?:{CLOCK}|\d+(?:[.,]\d+)?)"
_TIMED = re.compile(
    rf"\s*[\[(]?\s*(?P<start>{_STAMP})(?:(?:\s*(?:-->|[-–—,;])\s*|\s+)(?P<end>{_STAMP}))?\s*[\])]?"
    r"\s+(?P<speaker>\w[^\s:()\[\]]{0,59})\s+(?P<text>\S.*)"
)
_VOSK = frozenset(
    ("result", "text", "partial", "partial_result", "alternatives", "spk", "spk_frames", "speaker")
)

Objects = Iterable[tuple[int, dict[str, Any] | BadRow]]
"""Numbered objects of JSON, and what is none."""


def clock_seconds(text: str) -> float | None:
    """Read `02:15`, `1:02:15` or `02:15.5`; None if it is no such time."""
    if not _CLOCK.fullmatch(text):
        return None
    seconds = 0.0
    for i, part in enumerate(text.replace(",", ".").split(":")):
        value = float(part)
        if i and value >= 60:
            return None
        seconds = seconds * 60 + value
    return round(seconds, 6)


def cell_seconds(value: Any) -> float | None:
    """Read the time of a row: seconds as a number, a clock time, or a date and time of ISO 8601.

    A date and time gives seconds since 1970; those without a zone are taken for UTC. An empty cell
    gives None.

    :raises ValueError: if it is no time.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, datetime):
        return _timestamp(value)
    if hasattr(value, "hour"):  # a time of day, as spreadsheets hold it
        return float(value.hour * 3600 + value.minute * 60 + value.second)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no time")
    text = str(value).strip()
    try:
        seconds = float(text.replace(",", ".") if text.count(",") == 1 else text)
    except (ValueError, OverflowError):
        pass
    else:
        if math.isfinite(seconds):
            return seconds
        if math.isnan(seconds):
            return None
        raise ValueError(f"{value!r} is no time")
    clock = clock_seconds(text)
    if clock is not None:
        return clock
    try:
        return _timestamp(datetime.fromisoformat(text))
    except ValueError:
        raise ValueError(f"{text!r} is no time; write seconds, 02:15, or ISO 8601") from None


def _timestamp(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def clock(seconds: float) -> str:
    """Write seconds as a clock shows them: `2:15` or `1:02:15`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _row(number: int, text: str, start: Any, end: Any, speaker: Any) -> Row:
    named = None if speaker is None else " ".join(str(speaker).split()) or None
    return Row(number, text, {"start": start, "end": end, "speaker": named})


def subtitle_rows(lines: Iterable[str], *, web: bool) -> Iterator[Row | BadRow]:
    """Read the cues of .srt or, for the web, .vtt; they are numbered from 1 and held in memory.

    A speaker is told by a voice tag of .vtt, or by `Name:` or `[Name]:` before the text, which is
    taken for a speaker where at least half of the cues have one.
    """
    cues = list(_cues(lines, web=web))
    texts = [cue[2] for cue in cues if not isinstance(cue, BadRow)]
    prefixed = 2 * sum(_prefix(text) is not None for text in texts) >= len(texts)
    for number, cue in enumerate(cues, start=1):
        if isinstance(cue, BadRow):
            yield cue
            continue
        start, end, text = cue
        before, *voices = _VOICE.split(text)
        for speaker, said in [(None, before), *zip(voices[::2], voices[1::2], strict=True)]:
            plain = html.unescape(_TAG.sub("", said)).strip()
            if speaker is None and prefixed and (found := _prefix(plain)):
                speaker, plain = found
            if plain:
                yield _row(number, " ".join(plain.split()), start, end, speaker)


def _prefix(text: str) -> tuple[str, str] | None:
    match = _PREFIX.fullmatch(_TAG.sub("", text))
    if match is None or len((match["plain"] or "").split()) > 4:
        return None
    return match["boxed"] or match["plain"], match["text"].strip()


def _cues(lines: Iterable[str], *, web: bool) -> Iterator[tuple[Any, Any, str] | BadRow]:
    """Yield start, end and text of each cue; a text goes on over blank lines in .srt."""
    cue: tuple[Any, Any, str] | None = None
    number = 0
    for block in _blocks(lines):
        found = _ARROW.fullmatch(block[0]) or (len(block) > 1 and _ARROW.fullmatch(block[1]))
        broken = not found and not web and len(block) > 1 and block[0].strip().isdecimal()
        if found or broken:
            if cue:
                yield cue
            cue, number = None, number + 1
        if found:
            text = "\n".join(block[block.index(found[0]) + 1 :])
            cue = (clock_seconds(found[1]), clock_seconds(found[2]), text)
        elif broken:
            yield BadRow(number, f"its times cannot be read: {block[1].strip()[:60]}")
        elif not web and cue:
            cue = (*cue[:2], "\n".join((cue[2], *block)))
    if cue:
        yield cue


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Group lines between blank ones, and before times that no blank line precedes."""
    block: list[str] = []
    for raw in lines:
        line = raw.rstrip("\r\n")
        if not line.strip():
            if block:
                yield block
            block = []
            continue
        if len(block) > 1 and _ARROW.fullmatch(line):
            heading = [block.pop()] if block[-1].strip().isdecimal() else []
            yield block
            block = heading
        block.append(line)
    if block:
        yield block


def whisper_segments(value: Any) -> list[Any] | None:
    """Find the segments in the JSON of Whisper, faster-whisper, WhisperX or whisper.cpp."""
    found = value
    if isinstance(value, dict):
        found = value.get("segments", value.get("transcription"))
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        return None
    timed = all("text" in one and ("start" in one or "offsets" in one) for one in found)
    return found if timed and (found or isinstance(value, dict)) else None


def whisper_rows(segments: Sequence[Mapping[str, Any]]) -> Iterator[Row | BadRow]:
    """Read segments; where one of WhisperX names no speaker, most of its words decide."""
    for number, one in enumerate(segments, start=1):
        text = one["text"]
        if not isinstance(text, str):
            yield BadRow(number, "the text is no string")
            continue
        start, end = one.get("start"), one.get("end")
        offsets = one.get("offsets")
        if isinstance(offsets, dict):  # milliseconds
            start, end = (_number(offsets.get(key), 1000) for key in ("from", "to"))
        words = one.get("words")
        said = [word.get("speaker") for word in words or () if isinstance(word, dict)]
        by = one.get("speaker") or next(iter(Counter(filter(None, said)).most_common(1)), [None])[0]
        if text.strip():
            yield _row(number, text.strip(), _number(start), _number(end), by)


def _number(value: Any, over: int = 1) -> float | None:
    return value / over if isinstance(value, int | float) and math.isfinite(value) else None


def looks_vosk(objects: Sequence[Any]) -> bool:
    """Tell whether JSON objects, the first of a file, are results of Vosk."""
    found = [one for one in objects if isinstance(one, dict)]
    return (
        bool(found)
        and all(one.keys() <= _VOSK for one in found)
        and any(_words(one) or "partial" in one or "alternatives" in one for one in found)
    )


def _words(one: Mapping[str, Any]) -> list[Any]:
    words = one.get("result")
    timed = isinstance(words, list) and all(isinstance(w, dict) and "word" in w for w in words)
    return words if timed and isinstance(words, list) else []


def vosk_rows(objects: Objects) -> Iterator[Row | BadRow]:
    """Read results of Vosk; partial ones are passed over."""
    for number, found in objects:
        if isinstance(found, BadRow):
            yield found
            continue
        one: Mapping[str, Any] = found
        alternatives = found.get("alternatives")
        if isinstance(alternatives, list) and alternatives and isinstance(alternatives[0], dict):
            one = alternatives[0]
        text = one.get("text")
        if not isinstance(text, str):
            if "partial" not in found:
                yield BadRow(number, "there is no text")
            continue
        words = _words(one)
        start = _number(words[0].get("start")) if words else None
        end = _number(words[-1].get("end")) if words else None
        if text.strip():
            yield _row(number, text.strip(), start, end, found.get("speaker"))


def looks_timed(lines: Sequence[str]) -> bool:
    """Tell whether lines are of the form `time speaker text`, not texts that begin with numbers."""
    spoken = [line for line in lines if line.strip()]
    found = [match for match in map(_TIMED.fullmatch, spoken) if match]
    if not found or len(found) < 0.9 * len(spoken):
        return False
    if any(m["end"] is None and m["start"].isdecimal() for m in found):
        return False
    names = {match["speaker"] for match in found}
    if len(found) == 1:
        return re.fullmatch(r"[A-Za-z_.-]*[\d_][\w.-]*", found[0]["speaker"]) is not None
    if all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names):
        return True
    return len(found) >= 4 and 2 * len(names) <= len(found)


def timed_rows(lines: Iterable[tuple[int, str | BadRow]]) -> Iterator[Row | BadRow]:
    """Read numbered lines of the form `time speaker text`; `time` may be a span."""
    for number, line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line.strip():
            match = _TIMED.fullmatch(line.rstrip())
            if match is None:
                yield BadRow(number, "the line is not of the form: time speaker text")
                continue
            start, end = (_seconds(match[key]) for key in ("start", "end"))
            yield _row(number, match["text"], start, end, match["speaker"])


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    return clock_seconds(text) if ":" in text else float(text.replace(",", "."))
