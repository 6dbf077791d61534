"""A command started, watched, and killed together with or without what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

_ACTOR = "PartWorker"


def command(*arguments: object) -> list[str]:
    """Give the words of `ov-emotions classify-many` with this Python."""
    return [sys.executable, "-m", "ov_emotions", "classify-many", *map(str, arguments)]


def parts_done(folder: Path) -> int:
    """Count the parts that stand in an output folder."""
    return sum(1 for _ in folder.glob("part-*"))


def interrupt(
    words: Sequence[str], ready: Callable[[], bool], strike: Callable[[int], None], limit: float
) -> tuple[int, str]:
    """Run a command, and strike at its process id when it is ready; give its exit code and stderr.

    :param limit: seconds that it may take in all.
    :raises RuntimeError: if it ends before it was struck.
    """
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    deadline = time.monotonic() + limit
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"there was nothing to interrupt: {process.communicate()[1]}")
            time.sleep(0.005)
        strike(process.pid)
        error = process.communicate(timeout=limit)[1]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, error


def kill_an_actor(driver: int) -> None:
    """Send SIGKILL to one of the actors of a command.

    :raises RuntimeError: if it has none.
    """
    for process in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            if _ACTOR in " ".join(process.cmdline()):
                process.kill()
                return
    raise RuntimeError("there is no actor to kill")


def kill_driver(driver: int) -> None:
    """Send SIGKILL to a command and to nothing that it started."""
    os.kill(driver, signal.SIGKILL)
