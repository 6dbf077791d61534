from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ov_emotions.cli.main import main
from ov_emotions.errors import DataError
from ov_emotions.evaluation.run import Source, evaluate_source

if TYPE_CHECKING:
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.dataset import PreparedData


def test_a_checkpoint_and_its_bundle_are_scored_and_compared(
    fp32: Bundle, checkpoint: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    output, html = tmp_path / "a.json", tmp_path / "a.html"
    models = [str(fp32.folder), str(checkpoint)]
    flags = ["--data", str(prepared.folder), "--compare", "--output", str(output)]
    assert main(["evaluate", *models, *flags, "--html", str(html)]) == 0
    answer = json.loads(output.read_text(encoding="utf-8"))
    ours, theirs = (r["splits"]["validation:selection"] for r in answer["results"])
    assert ours["weighted_f1"] == pytest.approx(theirs["weighted_f1"], abs=0.02)
    assert "worst" not in ours, "committed figures must not grow"
    compared = answer["comparisons"][0]["splits"]["validation:selection"]
    assert compared["weighted_f1"]["low"] <= compared["weighted_f1"]["high"]
    assert "Worst errors" in html.read_text(encoding="utf-8")


def test_calibration_leaves_decisions_as_they_are(
    int8: Bundle, prepared: PreparedData, tmp_path: Path
) -> None:
    from ov_emotions.bundle import Bundle

    output, figures = tmp_path / "bundle", tmp_path / "a.json"
    flags = ["--data", str(prepared.folder), "--write", str(output), "--output", str(figures)]
    assert main(["calibrate", str(int8.folder), *flags]) == 0
    answer = json.loads(figures.read_text(encoding="utf-8"))
    assert answer["decisions_changed"] == 0
    written = Bundle.load(output)
    (record,) = written.manifest.provenance["temperature"]
    assert record["temperatures"] == answer["temperatures"]
    assert written.manifest.thresholds != int8.manifest.thresholds


def test_thresholds_are_written_with_how_they_were_fitted(
    fp32: Bundle, prepared: PreparedData, tmp_path: Path
) -> None:
    from ov_emotions.bundle import Bundle

    output = tmp_path / "bundle"
    flags = ["--data", str(prepared.folder), "--method", "global", "--write", str(output)]
    assert main(["thresholds", str(fp32.folder), *flags]) == 0
    manifest = Bundle.load(output).manifest
    assert len(set(manifest.thresholds.values())) == 1
    assert manifest.provenance["thresholds"]["method"] == "global"
    card = (output / "README.md").read_text(encoding="utf-8")
    assert f"{next(iter(manifest.thresholds.values())):.3f}" in card


def test_what_cannot_be_done_is_one_sentence(
    fp32: Bundle,
    checkpoint: Path,
    prepared: PreparedData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = ["--data", str(prepared.folder)]
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    for command in (
        ["thresholds", str(checkpoint), *data, "--write", str(tmp_path / "b")],
        ["calibrate", str(checkpoint), *data],
        ["thresholds", str(fp32.folder), *data, "--write", str(file)],
        ["evaluate", str(fp32.folder), *data, "--html", str(tmp_path)],
        ["evaluate", str(fp32.folder), *data, "--split", "nothing"],
    ):
        assert main(command) == 1
        error = capsys.readouterr().err
        assert error.startswith("ov-emotions: error: ")
        assert error.count("\n") == 1


def test_rows_that_cannot_be_scored_are_told(prepared: PreparedData) -> None:
    rows = prepared.validation_part("selection")

    def score(data, labels=rows.label_set.labels):
        held = SimpleNamespace(
            folder=prepared.folder,
            split=lambda _name: data,
            manifest={},
            check_splits=lambda _names: None,
        )
        classifier = SimpleNamespace(labels=labels, thresholds={})
        return evaluate_source(Source(classifier, {"model": "m"}), held, ["test"])

    unknown = rows.select(np.arange(5))
    unknown.targets[:] = -1
    with pytest.raises(DataError, match="annotates no label"):
        score(unknown)
    with pytest.raises(DataError, match="no rows"):
        score(rows.select([]))
    with pytest.raises(DataError, match="other labels than m"):
        score(rows, ("a", "b"))
