"""Times of utterances as files write them, in seconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

CLOCK = r"\d{1,3}:\d{2}(?::\d{2})?(?:[.,]\d{1,6})?"
"""Minutes and seconds, or hours, minutes and seconds; a pattern without groups."""

_CLOCK = re.compile(CLOCK)


def clock_seconds(text: str) -> float | None:
    """Read `02:15`, `1:02:15` or `02:15.5`.

    :param text: the time.
    :return: seconds; None if it is no such time.
    """
    if not _CLOCK.fullmatch(text):
        return None
    seconds = 0.0
    for i, part in enumerate(text.replace(",", ".").split(":")):
        value = float(part)
        if i and value >= 60:
            return None
        seconds = seconds * 60 + value
    return seconds


def cell_seconds(value: Any) -> float | None:
    """Read the time of a row: seconds as a number, a clock time, or a date and time of ISO 8601.

    A date and time gives seconds since 1970; those without a zone are taken for UTC.

    :param value: what the row holds.
    :return: seconds; None where the cell is empty.
    :raises ValueError: if it is no time.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, datetime):
        return _timestamp(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no time")
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        pass
    else:
        if math.isfinite(seconds):
            return seconds
        if math.isnan(seconds):
            return None
        raise ValueError(f"{value!r} is no time")
    text = str(value).strip()
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
    """Write seconds as `2:15` or `1:02:15`.

    :param seconds: at least 0.
    :return: whole seconds as a clock shows them.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
