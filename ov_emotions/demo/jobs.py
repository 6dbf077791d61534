"""What takes its time: in turns with others, told how far it is, stopped when nobody waits for it.

Results are kept for a while, so that they can be downloaded.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.words import TEXTS, Words, render
from ov_emotions.errors import OvEmotionsError
from ov_emotions.files import folder_lock
from ov_emotions.prediction import Prediction

logger = logging.getLogger(__name__)

KEPT_SECONDS = 30 * 60
_KEPT = 32
_PREFIX = "ov-emotions-demo-"
_LOOK_SECONDS = 0.25
_STARTING_SECONDS = 30
_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})
_serial = itertools.count(1)


class StoppedError(Exception):
    """Nobody waits for the result any more."""


class Line:
    """Those who want the model at the same time: they have it in turns, first come, first served.

    A turn is a chunk of texts: two rows wait for no more than a chunk of each file before them.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.jobs: list[Job] = []


class Job:
    """How far some work is, and whether it shall go on."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._stop = threading.Event()
        self.done = self.total = self.ahead = 0

    def tell(self, done: int, total: int) -> None:
        """Say how many texts of how many are done.

        :raises StoppedError: if the work shall not go on.
        """
        self.done, self.total = done, total
        self.check()

    def check(self) -> None:
        """Raise `StoppedError` if the work shall not go on."""
        if self._stop.is_set():
            raise StoppedError

    def stop(self) -> None:
        """End the work at its next step."""
        self._stop.set()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the model alone, beside who types a single text."""
        line = self._line
        with line.changed:
            line.jobs.append(self)
        try:
            with line.changed:
                while ahead := line.jobs.index(self):
                    self.ahead = ahead
                    self.check()
                    line.changed.wait(_LOOK_SECONDS)
            self.ahead = 0
            self.check()
            yield
        finally:
            with line.changed:
                line.jobs.remove(self)
                line.changed.notify_all()

    def markup(self) -> str:
        """Show how far the work is."""
        name = f"progress-{id(self)}"
        return render("progress", name=name, done=self.done, total=self.total, ahead=self.ahead)


@dataclass(frozen=True)
class InTurns:
    """A classifier that has the model in turns with others."""

    classifier: EmotionClassifier
    job: Job

    def __call__(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify some texts in one turn."""
        with self.job.turn():
            return self.classifier(list(texts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.classifier, name)


def steps(work: Callable[[Job], str], line: Line) -> Iterator[str]:
    """Do some work beside, and tell how far it is until it is done.

    :return: yields markup, the result last; whoever stops asking stops the work.
    """
    job, results = Job(line), list[str]()

    def run() -> None:
        with suppress(StoppedError):
            results.append(guarded(work)(job))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    shown = ""
    try:
        thread.join(_LOOK_SECONDS)
        while thread.is_alive():
            if (now := job.markup()) != shown:
                shown = now
                yield answer(now)
            thread.join(_LOOK_SECONDS)
        yield results[0]
    finally:
        job.stop()


def guarded(respond: Callable[..., str]) -> Callable[..., str]:
    """Make a function that answers with markup say what failed instead of raising."""

    def safe(*arguments: object) -> str:
        try:
            return answer(respond(*arguments))
        except StoppedError:
            raise
        except Exception as error:  # whatever it is, the reader needs a sentence
            logger.exception("a request of the page failed")
            ours = isinstance(error, OvEmotionsError)
            details = str(error) if ours else type(error).__name__
            return answer(failure("fail.model", details=details))

    return safe


def answer(markup: str) -> str:
    """Make markup an answer: each is another than the last, so that the page sees that it came."""
    return f'<div data-answer="{next(_serial)}">{shielded(markup)}</div>'


def shielded(markup: str) -> str:
    """Keep Gradio, which fills values into templates, from taking a text for a template."""
    return markup.translate(_TEMPLATE)


def failure(name: str, hint: Words | None = None, details: str = "") -> str:
    """Write a message about a failure.

    :param name: of the sentence that says what failed.
    :param hint: what to do; None takes the sentence's own hint, where there is one.
    :param details: what the library said, in English; not escaped yet.
    """
    return render("failure", name=name, hint=hint or TEXTS.get(f"{name}.hint"), details=details)


@dataclass
class Kept:
    """A result, which whoever asked for it fills.

    :param names: what its files are called for the reader, by their names in the folder.
    :param value: what else belongs to it.
    """

    folder: Path
    names: Mapping[str, str] = field(default_factory=dict)
    value: Any = None
    since: float = field(default_factory=time.monotonic)


class ResultStore:
    """The newest results for half an hour, each under a name that cannot be guessed."""

    def __init__(self) -> None:
        _clear_killed()
        self._root = tempfile.TemporaryDirectory(prefix=_PREFIX)
        self._held = ExitStack()
        self._held.enter_context(folder_lock(Path(self._root.name)))
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._tidy, name="ov-emotions-results", daemon=True).start()

    @property
    def uploads(self) -> Path:
        """The folder in which files arrive."""
        return Path(self._root.name) / "uploads"

    def new(self) -> tuple[str, Kept]:
        """Make room for a result, and give its token with it; those that are old go."""
        token = secrets.token_urlsafe(16)
        folder = Path(self._root.name) / token
        folder.mkdir()
        with self._lock:
            self._kept[token] = kept = Kept(folder)
        self.forget()
        return token, kept

    def find(self, token: str) -> Kept | None:
        """Find a result; None where it is no longer kept."""
        self.forget()
        with self._lock:
            return self._kept.get(token)

    def forget(self) -> None:
        """Delete results, and uploads that nobody came back for, that are old."""
        end = time.monotonic() - KEPT_SECONDS
        with self._lock:
            newest = list(self._kept)[-_KEPT:]
            old = [t for t, kept in self._kept.items() if t not in newest or kept.since < end]
            folders = [self._kept.pop(token).folder for token in old]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        # Uploads that broke off, or whose column nobody chose.
        for upload in self.uploads.glob("*"):
            if upload.exists() and time.time() - upload.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(upload) if upload.is_dir() else upload.unlink()

    def _tidy(self) -> None:
        while not self._closed.wait(60):
            self.forget()

    def close(self) -> None:
        """Delete everything."""
        self._closed.set()
        self._held.close()
        self._root.cleanup()


def _clear_killed() -> None:
    """Delete what a server left that was killed: nobody holds its folder any more."""
    if os.name != "posix":  # there, locks tell nothing
        return
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            just_made = time.time() - left.stat().st_mtime < _STARTING_SECONDS
            with folder_lock(left) as free:
                if free and not just_made:
                    shutil.rmtree(left)
