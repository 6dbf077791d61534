"""What a result was made on: processor and versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ov_emotions import __version__

_CPUINFO = Path("/proc/cpuinfo")
_TELLING_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)


def _cpuinfo(key: str) -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def cpu_name() -> str:
    """Return the processor's model name as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> tuple[str, ...]:
    """Return the instruction sets that matter to inference and that this processor has."""
    present = set(_cpuinfo("flags").split())
    return tuple(flag for flag in _TELLING_FLAGS if flag in present)


def available_cores() -> int:
    """Return the logical cores that this process may use, affinity included."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(*packages: str) -> dict[str, Any]:
    """Describe the machine and the versions that a figure depends on.

    :param packages: distributions whose versions are recorded; absent ones are left out.
    :return: plain values for JSON.
    """
    versions = {"ov_emotions": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "machine": {"cpu": cpu_name(), "cores": available_cores(), "flags": list(cpu_flags())},
        "versions": versions,
    }
