"""How far the work is, on standard error: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TextIO

from ov_emotions.progress import Progress
from ov_emotions.texts import BadRow, read_texts
from ov_emotions.texts.transcripts import clock

_FIRST_LINE_SECONDS = 10.0
_LINE_SECONDS = 30.0
_DRAW_SECONDS = 0.1


class Bar:
    """Shows the `Progress` that it is called with; work that is soon done shows nothing."""

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
        self.enabled = enabled
        self.terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._due = time.monotonic() + (delay if self.terminal else _FIRST_LINE_SECONDS)
        self._first: tuple[float, int] | None = None
        self._last = 0
        self._drawn: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __call__(self, progress: Progress) -> None:
        """Show how far the work is, unless that was done a moment ago."""
        now = time.monotonic()
        if self._first is None or progress.done < self._last:
            # Work that goes on where it stopped starts above 0; the next stage starts anew.
            self._first = (now, max(progress.done - 1, 0))
        self._last = progress.done
        if not self.enabled or now < self._due:
            return
        if self.terminal:
            self._due = now + _DRAW_SECONDS
            self._draw(progress, self._told(progress, now))
        else:
            self._due = now + _LINE_SECONDS
            self.message(self._told(progress, now))

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Show how far the work is, in the unit of the bar."""
        self(Progress(done, total, self.unit, note))

    def message(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self.clear()
        # A name or text that is not UTF-8 holds surrogates, which the stream may refuse.
        print(text.encode("utf-8", "replace").decode("utf-8"), file=self.stream, flush=True)

    def clear(self) -> None:
        """Take the bar away."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None

    def _draw(self, progress: Progress, told: str) -> None:
        if self._drawn is None:
            self._drawn = self._new_bar()
            self._drawn.add_task("", told="")
            self._drawn.start()
        (task,) = self._drawn.task_ids
        self._drawn.update(task, completed=progress.done, total=progress.total or None, told=told)
        self._drawn.refresh()

    def _new_bar(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        # Not drawn by a thread of its own: work that forks would take half of it along.
        return RichProgress(
            BarColumn(24),
            TextColumn("{task.fields[told]}", markup=False),
            console=Console(file=self.stream, force_terminal=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _told(self, progress: Progress, now: float) -> str:
        assert self._first is not None
        start, first = self._first
        # What a second has not shown yet is no rate.
        rate = (progress.done - first) / (now - start) if now - start >= 1 else 0.0
        parts = [f"{progress.done:,} {progress.unit}"]
        if progress.total:
            share = f"{progress.done / progress.total:.0%}"
            parts = [f"{progress.done:,} of {progress.total:,} {progress.unit}", share]
            if rate:
                parts.append(f"{clock((progress.total - progress.done) / rate)} left")
        elif rate:
            parts.append(f"{rate:,.0f}/s")
        return ", ".join([*parts, *([progress.note] if progress.note else [])])


def usable_texts(path: Path, bar: Bar, kind: str = "rows") -> Iterator[str]:
    """Read the texts of a file; how many rows had none is told at the end."""
    left_out = 0
    for row in read_texts(path):
        if isinstance(row, BadRow):
            left_out += 1
        else:
            yield row
    if left_out:
        bar.message(f"{path}: {left_out} {kind} without a usable text were left out")
