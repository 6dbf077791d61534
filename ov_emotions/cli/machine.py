"""What this machine's CPU offers: usable cores, and instructions for INT8 and BF16."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ov_emotions.machine import available_cores, cpu_flags, cpu_name


@dataclass(frozen=True)
class Machine:
    """The CPU as this process sees it.

    :param cpu: model name.
    :param logical_cores: of the machine.
    :param usable_logical_cores: that the scheduler may put this process on.
    :param usable_physical_cores: the same, siblings counted once; None where it cannot be told.
    :param cpu_quota: CPUs' worth of time that a control group allows; None for no limit.
    :param instructions: the instruction sets present that INT8 and BF16 models gain from.
    """

    cpu: str
    logical_cores: int
    usable_logical_cores: int
    usable_physical_cores: int | None
    cpu_quota: float | None
    instructions: tuple[str, ...]


def read_machine() -> Machine:
    """Ask the operating system.

    :return: what it said; less of it on other systems than Linux.
    """
    return Machine(
        cpu=cpu_name(),
        logical_cores=os.cpu_count() or 1,
        usable_logical_cores=available_cores(),
        usable_physical_cores=usable_physical_cores(),
        cpu_quota=cpu_quota(),
        instructions=cpu_flags(),
    )


def usable_physical_cores(cpuinfo: Path = Path("/proc/cpuinfo")) -> int | None:
    """Count the cores under the processors that this process may run on.

    :param cpuinfo: Linux's description of the processors.
    :return: their number; None where it cannot be told.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = os.sched_getaffinity(0)
    cores = {
        (fields.get("physical id", "0"), fields["core id"])
        for number, fields in _processors(cpuinfo).items()
        if number in usable and "core id" in fields
    }
    return len(cores) or None


def _processors(path: Path) -> dict[int, dict[str, str]]:
    """Parse /proc/cpuinfo: the fields of each processor, by its number."""
    found: dict[int, dict[str, str]] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for block in text.split("\n\n"):
        pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in pairs}
        if fields.get("processor", "").isdecimal():
            found[int(fields["processor"])] = fields
    return found


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Find the smallest limit of this process's control group and of those above it.

    :param root: where /proc and /sys lie.
    :return: CPUs' worth of time; None for no limit.
    """
    base = root / "sys/fs/cgroup"
    limits = [_quota_v1(base / "cpu")]
    for group in _groups(root, base):
        try:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            limits.append(int(quota) / int(period))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, base: Path) -> list[Path]:
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    unified = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = base / unified.lstrip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(base))]


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
