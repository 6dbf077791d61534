"""Kills, full disks, damaged files, and other processes in the same folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("tomli_w", reason="settings are written with tomli-w", exc_type=ImportError)

from ov_emotions.errors import TrainingError
from ov_emotions.files import sha256_file, write_text
from ov_emotions.training.checkpoint import read_checkpoint_facts
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.model import EmotionModel
from ov_emotions.training.run import train
from ov_emotions.training.settings import settings_text
from ov_emotions.training.state import run_folder

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def quick(config: TrainConfig, tmp_path: Path, one_thread: None) -> TrainConfig:  # noqa: ARG001
    return replace(config, output=tmp_path / "run", epochs=2, batch_size=32, max_rows=100)


def _start(config: TrainConfig, folder: Path) -> subprocess.Popen[bytes]:
    file = folder / "run.toml"
    write_text(file, settings_text(config))
    command = [sys.executable, "-m", "ov_emotions", "train", "--config", str(file)]
    return subprocess.Popen(command, env=ENVIRONMENT)


def _outcome(config: TrainConfig) -> tuple[str, str]:
    return (
        sha256_file(config.output / "best" / "model.safetensors"),
        (config.output / "history.json").read_text(encoding="utf-8"),
    )


@pytest.mark.parametrize("after", ["history.json", "state.pt"])
def test_a_run_that_is_killed_for_good_ends_bit_for_bit_as_an_unbroken_one(quick, tmp_path, after):
    # Long enough that the kill comes in time.
    config = replace(quick, epochs=12, max_rows=0, patience=100, ema_decay=0.9)
    process = _start(config, tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not (config.output / after).is_file():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    steps: list[int] = []
    train(config, lambda step, _total, _line: steps.append(step))
    assert steps[0] > 1 or after == "history.json"
    whole = replace(config, output=tmp_path / "whole")
    train(whole)
    assert _outcome(config) == _outcome(whole)
    assert not list(config.output.glob(".*.tmp"))


def test_what_a_kill_left_half_written_is_put_right(quick):
    train(quick)
    before, output = _outcome(quick), quick.output
    facts = json.loads((output / "best" / "checkpoint.json").read_text("utf-8"))
    # Killed between the two renames: the older folder moved away, the new one not yet in place.
    shutil.copytree(output / "best", output / ".best.0000.tmp")
    (output / ".best.0000.tmp" / "checkpoint.json").write_text(
        json.dumps(facts | {"step": facts["step"] - 1}), encoding="utf-8"
    )
    (output / "best").rename(output / ".best.1111.tmp")
    (output / ".best.2222.tmp").mkdir()
    (output / ".state.pt.3333.tmp").write_bytes(b"half")
    assert train(quick) == facts
    assert _outcome(quick) == before
    assert not list(output.glob(".*.tmp"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "unreadable"])
def test_a_damaged_state_is_named_and_the_checkpoint_is_intact(quick, damage):
    train(quick)
    before = _outcome(quick)
    state = quick.output / "state.pt"
    if damage == "unreadable":
        if os.geteuid() != 0:
            state.chmod(0)
        else:  # root reads everything; what it cannot read is something else than a state
            import torch

            torch.save([1, 2], state)
    else:
        state.write_bytes(state.read_bytes()[: 5000 if damage == "truncated" else 0])
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read .*; delete it"):
        train(quick)
    assert _outcome(quick) == before
    EmotionModel.load(quick.output / "best")
    if damage != "unreadable":
        state.unlink()
        train(quick)
        assert _outcome(quick) == before


@pytest.mark.parametrize("room", [0.0, 1.1, 2.2, 2.6])
def test_a_full_disk_ends_a_run_in_a_sentence_and_leaves_the_last_checkpoint(
    quick, small_disk, leave_room, tmp_path, room
):
    # What the run writes in the order it writes: settings, best (1), the state (about 3), again.
    reference = replace(quick, output=tmp_path / "reference")
    train(reference)
    size = sum(f.stat().st_size for f in (reference.output / "best").iterdir())
    filler = leave_room(int(size * room) + 12_000)
    run = replace(quick, output=small_disk / "run")
    with pytest.raises(TrainingError, match=r"could not be written .*(space|writing|write)"):
        train(run)
    assert not list(run.output.glob(".*.tmp"))
    if (run.output / "best").exists():
        EmotionModel.load(run.output / "best")
        assert read_checkpoint_facts(run.output / "best")["step"] > 0
    filler.unlink()
    train(run)
    assert _outcome(run) == _outcome(reference)


def test_two_runs_do_not_share_a_folder(quick):
    with (
        run_folder(quick.output),
        pytest.raises(TrainingError, match="another process trains in"),
    ):
        train(quick)
    train(quick)


def test_a_folder_of_one_process_is_not_gone_on_with_by_two(quick, monkeypatch):
    train(quick)
    monkeypatch.setattr("ov_emotions.training.processes.Processes.wait", lambda _self: None)
    monkeypatch.setattr("ov_emotions.training.processes.Processes.wrap", lambda _self, model: model)
    before = train.__globals__["Processes"].__init__

    def two(self, device):
        before(self, device)
        self.count = 2

    monkeypatch.setattr("ov_emotions.training.processes.Processes.__init__", two)
    with pytest.raises(TrainingError, match="a run of 1 processes"):
        train(quick)
