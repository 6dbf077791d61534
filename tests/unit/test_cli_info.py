from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ov_emotions.cli.machine import cpu_quota, usable_physical_cores
from ov_emotions.cli.main import main

if TYPE_CHECKING:
    from ov_emotions.bundle import Bundle


def test_info_shows_the_card_s_facts_and_the_machine_s(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(tiny_bundle.folder)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for expected in (
        "model tiny",
        "base model owner/base (MIT)",
        "precision weights fp32, inference f32",
        "max length 16 tokens a window",
        "joy радость 0.600",
        "set 3 MIT",
        "test fp32 3 0.500 0.250",
        f"folder {tiny_bundle.folder}",
        "precision hint f32, unless --precision says otherwise",
    ):
        assert expected in lines
    assert any(line.startswith("usable ") for line in lines)


def test_info_answers_in_json(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json", str(tiny_bundle.folder)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"]["labels"] == list(tiny_bundle.manifest.labels)
    assert answer["model"]["thresholds"] == dict(tiny_bundle.manifest.thresholds)
    machine = answer["machine"]
    assert 1 <= machine["usable_logical_cores"] <= machine["logical_cores"]
    assert "CPU" in machine["devices"]


def test_a_folder_that_is_no_bundle_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("ov-emotions: error: emotions.json is missing")
    assert message.count("\n") == 1


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
    assert usable_physical_cores(path) == 2
    assert usable_physical_cores(tmp_path / "none") is None
