"""How much memory this process holds, and held at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


def resident_mb(process: int | None = None) -> float:
    """Return the resident memory of a process in 10^6 bytes.

    :param process: its number; None is this one, whose peak is told where nothing else is.
    :return: the memory; 0 where that of another process is not told.
    """
    if process is None:
        return _status("VmRSS")
    return _read(Path(f"/proc/{process}/status"), "VmRSS") or 0.0


def peak_mb() -> float:
    """Return the largest resident memory since the last `reset_peak`, in 10^6 bytes."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Let the peak start anew, where the system allows it; elsewhere it is that of the process."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")


def _read(path: Path, field: str) -> float | None:
    with contextlib.suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return round(int(value.split()[0]) * _KIB / 1e6, 1)
    return None


def _status(field: str) -> float:
    if (told := _read(_STATUS, field)) is not None:
        return told
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else _KIB) / 1e6, 1)
