from __future__ import annotations

import io

import pytest

from ov_emotions.cli import progress as module
from ov_emotions.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setenv("COLUMNS", "100")
    return clock


def test_quick_work_draws_nothing(clock: Clock) -> None:
    stream = Terminal()
    with Progress(stream=stream, delay=1.0) as progress:
        clock.now += 0.9
        progress.update(5, 10)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("stream", "enabled"), [(io.StringIO(), True), (Terminal(), False)])
def test_nothing_is_drawn_outside_a_terminal_or_when_switched_off(
    clock: Clock, stream: io.StringIO, enabled: bool
) -> None:
    with Progress(stream=stream, enabled=enabled) as progress:
        clock.now += 60
        progress.update(5, 10)
    assert stream.getvalue() == ""


def test_the_bar_shows_share_count_time_left_and_note_then_vanishes(clock: Clock) -> None:
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress.update(0, 200)
        clock.now += 75
        progress.update(50, 200, "loss 0.31")
        shown = stream.getvalue()
        assert shown.startswith("\r\x1b[K██████░░")
        assert shown.endswith(" 25%  50/200  3:45 left  loss 0.31")
    assert stream.getvalue() == shown + "\r\x1b[K"


def test_work_without_a_known_total_is_counted(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress("texts", stream=stream)
    progress.update(0)
    clock.now += 10
    progress.update(12_000)
    assert stream.getvalue().endswith("12,000 texts  1,200/s")


def test_resumed_work_does_not_count_what_was_done_before(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    progress.update(901, 1000)
    clock.now += 10
    progress.update(950, 1000)
    # 50 steps in 10 seconds, 50 to go.
    assert stream.getvalue().endswith("0:10 left")


def test_drawing_is_throttled_and_stays_on_one_line(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    progress = Progress(stream=stream)
    clock.now += 5
    for done in range(1000):
        clock.now += 0.001
        progress.update(done, 1000, "a long note " * 10)
    drawn = stream.getvalue().split("\r\x1b[K")[1:]
    assert 5 <= len(drawn) <= 12
    assert max(map(len, drawn)) == 39


def test_a_message_takes_the_bar_away_first(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    clock.now += 5
    progress.update(1, 2)
    bar = stream.getvalue()
    progress.message("row 17: the text is empty \udcff")
    assert stream.getvalue() == f"{bar}\r\x1b[Krow 17: the text is empty ?\n"
