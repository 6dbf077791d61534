"""Numbers as a reader wants them: rounded to what they carry, with units and true minus signs."""

from __future__ import annotations

import unicodedata

from ov_emotions.reports.study import Interval, Spread

NONE = "–"
_MINUS = "\N{MINUS SIGN}"
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """Replace what a page cannot hold or show.

    These are control characters, lone surrogates, and controls of the writing direction, which
    would turn the words around them.

    :param text: any text.
    :return: the text in one line, with a space or U+FFFD in their place.
    """
    return "".join(map(_clean_character, text))


def _clean_character(character: str) -> str:
    if character.isspace():
        return " "
    unfit = unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTIONS
    return "\ufffd" if unfit else character


def score(value: float) -> str:
    """Write an F1 or a probability: `0.644`."""
    return f"{value:.3f}"


def score_interval(interval: Interval) -> str:
    """Write an F1 with its interval: `0.644 (0.634–0.653)`."""
    return f"{score(interval.value)} ({score(interval.low)}–{score(interval.high)})"


def signed(value: float, digits: int = 4) -> str:
    """Write a difference with its sign: `+0.0012`, `−0.0006`, `0.0000`."""
    text = f"{abs(value):.{digits}f}"
    if not float(text):
        return text
    return ("+" if value > 0 else _MINUS) + text


def signed_interval(interval: Interval) -> str:
    """Write a difference with its interval: `−0.0006 (−0.0019 to +0.0007)`."""
    return f"{signed(interval.value)} ({signed(interval.low)} to {signed(interval.high)})"


def number(value: float) -> str:
    """Write a positive quantity with three significant digits, thousands apart: `3,460`."""
    digits = 2 if round(value, 2) < 10 else 1 if round(value, 1) < 100 else 0
    return f"{value:,.{digits}f}"


def spread(value: Spread | None) -> str:
    """Write a timing: `3.05 (2.98–3.41)`."""
    if value is None:
        return NONE
    return f"{number(value.median)} ({number(value.min)}–{number(value.max)})"


def times(value: Spread) -> str:
    """Write a ratio: `2.80×`."""
    return f"{number(value.median)}×"


def times_spread(value: Spread | None) -> str:
    """Write a ratio with the range of its rounds: `2.80× (2.61–3.02)`."""
    if value is None:
        return NONE
    return f"{times(value)} ({number(value.min)}–{number(value.max)})"


def megabytes(size: float | None) -> str:
    """Write a size given in bytes: `29.7 MB`, of a million bytes each."""
    return NONE if size is None else f"{number(size / 1e6)} MB"


def percent(share: float) -> str:
    """Write a share: `1.4 %`."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Write a time: `42 s`, `3 min 20 s`, `1 h 5 min`."""
    if seconds < 60:
        return f"{number(seconds) if seconds < 10 else round(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def count(value: int) -> str:
    """Write a whole number, thousands apart: `5,427`."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """Write a number and its noun: `1 row`, `2 rows`."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def joined(items: list[str]) -> str:
    """Write a list in words: `a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
