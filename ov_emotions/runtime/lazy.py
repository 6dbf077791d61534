"""A compiled model that is made when it pays, once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from ov_emotions.errors import OvEmotionsError

_LOGGER = logging.getLogger(__name__)


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class LazyBackend(Generic[T]):
    """Makes a backend once, in the calling thread or beside the calls; safe to use from several.

    :param name: of what it is for, in a thread's name and in the warning if it cannot be made.
    :param make: makes it, or finds that there is no use in it and returns None.
    """

    def __init__(self, name: str, make: Callable[[], T | None]) -> None:
        self._name = name
        self._make: Callable[[], T | None] | None = make
        self._made: T | None = None
        self._closed = threading.Event()
        self._making, self._lock = threading.Lock(), threading.Lock()

    @property
    def made(self) -> T | None:
        """The backend; None until it is made, and for ever where it cannot be."""
        return self._made

    def make_beside(self) -> None:
        """Make it in a thread of its own."""
        with suppress(RuntimeError):  # no thread is started any more when the process ends
            threading.Thread(
                target=self.make_now, name=f"ov_emotions compiles for {self._name}"
            ).start()

    def make_now(self) -> None:
        """Make it, or wait while another thread does."""
        with self._making:
            make, self._make = self._make, None
            if make is None or self._closed.is_set():
                return
            try:
                made = make()
            except OvEmotionsError as error:
                if not self._closed.is_set():
                    _LOGGER.warning("%s go without a model of their own: %s", self._name, error)
                return
            with self._lock:
                if made is not None and self._closed.is_set():
                    made.close()
                else:
                    self._made = made

    def close(self) -> None:
        """Let go of it, at once or when it is ready, and make none any more."""
        with self._lock:
            self._closed.set()
            if self._made is not None:
                self._made.close()
