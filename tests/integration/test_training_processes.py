"""Two processes that train one model, as two GPUs do; here on the CPU, over gloo."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("accelerate", reason="several processes need accelerate", exc_type=ImportError)
pytest.importorskip("tomli_w", reason="settings are written with tomli-w", exc_type=ImportError)

from safetensors.torch import load_file

from ov_emotions.errors import TrainingError
from ov_emotions.files import sha256_file, write_text
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.processes import Processes
from ov_emotions.training.run import train
from ov_emotions.training.settings import settings_text

ROOT = Path(__file__).resolve().parents[2]


def _launch(config: TrainConfig, folder: Path) -> list[subprocess.Popen[str]]:
    """Start what torchrun would start, without its own process between."""
    file = folder / "run.toml"
    write_text(file, settings_text(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-m", "ov_emotions", "train", "--json", "--config", str(file)]
    return [
        subprocess.Popen(
            command,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def _finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    outputs = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            outputs.append(out)
    finally:
        for process in processes:
            process.kill()
    return outputs


@pytest.fixture
def quick(config: TrainConfig, tmp_path: Path, one_thread: None) -> TrainConfig:  # noqa: ARG001
    """Without dropout, so that only the adding up differs from one process."""
    base = tmp_path / "base"
    base.mkdir()
    for file in Path(config.base).iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    described = json.loads((base / "config.json").read_text("utf-8"))
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(described | calm), encoding="utf-8")
    return replace(
        config,
        base=str(base),
        output=tmp_path / "run",
        dropout=0.0,
        epochs=2,
        batch_size=33,
        accumulation_steps=2,
        max_rows=100,
        evaluations_per_epoch=1,
        class_weighting="inverse",
        row_weight={"fear": 2.0},
        # Adam divides by the size of gradients, which makes much of rounding where they are small.
        learning_rate=1e-3,
        head_learning_rate=1e-3,
    )


def test_two_processes_learn_what_one_learns_and_the_first_alone_writes_and_answers(
    quick, tmp_path
):
    outputs = _finish(_launch(quick, tmp_path))
    facts = json.loads(outputs[0])
    assert outputs[1] == ""
    assert facts["processes"] == 2
    alone = replace(quick, output=tmp_path / "alone")
    assert train(alone)["processes"] == 1
    two, one = (
        load_file(config.output / "best" / "model.safetensors") for config in (quick, alone)
    )
    for name in one:
        np.testing.assert_allclose(two[name].float(), one[name].float(), atol=2e-3, err_msg=name)
    histories = [json.loads((c.output / "history.json").read_text("utf-8")) for c in (quick, alone)]
    for ours, theirs in zip(*histories, strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=2e-3)


def test_two_killed_processes_go_on_and_end_bit_for_bit_as_unbroken_ones(quick, tmp_path):
    # With dropout: each process draws its own, and draws it again.
    config = replace(quick, dropout=0.3, epochs=4, patience=100)
    processes = _launch(config, tmp_path)
    try:
        deadline = time.monotonic() + 90
        while not (config.output / "state.pt").is_file():
            assert processes[0].poll() is None, processes[0].communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    assert processes[0].returncode == -signal.SIGKILL
    _finish(_launch(config, tmp_path))
    whole = replace(config, output=tmp_path / "whole")
    _finish(_launch(whole, tmp_path))
    for name in ("history.json", "best/model.safetensors"):
        assert sha256_file(config.output / name) == sha256_file(whole.output / name)
    with pytest.raises(TrainingError, match="belongs to a run of 2 processes"):
        train(config)


def test_one_process_is_all_there_is_without_a_launcher(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = Processes("cpu")
    assert (alone.count, alone.main, alone.sum(2.0)) == (1, True, 2.0)
    rows = np.arange(5)
    assert alone.share(rows) is rows


def test_a_device_by_number_is_refused_where_every_process_needs_its_own(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="cuda:1 was asked for, but several processes"):
        Processes("cuda:1")
