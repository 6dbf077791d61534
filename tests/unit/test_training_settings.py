from __future__ import annotations

import json
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("tomli_w", reason="settings are written with tomli-w", exc_type=ImportError)

from ov_emotions.cli import training as verb
from ov_emotions.cli.main import main
from ov_emotions.errors import TrainingError
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.settings import (
    load_settings,
    preset_description,
    preset_names,
    settings_text,
)

OWN = {"data": Path("d"), "output": Path("o")}


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_with_a_run_reads_back_as_the_same_run(tmp_path):
    config = TrainConfig(
        "base",
        Path("data"),
        Path("out"),
        learning_rate=3e-5,
        compile=True,
        positive_weight={"joy": 2.0},
        teachers=(Path("a"), Path("b")),
        origin_weight={},
        max_grad_norm=float("inf"),
        unlabelled_source='«кавычки» "и" \\',
    )
    text = settings_text(config)
    assert load_settings(file=_file(tmp_path, text)) == config
    assert settings_text(config) == text


def test_every_key_is_written_with_what_it_does():
    config = TrainConfig("base", Path("data"), Path("out"))
    lines = settings_text(config).splitlines()
    for field in fields(TrainConfig):
        if getattr(config, field.name) is None:
            at = lines.index(f"# {field.name} is not set")
        else:
            at = next(i for i, line in enumerate(lines) if line.startswith(f"{field.name} = "))
        assert lines[at - 1].startswith("# ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "learning_rat = 1.0",
            r"run.toml: unknown key 'learning_rat'; did you mean 'learning_rate'\?",
        ),
        ("epochs = 1.5", "epochs: expected int, got float"),
        ("epochs = true", "epochs: expected int, got bool"),
        ('compile = "yes"', "compile: expected bool"),
        ('teachers = "a"', "teachers: expected array"),
        ("[positive_weight]\njoy = 'much'", "positive_weight: .* expected float"),
        ('base = "b"\ndropout = 1.5', r"dropout must be in \[0, 1\)"),
        ("epochs = ", "is not valid TOML"),
        ("", "a run needs base"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path, text, message):
    with pytest.raises(TrainingError, match=message):
        load_settings(file=_file(tmp_path, text), given=OWN)


def test_a_flag_wins_over_the_file_over_the_preset_over_the_default(tmp_path):
    file = _file(tmp_path, "epochs = 7\nmax_length = 20\nlearning_rate = 1\n")
    config = load_settings("ruroberta-large", file, {**OWN, "max_length": 10})
    assert config.max_length == 10
    assert config.epochs == 7
    assert config.learning_rate == 1.0
    assert config.optimizer == "adam"
    assert config.patience == TrainConfig.patience


def test_the_presets_have_the_settings_of_the_earlier_projects():
    linear, weighted, two = (load_settings(name, given=OWN) for name in (
        "ruroberta-large", "rubert-tiny2-weighted", "ruroberta-large-two-layer"
    ))  # fmt: skip
    assert linear.base == two.base == "ai-forever/ruRoberta-large"
    assert (linear.max_length, linear.batch_size, linear.epochs) == (32, 64, 4)
    assert (linear.optimizer, linear.learning_rate, linear.hidden_size) == ("adam", 1e-5, 0)
    assert (two.max_length, two.epochs, two.hidden_dropout) == (64, 3, 0.85)
    assert 750 <= two.hidden_size <= 800
    assert weighted.base == "cointegrated/rubert-tiny2"
    assert (weighted.loss, weighted.class_weighting) == ("bce", "inverse")
    teachers = {"base": "b", "teachers": (Path("t"),)}
    own = {name: OWN | (teachers if name == "distill" else {}) for name in preset_names()}
    assert all(load_settings(n, given=own[n]) and preset_description(n) for n in preset_names())
    with pytest.raises(TrainingError, match="no preset 'x'; choose one of distill, rubert-tiny2"):
        load_settings("x", given=OWN)


def test_the_presets_are_listed(capsys):
    assert main(["train", "--presets"]) == 0
    text = capsys.readouterr().out
    assert main(["train", "--presets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert tuple(listed) == preset_names()
    for name, description in listed.items():
        assert name in text
        assert description.split()[0] in text


def test_the_command_takes_a_file_a_preset_and_flags(tmp_path, monkeypatch):
    seen = []

    def refuse(config):
        seen.append(config)
        raise TrainingError("enough")

    monkeypatch.setattr(verb, "make_output_folder", lambda path: refuse(path))
    monkeypatch.setattr(
        verb, "load_settings", lambda *args: seen.append(load_settings(*args)) or seen[-1]
    )
    file = _file(tmp_path, 'data = "d"\noutput = "o"\nepochs = 7\n')
    argv = ["train", "--preset", "ruroberta-large", "--config", str(file), "--max-length", "9"]
    assert main(argv) == 1
    expected = load_settings("ruroberta-large", given=OWN)
    assert seen[0] == replace(expected, epochs=7, max_length=9)


def test_the_preset_files_say_only_what_they_change():
    folder = Path(verb.__file__).parents[1] / "training" / "presets"
    for path in folder.glob("*.toml"):
        assert not {"data", "output", "device"} & set(tomllib.loads(path.read_text("utf-8")))
