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
from ov_emotions.demo.words import TEXTS, Words, count, escape, say
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
    """Lets those who work at the same time have the model in turns, first come, first served.

    A turn is a chunk of texts: two rows wait for no more than a chunk of each file before them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: list[object] = []

    @contextmanager
    def turn(self, told: Callable[[int], None]) -> Iterator[None]:
        """Wait for a turn, and have it as long as the block runs.

        :param told: gets how many are before, now and then; may raise to leave the line.
        """
        ticket = object()
        with self._changed:
            self._tickets.append(ticket)
        try:
            with self._changed:
                while ahead := self._tickets.index(ticket):
                    told(ahead)
                    self._changed.wait(_LOOK_SECONDS)
            told(0)
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()


class Job:
    """How far some work is, and whether it shall go on.

    :param line: where it waits for its turns.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._stop = threading.Event()
        self.done = self.total = self.ahead = 0

    def tell(self, done: int, total: int) -> None:
        """Say how far the work is.

        :param done: texts.
        :param total: of how many.
        :raises StoppedError: if it shall not go on.
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

        def told(ahead: int) -> None:
            self.ahead = ahead
            self.check()

        with self._line.turn(told):
            yield

    def markup(self) -> str:
        """Draw how far the work is."""
        words = TEXTS["busy"]
        if self.total:
            words = TEXTS["files.progress"].format(done=count(self.done), total=count(self.total))
        place = f"<p>{say('busy.place', ahead=self.ahead)}</p>" if self.ahead else ""
        # Named without the page's script, which a busy browser runs after the next step is there.
        name = f"progress-{id(self)}"
        bar = (
            f'<span class="unseen" id="{name}">{say("files.progress.name")}</span>'
            f'<div role="progressbar" aria-valuemin="0" aria-valuemax="{self.total}" '
            f'aria-valuenow="{self.done}" aria-labelledby="{name}">'
            f'<span style="width:{self.done / self.total:.1%}"></span></div>'
            if self.total
            else ""
        )
        return f'<div class="progress"><p>{words.html()}</p>{bar}{place}</div>'


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

    :param work: gives markup.
    :param line: where it has its turns.
    :return: yields markup, the result last; whoever stops asking stops the work.
    """
    job, results = Job(line), list[str]()

    def run() -> None:
        try:
            results.append(work(job))
        except StoppedError:
            pass
        except Exception as error:  # whatever it is, the reader needs a sentence
            logger.exception("a request of the page failed")
            results.append(model_failure(error))

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
        yield answer(results[0])
    finally:
        job.stop()


def guarded(respond: Callable[..., str]) -> Callable[..., str]:
    """Make a function that answers with markup say what failed instead of raising.

    :param respond: gives markup.
    :return: the same, whatever happens.
    """

    def safe(*arguments: object) -> str:
        try:
            return answer(respond(*arguments))
        except Exception as error:  # as above
            logger.exception("a request of the page failed")
            return answer(model_failure(error))

    return safe


def answer(markup: str) -> str:
    """Make markup an answer: each is another than the last, so that the page sees that it came."""
    return f'<div data-answer="{next(_serial)}">{shielded(markup)}</div>'


def shielded(markup: str) -> str:
    """Keep Gradio, which fills values into templates, from taking a text for a template."""
    return markup.translate(_TEMPLATE)


def failure(title: Words, hint: Words | None = None, details: str = "") -> str:
    """Write a message about a failure.

    :param title: what failed.
    :param hint: what to do.
    :param details: what the library said, in English; not escaped yet.
    :return: the markup.
    """
    parts = [f'<p class="failure-title">{title.html()}</p>']
    if hint is not None:
        parts.append(f"<p>{hint.html()}</p>")
    if details:
        parts.append(
            f"<details><summary>{say('fail.details')}</summary>"
            f'<p lang="en"><code>{escape(details)}</code></p></details>'
        )
    return f'<div class="failure" role="alert">{"".join(parts)}</div>'


def model_failure(error: BaseException) -> str:
    """Write that the model failed."""
    details = str(error) if isinstance(error, OvEmotionsError) else type(error).__name__
    return failure(TEXTS["fail.model"], TEXTS["fail.model.hint"], details)


@dataclass(frozen=True)
class Kept:
    """A result.

    :param folder: for its files.
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
        self._clock: threading.Timer | None = None

    @property
    def uploads(self) -> Path:
        """The folder in which files arrive."""
        return Path(self._root.name) / "uploads"

    def new(self) -> tuple[str, Path]:
        """Make room for a result; those that are old go.

        :return: its token, and the folder to fill.
        """
        token = secrets.token_urlsafe(16)
        folder = Path(self._root.name) / token
        folder.mkdir()
        with self._lock:
            self._kept[token] = Kept(folder)
            if self._clock is None:
                self._tick()
        self.forget()
        return token, folder

    def keep(self, token: str, names: Mapping[str, str] | None = None, value: Any = None) -> None:
        """Say what a result consists of.

        :param token: what `new` gave.
        :param names: see `Kept`.
        :param value: likewise.
        """
        with self._lock:
            if token in self._kept:
                self._kept[token] = Kept(self._kept[token].folder, names or {}, value)

    def find(self, token: str) -> Kept | None:
        """Find a result; None where it is no longer kept."""
        self.forget()
        with self._lock:
            return self._kept.get(token)

    def forget(self) -> None:
        """Delete results, and uploads that nobody came back for, that are old."""
        end = time.monotonic() - KEPT_SECONDS
        with self._lock:
            excess = len(self._kept) - _KEPT
            ages = enumerate(self._kept.items())
            old = [pair for i, pair in ages if i < excess or pair[1].since < end]
            for token, _ in old:
                del self._kept[token]
        for _, kept in old:
            shutil.rmtree(kept.folder, ignore_errors=True)
        # Uploads that broke off, or whose column nobody chose.
        for upload in self.uploads.glob("*"):
            if upload.exists() and time.time() - upload.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(upload) if upload.is_dir() else upload.unlink()

    def _tick(self) -> None:
        self._clock = threading.Timer(60, self._again)
        self._clock.daemon = True
        self._clock.start()

    def _again(self) -> None:
        self.forget()
        self._tick()

    def close(self) -> None:
        """Delete everything."""
        if self._clock is not None:
            self._clock.cancel()
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
