"""The raw sets joined: what is read, held out, dropped, added and refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from raw_sets import FILES, telling_rows, write_csv, write_raw, write_set

from ov_emotions.data.dataset import LabelledTexts, PreparedData
from ov_emotions.data.prepare import prepare, random_parts, stratified_parts
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.errors import DataError, InputError
from ov_emotions.files import sha256_file
from ov_emotions.labels import EKMAN, GOEMOTIONS
from ov_emotions.normalize import normalize

pytest.importorskip("pyarrow", reason="prepared data are Parquet")

LONG = "сегодня утром на большой дороге я встретил старого друга и мы долго говорили обо всём"
SHARES = {"calibration": 0.2, "thresholds": 0.5, "selection": 0.3}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    write_raw(folder / "raw", dict.fromkeys(FILES, 30))
    return _prepared(folder / "raw", folder / "out")


@pytest.fixture
def raw(prepared, tmp_path):
    """The raw sets of `prepared`, to be changed."""
    return shutil.copytree(prepared.folder.parent / "raw", tmp_path / "raw")


@pytest.fixture
def changed(prepared, tmp_path):
    """A copy of `prepared`, to be changed."""
    folder = shutil.copytree(prepared.folder, tmp_path / "changed")
    return PreparedData.open(folder)


def _prepared(raw, folder, labels="ekman-7", **settings):
    prepare(PrepareConfig(raw, folder, labels, **settings))
    return PreparedData.open(folder)


def _rows(name):
    return telling_rows(30, seed=list(FILES).index(name))


def test_what_is_held_out_is_a_share_and_no_training_text_equals_it(prepared):
    train = prepared.split("train")
    texts = {normalize(text) for text in train.texts}
    for name in ("validation", "test_goemotions", "test_cedr", "test_brighter"):
        assert texts.isdisjoint(normalize(text) for text in prepared.split(name).texts)
    held = prepared.split("test_brighter")
    pairs = zip(train.rows, train.origins, strict=True)
    assert len(held) == round(0.25 * 30)
    assert {int(row) for row, origin in pairs if origin == "brighter_rus"}.isdisjoint(held.rows)


def test_what_is_dropped_is_counted_by_reason(prepared, raw, tmp_path):
    before = prepared.manifest
    izard, goemotions = "ru_izard/train_clean.csv", "ru_goemotions/test.csv"
    twins = [("!!! …", ("joy",)), (LONG, ("joy",)), (LONG.upper() + "!", ("joy",))]
    write_set(raw, izard, [*_rows(izard), *twins, *_rows(goemotions)[:2]])
    cedr = "cedr/cedr-main-test.csv"
    write_set(raw, cedr, [*_rows(cedr), (LONG.replace("старого", "старую"), ())])
    after = _prepared(raw, tmp_path / "after").manifest
    old, new = before.dropped["train"], after.dropped["train"]
    assert {reason: count - old[reason] for reason, count in new.items()} == {
        "empty_after_normalising": 1,
        "duplicates": 1,
        "equal_to_held_out": 2,
        "near_equal_to_held_out": 1,
    }
    assert after.splits["train"].rows == before.splits["train"].rows


def test_parts_of_validation_are_disjoint_and_cover_it(prepared):
    parts = prepared.manifest.validation_parts
    validation = prepared.split("validation")
    assert sorted(i for part in parts.values() for i in part) == list(range(len(validation)))
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes == {"calibration": 6, "thresholds": 15, "selection": 9}
    first = parts["calibration"][0]
    assert prepared.validation_part("calibration").texts[0] == validation.texts[first]


def test_a_share_of_the_native_sets_joins_validation_and_leaves_training(raw, prepared, tmp_path):
    after = _prepared(raw, tmp_path / "shared", validation_share=0.2)
    joined = Counter(after.split("validation").origins)
    assert joined["ru_goemotions"] == len(prepared.split("validation"))
    assert (joined["cedr"], joined["brighter_rus"]) == (6, 4)
    assert not set(after.split("validation").texts) & set(after.split("train").texts)
    assert len(prepared.split("train")) - len(after.split("train")) == 10


def test_the_same_seed_gives_the_same_files_and_another_seed_others(raw, tmp_path):
    first, again, other = (
        _prepared(raw, tmp_path / f"{i}", seed=seed).manifest.splits
        for i, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert other["test_brighter"] != first["test_brighter"]
    assert other["test_cedr"] == first["test_cedr"]


def test_the_manifest_records_licences_hashes_and_bad_rows(raw, tmp_path):
    with (raw / "cedr/cedr-main-train.csv").open("a", encoding="utf-8") as file:
        file.write("Лишняя,строка,lj\n")
    manifest = prepare(PrepareConfig(raw, tmp_path / "prepared"))
    cedr = next(s for s in manifest.sources if s.name == "cedr")
    assert cedr.licence == "Apache-2.0"
    assert cedr.annotates == ("anger", "fear", "joy", "sadness", "surprise")
    assert [row.row for row in cedr.bad_rows["train"]] == [31]
    written = json.loads((tmp_path / "prepared" / "prepared.json").read_text(encoding="utf-8"))
    assert written == json.loads(manifest.to_json())


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 99}', "\ud800"])
def test_a_folder_that_was_not_prepared_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "prepared.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError):
        PreparedData.open(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1},
        {"brighter_test_share": 1.0},
        {"without": ("ru_goemotions",)},
        {"labels": "goemotions-28", "desk": Path("desk.csv")},
    ],
)
def test_settings_out_of_range_are_refused_by_name(tmp_path, values):
    with pytest.raises(InputError, match=list(values)[-1]):
        PrepareConfig(tmp_path, tmp_path, **values)


def test_goemotions_labels_come_from_goemotions_alone_and_reach_each_part(raw, tmp_path):
    # Every text has one of GoEmotions' own labels that the seven do not have.
    words = {"gratitude": "спасибо", "grief": "горюю", "curiosity": "интересно"}
    for seed, name in enumerate(("train_partial", "validation", "test")):
        write_set(raw, f"ru_goemotions/{name}.csv", telling_rows(60, seed, words))
    fine = _prepared(raw, tmp_path / "fine", "goemotions-28")
    assert fine.label_set == GOEMOTIONS
    assert set(fine.manifest.splits) == {"test_goemotions", "validation", "train"}
    assert [source.name for source in fine.manifest.sources] == ["ru_goemotions"]
    train = fine.split("train")
    gratitude = train.targets[:, GOEMOTIONS.index("gratitude")]
    assert gratitude.tolist() == [int("спасибо" in text) for text in train.texts]
    assert (train.targets >= 0).all(), "GoEmotions annotates all of its labels"
    grief = GOEMOTIONS.index("grief")
    counts = {p: int((fine.validation_part(p).targets[:, grief] == 1).sum()) for p in SHARES}
    total = sum(counts.values())
    assert counts == {p: pytest.approx(share * total, abs=1) for p, share in SHARES.items()}


def _with_manifest(changed, **changes):
    path = changed.folder / "prepared.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) | changes
    for key in [key for key, value in changes.items() if value is None]:
        del manifest[key]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return changed.folder


def test_a_folder_of_before_there_were_label_sets_has_the_seven(changed):
    opened = PreparedData.open(_with_manifest(changed, label_set=None, label_names_ru=None))
    assert opened.label_set is EKMAN
    assert len(opened.split("train"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_set": None, "labels": ["joy"]}, "does not say which label set"),
        ({"labels": None}, "labels"),
        ({"label_set": 7}, "label_set: expected str"),
        ({"label_names_ru": {"rage": "ярость"}}, "does not describe its label set"),
        ({"labels": ["joy", "fear"], "label_names_ru": {}}, "but they are joy, fear"),
    ],
)
def test_a_manifest_that_does_not_tell_its_labels_is_refused(changed, changes, message):
    with pytest.raises(DataError, match=message):
        PreparedData.open(_with_manifest(changed, **changes))


def test_a_split_that_is_not_there_or_not_as_it_was_prepared_is_refused(changed):
    for name in ("test", "../train", "validation:rest"):
        with pytest.raises(DataError, match=r"has no split .*it has test_goemotions"):
            changed.check_splits([name])
    data = changed.split("train")
    path = changed.folder / "train.parquet"
    data.select(range(len(data) - 1)).save(path)
    with pytest.raises(DataError, match="its hash differs"):
        changed.split("train")
    path.write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        LabelledTexts.load(path, EKMAN)
    path.unlink()
    with pytest.raises(DataError, match=r"train\.parquet does not exist"):
        changed.split("train")


def _targets(rows, rates):
    rng = np.random.default_rng(3)
    return (rng.random((rows, len(rates))) < rates).astype(np.int8)


@pytest.mark.parametrize("deal", [random_parts, stratified_parts])
def test_every_row_goes_to_one_part_and_the_parts_have_their_shares(deal):
    targets = _targets(1000, (0.4, 0.1, 0.02))
    rows = len(targets) if deal is random_parts else targets
    parts = deal(rows, SHARES, np.random.default_rng(0))
    assert sorted(i for part in parts.values() for i in part) == list(range(1000))
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes == {n: pytest.approx(1000 * share, abs=5) for n, share in SHARES.items()}


# Sets that are added: the English original, a support desk


def _english(raw, rows):
    write_csv(raw / "goemotions_en/train.csv", ("text", "labels", "id"), rows)


def _russian(raw, split, rows):
    cells = [[text, "english", "[17]", number] for text, number in rows]
    write_csv(raw / f"ru_goemotions/{split}.csv", ("ru_text", "text", "labels", "id"), cells)


def test_english_rows_join_without_those_whose_twin_is_held_out(raw, tmp_path):
    _russian(raw, "validation", [(f"проверка номер {word}", f"v{word}") for word in "абвгде"])
    _russian(raw, "test", [(LONG, "t1"), ("просто проверочный текст про кошку", "t2")])
    leaked = (LONG.replace("старого", "старую"), "leak")
    _russian(raw, "train_partial", [("я очень рад", "ok"), leaked, ("ещё одна строка", "ru")])
    english = [
        ("I am very glad", "[17]", "ok"),
        ("a twin of validation", "[2]", "vа"),
        ("A twin of a training row that was dropped", "[2]", "leak"),
        ("a twin of a training row that was dropped!", "[2]", "copy-of-leak"),
        ("only in English", "[3 4]", "en"),
        ("Only in English.", "[3 4]", "same-text"),
        ("said again", "[3]", "en"),
        ("я очень рад", "[17]", "untranslated"),
    ]
    _english(raw, english)
    data = _prepared(raw, tmp_path / "out", "goemotions-28", english=True)
    train, manifest = data.split("train"), data.manifest
    found = {t for t, o in zip(train.texts, train.origins, strict=True) if o == "goemotions_en"}
    assert found == {"I am very glad", "only in English"}
    assert train.texts[:2] == ("я очень рад", "ещё одна строка")
    assert manifest.dropped["goemotions_en"] == {
        "same_id": 1,
        "twin_of_held_out": 2,
        "empty_after_normalising": 0,
        "duplicates": 2,
        "equal_to_held_out": 1,
        "near_equal_to_held_out": 0,
    }
    assert sum(manifest.dropped["goemotions_en"].values()) + len(found) == len(english)
    source = next(s for s in manifest.sources if s.name == "goemotions_en")
    assert (source.licence, source.synthetic) == ("Apache-2.0", False)


def test_without_ids_no_english_row_is_let_in(raw, tmp_path):
    _english(raw, [("a", "[1]", "x")])
    write_csv(raw / "ru_goemotions/test.csv", ("ru_text", "labels"), [("да", "[1]")])
    with pytest.raises(DataError, match="ru_goemotions test lacks ids"):
        prepare(PrepareConfig(raw, tmp_path / "out", english=True))


def test_desk_rows_join_are_marked_and_screened(raw, prepared, tmp_path):
    desk, check = tmp_path / "desk.csv", tmp_path / "checklist.csv"
    rows = [
        ("верните мои деньги это просто грабёж", "client", "bank", "anger, disgust"),
        ("к сожалению ничем не могу вам помочь", "operator", "bank", "neutral"),
        ("оставайтесь на линии я уточню", "operator", "telecom", "neutral"),
        ("не та метка", "client", "bank", "rage"),
        ("без метки", "client", "bank", ""),
    ]
    write_csv(desk, ("text", "role", "trade", "labels"), rows)
    write_csv(check, ("group", "text"), [("а", "К сожалению, ничем не могу вам помочь!")])
    seen = []
    config = PrepareConfig(raw, tmp_path / "out", desk=desk, screen=(check,))
    manifest = prepare(config, seen.append)
    source = next(s for s in manifest.sources if s.name == "support_desk")
    assert (source.licence, source.synthetic) == ("CC0-1.0", True)
    assert source.annotates == EKMAN.labels
    assert source.files["train"].name == "desk.csv"
    assert [(row.row, row.reason.split(" is not")[0]) for row in source.bad_rows["train"]] == [
        (4, "label 'rage'"),
        (5, "labels are empty; a row without an emotion is neutral"),
    ]
    assert manifest.dropped["train"]["near_equal_to_screen"] == 1
    assert manifest.screen == {
        "files": {"checklist.csv": sha256_file(check)},
        "dropped": {"support_desk": 1},
    }
    train = PreparedData.open(tmp_path / "out").split("train")
    added = train.select([i for i, o in enumerate(train.origins) if o == "support_desk"])
    assert added.texts == (rows[0][0], rows[2][0])
    assert added.targets.tolist() == [[1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]]
    for name in ("validation", "test_goemotions", "test_brighter"):
        assert manifest.splits[name] == prepared.manifest.splits[name]
    notes = list(dict.fromkeys(told.note for told in seen))
    stages = [f"looking for leaks in {name}" for name in ("validation", "train")]
    assert notes[0] == "read ru_goemotions train"
    assert notes[-4:] == [*stages, "screening train", "dealing and writing"]


def test_sets_can_be_left_out(raw, tmp_path):
    data = _prepared(raw, tmp_path / "out", without=("brighter_rus", "ru_izard"))
    assert [source.name for source in data.manifest.sources] == ["ru_goemotions", "cedr"]
    assert "test_brighter" not in data.manifest.splits
