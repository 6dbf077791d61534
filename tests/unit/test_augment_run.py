from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="prepared data are Parquet")

from ov_emotions.cli.main import main
from ov_emotions.data.augment.rows import NewRows, Screen
from ov_emotions.data.augment.run import augment
from ov_emotions.data.dataset import LabelledTexts, PreparedData, write_prepared
from ov_emotions.data.settings import AugmentConfig
from ov_emotions.errors import DataError, InputError
from ov_emotions.files import sha256_file
from ov_emotions.labels import EKMAN

TRAIN = [
    "сегодня мы долго гуляли по парку и кормили уток",
    "мне нравится учиться новому каждый день",
    "он потерял билет и опоздал на поезд",
    "в магазине закончился хлеб и молоко",
    "они построили большой дом у реки",
    "завтра обещают сильный дождь и ветер",
]
NOISE = {"noise_confuse": 0.5, "noise_drop": 0.2}


def _texts(texts, label):
    targets = np.zeros((len(texts), len(EKMAN)), dtype=np.int8)
    targets[::2, EKMAN.index(label)] = 1
    numbers = np.arange(1, len(texts) + 1)
    return LabelledTexts(EKMAN, tuple(texts), targets, ("set",) * len(texts), numbers)


@pytest.fixture
def folder(tmp_path):
    splits = {
        "test": _texts(["проверочный текст о погоде"], "joy"),
        "validation": _texts(["текст для подбора порогов", "ещё один текст"], "joy"),
        "train": _texts(TRAIN, "fear"),
    }
    facts = {
        "seed": 1,
        "near_threshold": 0.8,
        "sources": [],
        "dropped": {},
        "validation_parts": {"thresholds": [0], "selection": [1]},
    }
    write_prepared(tmp_path / "prepared", splits, facts)
    return tmp_path / "prepared"


def _augmented(folder, name="out", **values):
    output = folder.parent / name
    augment(AugmentConfig(folder, output, **values))
    return PreparedData.open(output)


def test_new_rows_follow_the_old_ones_and_tell_what_they_were_made_from(folder):
    out = _augmented(folder, method=("asr-noise",), copies=3, **NOISE)
    before, after = PreparedData.open(folder).split("train"), out.split("train")
    assert after.texts[: len(before)] == before.texts
    assert set(after.augmentations[: len(before)]) == {""}
    made = range(len(before), len(after))
    assert len(made) > 6
    for i in made:
        source = after.augmented_from[i]
        assert after.augmentations[i] == "asr-noise"
        assert after.texts[i] != before.texts[source]
        assert after.targets[i].tolist() == before.targets[source].tolist()
        assert (after.origins[i], after.rows[i]) == (before.origins[source], before.rows[source])


def test_the_manifest_counts_what_was_made_and_how(folder):
    out = _augmented(folder, method=("asr-noise",), seed=9, oversample={"fear": 3.0}, **NOISE)
    before = PreparedData.open(folder).manifest
    assert out.manifest.validation_parts == before.validation_parts
    assert out.manifest.splits["test"] == before.splits["test"]
    assert sha256_file(out.folder / "test.parquet") == before.splits["test"].sha256
    (run,) = out.manifest.augmentation
    assert run["seed"] == 9
    assert run["made_from_rows"] == 6
    assert run["manifest_sha256"] == sha256_file(folder / "prepared.json")
    noise, repeated = run["methods"]["asr-noise"], run["methods"]["oversample"]
    assert noise["parameters"]["noise_confuse"] == 0.5
    assert noise["made"] + noise["not_made"]["unchanged"] == 6
    assert noise["rows"] == noise["made"] - sum(noise["dropped"].values())
    assert repeated["parameters"] == {"oversample": {"fear": 3.0}}
    assert repeated["rows"] == 6
    split = out.manifest.splits["train"]
    assert split.rows_by_augmentation == {"asr-noise": noise["rows"], "oversample": 6}
    assert split.rows == 6 + noise["rows"] + 6
    assert split.labels["fear"]["present"] == out.split("train").label_counts()["fear"]["present"]


def test_the_seed_decides_and_neither_processes_nor_order_nor_company(folder, monkeypatch):
    monkeypatch.setattr("ov_emotions.data.augment.rows._CHUNK", 2)
    different = ({}, {"processes": 2}, {"oversample": {"fear": 2.0}}, {"seed": 5})
    one, two, more, other = (
        _augmented(folder, f"{i}", method=("asr-noise",), copies=2, **NOISE, **values)
        for i, values in enumerate(different)
    )
    assert sha256_file(one.folder / "train.parquet") == sha256_file(two.folder / "train.parquet")
    texts = one.split("train").texts
    assert more.split("train").texts[: len(texts)] == texts
    assert other.split("train").texts != texts


def test_rows_that_were_made_are_not_made_from_again(folder):
    once = _augmented(folder, "once", method=("asr-noise",), noise_filler=1.0)
    twice = _augmented(once.folder, "twice", method=("asr-noise",), seed=2, noise_filler=1.0)
    train = twice.split("train")
    assert len(twice.manifest.augmentation) == 2
    assert twice.manifest.augmentation[1]["made_from_rows"] == 6
    assert train.texts[: len(once.split("train"))] == once.split("train").texts
    assert set(train.augmented_from.tolist()) == {-1, *range(6)}


def test_oversampling_takes_the_largest_factor_and_draws_its_fraction(folder):
    out = _augmented(folder, oversample={"fear": 2.5, "joy": 9.0})
    train = out.split("train")
    copies = Counter(train.augmented_from.tolist())
    assert copies.pop(-1) == 6
    assert set(copies) == {0, 2, 4}
    assert set(copies.values()) <= {1, 2}
    assert all(train.texts[i] == TRAIN[train.augmented_from[i]] for i in range(6, len(train)))


def test_what_repeats_held_out_or_other_training_texts_is_left_out_and_counted():
    train = _texts(["кошка спит на тёплом окне", "собака бежит по длинной дороге"], "joy")
    held_out = ["проверочный текст о хорошей погоде"]
    screen = Screen(held_out, train, 0.8)
    rows = NewRows(
        [
            "!!!",
            "Проверочный текст о хорошей погоде!",
            "проверочный текст о хорошей погоде и",
            "кошка спит на тёплом окне",
            "собака бежит по длинной дорогее",
            "кошка спит на тёплом окнее",
            "Кошка спит на тёплом окнее.",
        ],
        [0] * 7,
    )
    kept, dropped = screen.keep(rows, repeats=False, tell=lambda _: None)
    assert kept.texts == ["кошка спит на тёплом окнее"]  # nearly equal to its own source only
    assert list(dropped.values()) == [1] * 6
    copies = NewRows([train.texts[0], held_out[0]], [0, 0])
    kept, dropped = screen.keep(copies, repeats=True, tell=lambda _: None)
    assert kept.texts == [train.texts[0]]
    assert dropped["equal_to_held_out"] == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "name at least one method"),
        ({"method": ("shuffle",)}, "invalid enum value 'shuffle'; it must be one of"),
        ({"method": ("oversample",)}, "oversample needs factors"),
        ({"method": ("paraphrase",)}, "paraphrase needs a model"),
        ({"method": ("emoji",), "noise_drop": 1.5}, "noise_drop"),
        ({"method": ("emoji",), "share": float("nan")}, "share must be a number"),
        ({"method": ("emoji",), "synonym_telling": 0.0}, "synonym_telling"),
        ({"oversample": {"fear": 0.5}}, "oversample"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values, message):
    with pytest.raises(InputError, match=message):
        AugmentConfig(Path("a"), Path("b"), **values)


def test_unknown_labels_and_damaged_folders_are_told(folder):
    with pytest.raises(InputError, match="'boredom'; the labels are anger"):
        _augmented(folder, oversample={"boredom": 2.0})
    (folder / "validation.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not the file that was prepared"):
        _augmented(folder, oversample={"fear": 2.0})
    assert not (folder.parent / "out").exists()


def test_a_disk_that_is_full_leaves_nothing_behind(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(DataError, match="out cannot be written: No space left on device"):
        _augmented(folder, oversample={"fear": 2.0})
    assert [path.name for path in folder.parent.iterdir()] == ["prepared"]


def test_the_command_prints_a_table_or_the_manifest(folder, capsys):
    output = folder.parent / "out"
    flags = ["data", "augment", str(folder), "--output", str(output)]
    assert main([*flags, "--method", "asr-noise", "--oversample", "fear=2"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "method made left out added"
    assert "oversample 3 0 3" in lines
    assert lines[-1].startswith(f"written to {output}: ")
    assert main([*flags, "--oversample", "fear=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["train"]["rows"] == 9
