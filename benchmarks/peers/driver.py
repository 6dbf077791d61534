"""Workers as the driver sees them: asked over pipes, stopped whenever they are not."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.plan import WORKERS


class PeerError(RuntimeError):
    """A peer failed, ended or took too long; the message says which."""


class WorkerProcess:
    """A peer's process. Between requests it is stopped by a signal: no thread of it can spin.

    :param python: of the peer's environment.
    :param log: where its standard error goes.
    :param variables: of its environment.
    """

    def __init__(self, python: Path, log: Path, variables: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name = log.stem
        with log.open("w", encoding="utf-8") as said:
            self._process = subprocess.Popen(
                [str(python), str(WORKERS / "worker.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=dict(variables),
                # A group of its own, so that what it started stops with it.
                start_new_session=True,
            )
        self._signal(signal.SIGSTOP)

    def ask(self, what: str, limit: float = 600.0, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; nobody else works meanwhile.

        :param limit: seconds to wait.
        :raises PeerError: if the peer failed, ended or took longer; after the last two it is gone.
        """
        self._signal(signal.SIGCONT)
        try:
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
            stdin.flush()
            line = self._read_line(limit)
        except OSError as error:
            raise PeerError(f"{self.name} is gone: {error}") from error
        finally:
            self._signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _read_line(self, limit: float) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        until, parts = time.monotonic() + limit, []
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                self.kill()
                raise PeerError(f"gave no answer within {limit:.0f} s")
            # Not the buffered file's readline, whose buffer select would not see.
            part = os.read(stdout.fileno(), 1 << 20)
            if not part:
                code = self._process.wait(10)
                raise PeerError(f"ended with exit code {code}; its log says why")
            parts.append(part)
            if part.endswith(b"\n"):
                return b"".join(parts)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it and what it started, at once."""
        self._signal(signal.SIGKILL)
        self._process.wait(30)

    def close(self) -> None:
        """Let it end by itself, then see that it did."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def closing_all(workers: Mapping[str, WorkerProcess]) -> Iterator[None]:
    """Close every worker at the end, those added later too."""
    try:
        yield
    finally:
        for worker in workers.values():
            worker.close()
