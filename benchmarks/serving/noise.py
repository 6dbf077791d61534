"""Who else used the processor: a hypervisor, and processes that are neither driver nor server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ov_emotions.client.url import ServerAddress

_PROC = Path("/proc")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LISTENING = "0A"


class Others:
    """Counts from its making what others had of the processor.

    :param addresses: of the servers that are measured. What listens there on this machine, and
        what it started, counts as the measurement's own, as does this process.
    """

    def __init__(self, addresses: Iterable[ServerAddress]) -> None:
        ports = {address.port for address in addresses if address.host in _LOOPBACK}
        listeners = {port: set(_listeners(port)) for port in ports}
        self.seen = all(listeners.values()) and not any(
            _name(process) == "docker-proxy" for found in listeners.values() for process in found
        )
        self._servers = frozenset().union(*listeners.values())
        self._start = self._ticks()

    def since(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Give ticks for `judge_noise`: all, and what others had, before and after.

        Where a server on this machine cannot be told from other processes (in a container), only
        what a hypervisor took is counted; `seen` is False then.
        """
        total, stolen, busy, ours = (
            after - before for after, before in zip(self._ticks(), self._start, strict=True)
        )
        others = max(0, busy - ours) if self.seen else 0
        return (0, 0), (total, stolen + others)

    def _ticks(self) -> tuple[int, int, int, int]:
        """All ticks, stolen ones, those that processes used, and those that ours did."""
        try:
            line = (_PROC / "stat").read_text(encoding="ascii").splitlines()[0]
            user, nice, system, idle, iowait, irq, softirq, stolen = map(int, line.split()[1:9])
        except (OSError, ValueError, IndexError):
            return 0, 0, 0, 0
        busy = user + nice + system + irq + softirq
        ours = sum(_used(process) for process in _with_children({os.getpid(), *self._servers}))
        return busy + idle + iowait + stolen, stolen, busy, ours


def _listeners(port: int) -> Iterator[int]:
    """Find the processes that listen on a TCP port of this machine."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for folder in _PROC.glob("[0-9]*/fd"):
        with suppress(OSError):
            if any(str(link.readlink()) in inodes for link in folder.iterdir()):
                yield int(folder.parent.name)


def _fields(process: int) -> Sequence[str]:
    """The numbers of a process after its name: state, parent and so on; none if it has ended."""
    with suppress(OSError):
        return (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    return ()


def _name(process: int) -> str:
    with suppress(OSError):
        return (_PROC / str(process) / "comm").read_text().strip()
    return ""


def _used(process: int) -> int:
    """Ticks of a process and of those of its children that have ended."""
    fields = _fields(process)
    return sum(int(ticks) for ticks in fields[11:15])


def _with_children(processes: set[int]) -> set[int]:
    parents: dict[int, Any] = {}
    for folder in _PROC.glob("[0-9]*"):
        if fields := _fields(int(folder.name)):
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found, new = set(processes), list(processes)
    while new:
        children = [child for child in parents.get(new.pop(), ()) if child not in found]
        found.update(children)
        new += children
    return found
