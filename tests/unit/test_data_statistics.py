from __future__ import annotations

import json
import math

import numpy as np
import pytest
from page_reader import PageReader
from raw_sets import FILES, write_raw

from ov_emotions.cli.main import main
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.prepare import prepare
from ov_emotions.data.settings import PrepareConfig, StatsConfig
from ov_emotions.data.statistics import describe_splits
from ov_emotions.data.telling_words import fightin_words, lemmas
from ov_emotions.labels import LabelSet
from ov_emotions.reports.data import render_data_page

pytest.importorskip("pymorphy3", reason="dictionary forms come from pymorphy3")

PAIR = LabelSet("pair", ("joy", "fear"), {"joy": "радость"})
LONG = "сегодня утром на большой дороге я встретил старого друга и мы долго говорили обо всём"
NEAR = LONG.replace("старого", "старую")
HOSTILE = "<script>alert(1)</script>&\"'"


def texts(label_set, rows, origins=None):
    return LabelledTexts(
        label_set,
        tuple(text for text, _ in rows),
        np.array([target for _, target in rows], dtype=np.int8).reshape(len(rows), len(label_set)),
        tuple(origins or ["set"] * len(rows)),
        np.arange(1, len(rows) + 1),
    )


def described(splits, tiny_bundle, tell=lambda _: None, **settings):
    config = StatsConfig(model=str(tiny_bundle.folder), least_texts=1, **settings)
    return describe_splits(splits, config, prepared={"manifest_sha256": "abc"}, tell=tell)


@pytest.fixture
def small(tiny_bundle):
    rows = [("Рад!", (1, 0)), ("рад", (0, 0)), (LONG, (1, 1)), (NEAR, (1, -1)), ("!!!", (0, -1))]
    train = texts(PAIR, rows, ["a", "a", "a", "b", "b"])
    test = texts(PAIR, [("рад", (1, 0)), (LONG, (0, 1)), ("чёрт", (0, 1))])
    return described({"train": train, "test": test, "empty": texts(PAIR, [])}, tiny_bundle)


def test_labels_are_counted_with_the_unknown_apart(small):
    fear = small.splits["train"].labels["fear"]
    assert (fear.present, fear.absent, fear.unknown) == (1, 2, 2)
    assert fear.share == pytest.approx(1 / 3)
    assert small.origins["train"]["b"].labels["fear"].share is None
    assert small.splits["train"].labels_per_row == {0: 2, 1: 2, 2: 1}
    assert small.splits["train"].fully_known == 3


def test_repeats_are_told_apart(small):
    train = small.splits["train"]
    assert (train.empty, train.duplicates, train.near_duplicates) == (1, 1, 2)
    assert train.contradictions == 1  # «рад» with joy and without
    assert small.origins["train"]["b"].near_duplicates == 0  # its like is in the other set


def test_overlaps_have_a_direction(small):
    found = {(o.split, o.other): (o.equal, o.near) for o in small.overlaps}
    assert found["train", "test"] == (3, 1)  # «рад» twice, the long text; its like is near
    assert found["test", "train"] == (2, 0)
    assert found["empty", "train"] == (0, 0)


def test_tokens_are_those_of_the_model(small):
    test = small.splits["test"]
    assert test.tokens.smallest == 3  # [CLS] чёрт [SEP]
    assert test.words.largest == len(LONG.split())
    assert test.over_max_length == 1  # the tiny model reads 16
    assert small.splits["empty"].tokens is None


def test_log_odds_follow_the_formula():
    ratio, z = fightin_words(np.array([3.0, 1.0]), np.array([1.0, 3.0]), prior=2.0)
    # Each word has a prior of 1: (3+1)/(4+2-3-1) against (1+1)/(4+2-1-1).
    expected = math.log(4 / 2) - math.log(2 / 4)
    assert ratio[0] == pytest.approx(expected)
    assert z[0] == pytest.approx(expected / math.sqrt(1 / 4 + 1 / 2))
    assert ratio[1] == pytest.approx(-expected)
    assert not fightin_words(np.array([3.0]), np.array([0.0]), 2.0)[1].any()


def test_words_get_their_dictionary_form_and_stop_words_none():
    seen = []
    found = lemmas(["люблю", "не", "и", "мой", "была", "5", "люблю"], seen.append)
    assert found["люблю"] == "любить"
    assert [found[word] for word in ("не", "и", "мой", "была", "5")] == [None] * 5
    assert {told.total for told in seen} == {6}  # each distinct word once


def test_the_page_has_every_section_and_asks_for_nothing(small):
    content = render_data_page(small)
    page = PageReader(content)
    assert len(page.ids) == len(set(page.ids))
    wanted = {"labels", "per-row", "together", "lengths", "words", "all", "made"}
    assert wanted <= set(page.ids)
    links = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert all(link.startswith("#") for link in links)
    shown = " ".join(page.text.split())
    assert "8 texts, 2 labels" in shown
    assert "rows of train stand in other splits too, or nearly" in shown
    russian = render_data_page(small, "ru")
    assert "есть и в других выборках, точно или почти" in russian
    assert "радость" in russian
    assert "train / b" in shown


def test_hostile_names_and_words_stay_text(tiny_bundle):
    labels = LabelSet("bad", (HOSTILE, "b"), {HOSTILE: HOSTILE})
    rows = [("счастье", (1, 0)), ("печаль", (0, 1))]
    split = texts(labels, rows, [HOSTILE, "x"])
    stats = described({"train": split, HOSTILE: split}, tiny_bundle)
    page = PageReader(render_data_page(stats))
    assert page.tags.count("script") == 1
    assert HOSTILE in page.text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("pyarrow", reason="prepared data are Parquet")
    folder = tmp_path_factory.mktemp("prepared")
    write_raw(folder / "raw", dict.fromkeys(FILES, 30))
    prepare(PrepareConfig(folder / "raw", folder / "out"))
    return folder / "out"


def test_the_command_writes_json_and_page(folder, tmp_path, tiny_bundle, capsys):
    output = tmp_path / "out"
    flags = ["data", "stats", str(folder), "--model", str(tiny_bundle.folder)]
    assert main([*flags, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert main([*flags, "--output", str(output)]) == 0
    assert "wrote" in capsys.readouterr().out
    assert printed == json.loads((output / "stats.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
    assert {n: g["rows"] for n, g in printed["splits"].items()} == {
        name: split["rows"] for name, split in manifest["splits"].items()
    }
    assert "pymorphy3" in printed["versions"]
    assert (output / "stats.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_command_refuses_what_it_cannot_read_or_write(folder, tmp_path, tiny_bundle, capsys):
    model, file, bare = str(tiny_bundle.folder), tmp_path / "file", tmp_path / "bare"
    file.touch()
    tiny_bundle.save(bare)
    (bare / "tokenizer.json").unlink()
    for flags, message in (
        ([str(tmp_path), "--model", model], "is not a prepared folder"),
        ([str(folder), "--model", model, "--output", str(file)], "cannot be a folder"),
        ([str(folder), "--model", str(bare)], "tokenizer.json"),
    ):
        assert main(["data", "stats", *flags]) == 1
        assert message in capsys.readouterr().err
