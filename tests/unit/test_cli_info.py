from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
