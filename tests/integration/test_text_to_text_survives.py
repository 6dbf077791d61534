"""A text-to-text run: kills, full disks, damaged files, other processes in the same folder."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)

from ov_emotions.errors import TrainingError
from ov_emotions.files import sha256_file
from ov_emotions.training.state import run_folder
from ov_emotions.training.text_to_text.classifier import TextToTextClassifier
from ov_emotions.training.text_to_text.config import Text2TextConfig
from ov_emotions.training.text_to_text.manifest import TEXT2TEXT_NAME, Text2TextManifest
from ov_emotions.training.text_to_text.run import train


@pytest.fixture
def quick(t5_config: Text2TextConfig, tmp_path: Path, one_thread: None) -> Text2TextConfig:  # noqa: ARG001
    return replace(t5_config, output=tmp_path / "run", epochs=2, rows=64, selection_rows=10)


def _outcome(config: Text2TextConfig) -> tuple[str, str]:
    return (
        sha256_file(config.output / "best" / "model.safetensors"),
        (config.output / "history.json").read_text(encoding="utf-8"),
    )


def test_the_course_of_a_run_is_a_table_too(quick):
    train(quick)
    with (quick.output / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == json.loads(_outcome(quick)[1])
    assert len(rows) == 2
    assert "unparseable_share" in rows[0]


def test_two_runs_do_not_share_a_folder(quick):
    with (
        run_folder(quick.output),
        pytest.raises(TrainingError, match="another process trains in"),
    ):
        train(quick)
    assert not (quick.output / "best").exists()


def test_several_processes_are_refused(quick, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="trains in one process"):
        train(quick)
    assert not quick.output.exists()


def test_what_a_kill_left_half_written_is_put_right(quick):
    manifest = train(quick)
    before, output = _outcome(quick), quick.output
    # Killed between the two renames: the older folder moved away, the new one not yet in place.
    older = output / ".best.0000.tmp"
    shutil.copytree(output / "best", older)
    replace(manifest, step=manifest.step - 1).write(older)
    (output / "best").rename(output / ".best.1111.tmp")
    (output / ".best.2222.tmp").mkdir()
    (output / ".state.pt.3333.tmp").write_bytes(b"half")
    assert train(quick) == manifest
    assert _outcome(quick) == before
    assert not list(output.glob(".*.tmp"))


@pytest.mark.parametrize("length", [5000, 0])
def test_a_damaged_state_is_named_and_the_best_weights_are_intact(quick, length):
    train(quick)
    before = _outcome(quick)
    state = quick.output / "state.pt"
    state.write_bytes(state.read_bytes()[:length])
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read .*; delete it"):
        train(quick)
    assert _outcome(quick) == before
    state.unlink()
    train(quick)
    assert _outcome(quick) == before


@pytest.mark.parametrize("room", [0.0, 0.9, 1.02, 1.5, 4.5])
def test_a_full_disk_ends_a_run_in_a_sentence_and_leaves_the_last_weights(
    quick, small_disk, leave_room, tmp_path, room
):
    # What the run writes in the order it writes: settings, best (1), the state (about 3), again.
    reference = replace(quick, output=tmp_path / "reference")
    train(reference)
    size = (reference.output / "best" / "model.safetensors").stat().st_size
    filler = leave_room(int(size * room) + 12_000)
    run = replace(quick, output=small_disk / "run")
    with pytest.raises(TrainingError, match=r"could not be written .*(space|writing|write)"):
        train(run)
    assert not list(run.output.glob(".*.tmp"))
    if (run.output / "best").exists():
        TextToTextClassifier.from_pretrained(run.output / "best")
        assert Text2TextManifest.read(run.output / "best").step > 0
        assert (run.output / "best" / TEXT2TEXT_NAME).is_file()
    filler.unlink()
    train(run)
    assert _outcome(run) == _outcome(reference)
