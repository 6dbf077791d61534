"""The committed reports: of the shipped weights, rendered by this version, true to their word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ov_emotions.bundle import Bundle, shipped
from ov_emotions.reports.run import read_study, write_report

REPORTS = Path(__file__).resolve().parents[2] / "quantize" / "reports"
FOLDERS = sorted(path.parent.name for path in REPORTS.glob("*/study.json"))
SMALL = "emotions-ru-small"
INT8, TORCH = "int8-mixed/f32", "torch-cpu/fp32"


def _candidates(name):
    study = json.loads((REPORTS / name / "study.json").read_text(encoding="utf-8"))
    return study, {candidate["id"]: candidate for candidate in study["candidates"]}


def test_the_default_model_and_a_large_one_are_reported():
    assert {SMALL, "roberta-large-random"} <= set(FOLDERS)


def _words(path: Path) -> str:
    """Leave the charts out: where their marks stand depends on the fonts of the machine."""
    return re.sub(r"<svg\b.*?</svg>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_report_is_what_its_study_renders_to(name, tmp_path):
    write_report(read_study(REPORTS / name / "study.json"), tmp_path)
    for file in ("report.md", "report.html"):
        assert _words(tmp_path / file) == _words(REPORTS / name / file), file


def test_the_report_is_of_the_weights_that_are_shipped():
    study, candidates = _candidates(SMALL)
    bundle = Bundle.load(SMALL)
    shipped_scores = bundle.manifest.metrics["int8"]["test_goemotions"]
    reported = candidates[INT8]["quality"]["test_goemotions"]["refitted"]
    # The study decides by thresholds of all of validation, the bundle by those of its own part.
    assert reported["weighted_f1"] == pytest.approx(shipped_scores["weighted_f1"], abs=2e-3)
    weights = (shipped(SMALL) / "model.bin").stat().st_size
    assert 0 <= candidates[INT8]["size_bytes"] - weights < 3e6
    assert study["model"]["labels"] == list(bundle.manifest.labels)


def test_shipped_int8_is_within_three_thousandths_of_torch_on_the_test_split():
    _, candidates = _candidates(SMALL)
    quality = {i: candidates[i]["quality"]["test_goemotions"] for i in (INT8, TORCH)}
    weighted = {i: found["refitted"]["weighted_f1"] for i, found in quality.items()}
    assert weighted[INT8] >= weighted[TORCH] - 0.003
    # The reference of the paired interval is the fp32 IR, whose decisions are those of torch.
    assert quality[TORCH]["refitted"]["flipped"] < 1e-3
    difference = quality[INT8]["refitted"]["difference"]["weighted_f1"]
    assert difference["low"] <= difference["value"] <= difference["high"]


def test_shipped_int8_is_at_least_three_and_a_half_times_smaller():
    _, candidates = _candidates(SMALL)
    assert candidates["fp32/f32"]["size_bytes"] >= 3.5 * candidates[INT8]["size_bytes"]
    weights = (shipped(SMALL) / "model.bin").stat().st_size
    assert weights <= candidates[INT8]["size_bytes"]


def test_random_weights_are_timed_and_not_scored():
    study, candidates = _candidates("roberta-large-random")
    assert study["model"]["random_weights"]
    assert study["model"]["parameters"] > 300e6
    assert study["verdict"]["ship"] is None
    assert all(c["quality"] is None for c in candidates.values())
    assert max(step["peak_memory_mb"] for step in study["steps"]) < 24_000
