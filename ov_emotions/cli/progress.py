"""A progress bar on standard error that leaves nothing behind."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self, TextIO

_WIDTH = 24
_CLEAR = "\r\x1b[K"
_PERIOD_SECONDS = 0.1


class Progress:
    """Draws how far the work is, on a terminal only, and only once it has taken a while.

    :param unit: what is counted, for work without a known total.
    :param stream: where to draw; standard error by default.
    :param delay: seconds before anything is drawn.
    :param enabled: false to draw nothing anywhere.
    """

    def __init__(
        self,
        unit: str = "rows",
        *,
        stream: TextIO | None = None,
        delay: float = 0.7,
        enabled: bool = True,
    ) -> None:
        self.unit = unit
        self.stream = sys.stderr if stream is None else stream
        self.enabled = enabled and self.stream.isatty()
        self.start = time.monotonic()
        self._due = self.start + delay
        self._drawn = False
        self._first: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Say how far the work is.

        :param done: units of work done.
        :param total: of how many; None if that is not known.
        :param note: what to show behind the bar.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = max(done - 1, 0)  # work that goes on where it stopped starts above 0
        if not self.enabled or now < self._due:
            return
        self._due = now + _PERIOD_SECONDS
        columns = shutil.get_terminal_size().columns
        self.stream.write(_CLEAR + self._line(done, total, note, now)[: columns - 1])
        self.stream.flush()
        self._drawn = True

    def _line(self, done: int, total: int | None, note: str, now: float) -> str:
        rate = (done - (self._first or 0)) / max(now - self.start, 1e-9)
        if not total:
            parts = [f"{done:,} {self.unit}", f"{rate:,.0f}/s", note]
        else:
            share = min(done / total, 1.0)
            full = round(share * _WIDTH)
            left = (total - done) / rate if rate else 0.0
            bar = "█" * full + "░" * (_WIDTH - full)
            parts = [f"{bar} {share:4.0%}", f"{done:,}/{total:,}", f"{_clock(left)} left", note]
        return "  ".join(part for part in parts if part)

    def message(self, text: str) -> None:
        """Print a line above the bar.

        :param text: the line; printed whether or not there is a bar.
        """
        self.clear()
        # A name or text that is not UTF-8 holds surrogates, which the stream may refuse.
        print(text.encode("utf-8", "replace").decode("utf-8"), file=self.stream, flush=True)

    def clear(self) -> None:
        """Take the bar away."""
        if self._drawn:
            self.stream.write(_CLEAR)
            self.stream.flush()
            self._drawn = False


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
