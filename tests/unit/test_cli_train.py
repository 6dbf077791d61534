from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ov_emotions.cli import training as verb
from ov_emotions.cli.main import main
from ov_emotions.errors import TrainingError
from ov_emotions.progress import Progress
from ov_emotions.training.settings import Text2TextConfig, TrainConfig, preset_values

REQUIRED = ["--base", "b", "--data", "d", "--output"]
FACTS = {
    "selection": {"weighted_f1": 0.65, "macro_f1": 0.57},
    "step": 12,
    "precision": "fp32",
    "device": "cpu",
}


@pytest.fixture
def trained(monkeypatch):
    """Training of either kind that only remembers its configuration."""
    configs = []

    def train(config, report):
        configs.append(config)
        report(Progress(1, 2, "steps", "loss 0.5"))
        if isinstance(config, Text2TextConfig):
            raise TrainingError("enough")
        return FACTS

    for name in ("ov_emotions.training.run", "ov_emotions.training.text_to_text.run"):
        module = ModuleType(name)
        module.train = train
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(verb, "require", lambda *_args, **_kwargs: None)
    return configs


def test_distill_tells_the_defaults_of_its_preset(trained, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["distill", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert main(["distill", *REQUIRED, str(tmp_path), "--teachers", "t"]) == 0
    for name, value in preset_values("distill").items():
        assert getattr(trained[0], name) == value
        flag = told[told.index("--" + name.replace("_", "-") + " ", told.index("options:")) :]
        assert flag[flag.index("(default: ") :].startswith(f"(default: {value})")


def test_the_result_is_told_in_words_or_in_json(trained, tmp_path, capsys):
    assert main(["train", *REQUIRED, str(tmp_path), "--teachers", "t", "u"]) == 0
    assert trained == [TrainConfig(base="b", data=Path("d"), output=tmp_path, teachers=("t", "u"))]
    text = capsys.readouterr().out
    assert str(tmp_path / "best") in text
    assert "weighted F1 0.650, macro F1 0.570" in text
    assert main(["train", "--json", *REQUIRED, str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == FACTS


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "goes on from the last saved state"),
        (TrainingError("the loss became nan"), 1, "error: the loss became nan"),
    ],
)
def test_a_run_that_stops_says_how_it_goes_on(
    trained, tmp_path, monkeypatch, capsys, error, code, message
):
    def train(*_: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules["ov_emotions.training.run"], "train", train)
    assert main(["train", *REQUIRED, str(tmp_path)]) == code
    assert message in capsys.readouterr().err
    assert trained == []


def test_text_to_text_has_flags_of_its_own(capsys):
    for flags in (["--task", "text-to-text", "--help"], ["--help", "--task=text-to-text"]):
        with pytest.raises(SystemExit) as exit_info:
            main(["train", *flags])
        assert exit_info.value.code == 0
        text = capsys.readouterr().out
        assert "--max-target-length" in text
        assert "--pooling" not in text
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert "--task {labels,text-to-text}" in text
    assert "--max-target-length" not in text


def test_text_to_text_flags_reach_its_configuration(trained, tmp_path, capsys):
    flags = "--task text-to-text --optimizer adafactor --sets cedr ru_izard --constrained -v"
    assert main(["train", *REQUIRED, str(tmp_path), *flags.split()]) == 1
    assert "error: enough" in capsys.readouterr().err
    assert trained == [
        Text2TextConfig(
            base="b",
            data=Path("d"),
            output=tmp_path,
            optimizer="adafactor",
            sets=("cedr", "ru_izard"),
            constrained=True,
        )
    ]
