"""An event loop in a thread of its own, for callers who have none."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from ov_emotions.errors import ServerError

T = TypeVar("T")


class Closable(Protocol):
    """What has to be closed on the loop that it was made on."""

    async def close(self) -> None:
        """Let go of the connections; a second time does nothing."""


class LoopThread:
    """Runs coroutines for any number of threads; one serves the whole process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._open: set[Closable] = set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ov_emotions-server", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; it is cancelled if the caller is interrupted.

        :param coroutine: what to run.
        :return: its result.
        :raises ServerError: in a process that was forked after the loop was started.
        """
        if os.getpid() != self.process:
            coroutine.close()
            raise ServerError(
                "this classifier was made before the process was forked; connections do not "
                "survive that: make it in the process that uses it"
            )
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise ServerError("a classifier cannot be called from its own event loop")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def keep(self, session: Closable) -> None:
        """Remember what has to be closed before the process ends."""
        self._open.add(session)

    def close(self, session: Closable) -> None:
        """Close what was opened on this loop."""
        self.run(self._close(session))

    def close_later(self, session: Closable) -> None:
        """Close what nobody uses any more, from any thread and without waiting for it."""
        if os.getpid() == self.process and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._close(session), self._loop)

    def stop(self) -> None:
        """Close what is still open, and stop the loop."""
        if os.getpid() != self.process or self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close_all(), self._loop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _close(self, session: Closable) -> None:
        if session in self._open:
            self._open.discard(session)
            await session.close()

    async def _close_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closing = [session.close() for session in self._open]
        await asyncio.gather(*closing, return_exceptions=True)
        await self._loop.shutdown_default_executor()
        self._loop.stop()


_lock = threading.Lock()
_shared: LoopThread | None = None


def shared_loop() -> LoopThread:
    """Return the process's loop, started at the first call; after a fork, a new one."""
    global _shared
    with _lock:
        if _shared is None or _shared.process != os.getpid():
            _shared = LoopThread()
            atexit.register(_shared.stop)
        return _shared
