"""Threads of a process kept to processors of their own."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from ov_emotions.machine import processors_apart


def pin_threads(threads: int) -> tuple[int, ...]:
    """Keep all threads of this process, and those to come, to processors that no sibling has.

    Processes of this function on a machine share its processors out among themselves, without a
    file: each holds an abstract socket a share, which the kernel takes back when the process ends.

    :param threads: processors of a share.
    :return: the numbers of the processors; empty where all are taken or the system cannot pin.
    """
    if sys.platform != "linux":
        return ()
    usable = processors_apart()
    for share in range(len(usable) // threads):
        mine = tuple(sorted(usable[share * threads : (share + 1) * threads]))
        if _claim("-".join(map(str, mine))):
            _set_affinity(mine)
            return mine
    return ()


def _claim(share: str) -> bool:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0ov-emotions-processors-{share}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # open as long as the process lives
    return True


def _set_affinity(processors: tuple[int, ...]) -> None:
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), processors)
        except ProcessLookupError:  # it has ended meanwhile
            continue
