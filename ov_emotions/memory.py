"""How much memory this process holds, and held at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


def resident_mb() -> float:
    """Return the resident memory of this process in 10^6 bytes; its peak where that is untold."""
    return _status("VmRSS")


def peak_mb() -> float:
    """Return the largest resident memory since the last `reset_peak`, in 10^6 bytes."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Let the peak start anew, where the system allows it; elsewhere it is that of the process."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")


def _status(field: str) -> float:
    try:
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return round(int(value.split()[0]) * _KIB / 1e6, 1)
    except OSError:
        pass
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else _KIB) / 1e6, 1)
