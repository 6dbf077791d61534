"""A student that learns from teachers through the command line."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("optimum.intel", reason="export needs optimum-intel", exc_type=ImportError)

from ov_emotions.cli.main import main


@pytest.mark.usefixtures("one_thread")
def test_a_student_learns_from_an_int8_bundle_and_a_checkpoint(
    tiny_base, prepared_folder, int8, checkpoint, tmp_path, capsys
):
    files = ["--base", str(tiny_base), "--data", str(prepared_folder), "--output", str(tmp_path)]
    teachers = ["--teachers", str(int8.folder), str(checkpoint)]
    settings = [
        *("--recombined-rows", "200", "--epochs", "3", "--batch-size", "16", "--max-length", "24"),
        *("--learning-rate", "4e-3", "--head-learning-rate", "1e-2", "--teacher-weight", "1"),
        *("--ema-decay", "0.9", "--precision", "fp32", "--device", "cpu"),
    ]
    assert main(["distill", *files, *teachers, *settings, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["selection"]["macro_f1"] > 0.9
    assert facts["drawn_rows"]["recombined"] > 150
    assert facts["training"]["patience"] == 8, "the preset's, since no flag says otherwise"
    assert facts["training"]["teachers"] == [str(int8.folder), str(checkpoint)]
