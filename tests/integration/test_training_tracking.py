"""Runs told to a real MLflow server, with a SQLite store, that the tests start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("tomli_w", reason="settings are written with tomli-w", exc_type=ImportError)
pytest.importorskip("mlflow", reason="tracking needs mlflow", exc_type=ImportError)

import mlflow

from ov_emotions.progress import Progress
from ov_emotions.training.checkpoint import read_checkpoint_facts
from ov_emotions.training.run import train
from ov_emotions.training.settings import TrainConfig

# The server is another project's; its warnings are not ours.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/store.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        # In a group of its own, with its workers.
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=2):
                    break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def quick(
    config: TrainConfig,
    tmp_path: Path,
    one_thread: None,  # noqa: ARG001
    server: str,
) -> TrainConfig:
    return replace(
        config,
        output=tmp_path / "run",
        epochs=2,
        batch_size=32,
        max_rows=100,
        track="mlflow",
        tracking_uri=server,
        experiment=tmp_path.name,
    )


def _run(config: TrainConfig) -> tuple[Any, Any]:
    client = mlflow.MlflowClient(config.tracking_uri)
    experiment = client.get_experiment_by_name(config.experiment)
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def _files(client: Any, run: Any, folder: str | None = None) -> set[str]:
    return {file.path for file in client.list_artifacts(run.info.run_id, folder)}


def test_a_run_is_told_whole_and_the_files_say_the_same(quick, tmp_path, capsys):
    facts = train(replace(quick, run_name="named"))
    assert capsys.readouterr().out == ""
    client, run = _run(quick)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "named"
    assert run.data.params["learning_rate"] == str(quick.learning_rate)
    assert run.data.params["base"] == quick.base
    history = json.loads((quick.output / "history.json").read_text("utf-8"))
    for name in ("loss", "weighted_f1", "macro_f1", "epoch"):
        told = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in told] == [(row["step"], row[name]) for row in history]
    assert {"history.json", "history.csv", "config.toml", "plots", "best"} <= _files(client, run)
    assert _files(client, run, "plots") == {"plots/loss.png", "plots/f1.png"}
    target = tmp_path / "down"
    target.mkdir()
    client.download_artifacts(run.info.run_id, "best", str(target))
    assert (target / "best" / "model.safetensors").read_bytes() == (
        quick.output / "best" / "model.safetensors"
    ).read_bytes()
    assert read_checkpoint_facts(target / "best") == facts


def test_a_stopped_run_goes_on_in_the_same_entry(quick):
    def stop(progress: Progress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(quick, stop)
    assert _run(quick)[1].info.status == "KILLED"
    train(quick)
    assert _run(quick)[1].info.status == "FINISHED"
    train(quick)  # has ended; nothing more to tell
    assert _run(quick)[1].info.status == "FINISHED"


def test_a_server_that_goes_away_costs_a_warning_and_not_the_run(quick, monkeypatch, caplog):
    def gone(*_args: object, **_kwargs: object) -> None:
        raise mlflow.exceptions.MlflowException("gone")

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", gone)
    train(quick)
    assert "MLflow did not take a message: gone" in caplog.text
    assert _run(quick)[1].info.status == "FINISHED"
