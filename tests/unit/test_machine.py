from __future__ import annotations

import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from ov_emotions import __version__
from ov_emotions.system import (
    available_cores,
    cpu_budget,
    cpu_flags,
    cpu_name,
    cpu_quota,
    environment,
    read_machine,
    usable_physical_cores,
)


def test_the_environment_names_the_processor_and_versions_of_what_is_installed():
    found = environment("numpy", "no-such-distribution")
    assert found["versions"] == {
        "ov_emotions": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
    }
    machine = found["machine"]
    assert machine["cpu"] == cpu_name() != ""
    assert machine["cores"] == available_cores() >= 1
    assert machine["flags"] == list(cpu_flags())


@pytest.mark.parametrize(
    ("here", "above", "quota"),
    [
        ("150000 100000", "max 100000", 1.5),
        ("max 100000", "400000 100000", 4.0),
        ("max", "max", None),
    ],
)
def test_the_quota_is_the_smallest_of_the_group_and_those_above(
    tmp_path: Path, here: str, above: str, quota: float | None
) -> None:
    group = tmp_path / "sys/fs/cgroup/a/b"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text(here + "\n", encoding="ascii")
    (group.parent / "cpu.max").write_text(above + "\n", encoding="ascii")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("1:cpu:/x\n0::/a/b\n", encoding="ascii")
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(("value", "quota"), [("250000", 2.5), ("-1", None)])
def test_the_quota_of_an_older_kernel_is_read_too(
    tmp_path: Path, value: str, quota: float | None
) -> None:
    folder = tmp_path / "sys/fs/cgroup/cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(value, encoding="ascii")
    (folder / "cpu.cfs_period_us").write_text("100000", encoding="ascii")
    assert cpu_quota(tmp_path) == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_sibling_threads_and_forbidden_cores_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2})
    path = tmp_path / "cpuinfo"
    # Four cores of two threads; three threads are ours, on two of the cores.
    path.write_text(
        "\n\n".join(f"processor\t: {i}\nphysical id\t: 0\ncore id\t: {i // 2}" for i in range(8)),
        encoding="ascii",
    )
    monkeypatch.setattr("ov_emotions.system._CPUINFO", path)
    assert usable_physical_cores() == 2
    monkeypatch.setattr("ov_emotions.system._CPUINFO", tmp_path / "none")
    assert usable_physical_cores() is None


@pytest.mark.parametrize(
    ("logical", "usable", "physical", "quota", "cores"),
    [
        (16, 16, 8, None, 8),
        (16, 16, 8, 3.5, 3),
        (16, 16, 8, 12.0, 8),
        (16, 4, None, None, 4),
        (2, 2, 1, 0.25, 1),
    ],
)
def test_the_budget_is_the_smaller_of_cores_and_quota_and_never_nothing(
    logical: int, usable: int, physical: int | None, quota: float | None, cores: int
) -> None:
    machine = replace(
        read_machine(),
        logical_cores=logical,
        usable_logical_cores=usable,
        usable_physical_cores=physical,
        cpu_quota=quota,
    )
    budget = cpu_budget(machine)
    assert budget.cores == cores
    assert ("quota" in budget.source) == (quota is not None and quota < (physical or usable))
