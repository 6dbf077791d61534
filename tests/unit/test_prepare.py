from __future__ import annotations

import json

import numpy as np
import pytest
from raw_sets import FILES, telling_rows, write_raw, write_set

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.prepare import PreparedData, prepare
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.errors import DataError, InputError
from ov_emotions.labels import CEDR, EKMAN, GOEMOTIONS
from ov_emotions.normalize import normalize

pytest.importorskip("pyarrow", reason="prepared data are Parquet")

SIZES = dict.fromkeys(FILES, 30)
LONG = "сегодня утром на большой дороге я встретил старого друга и мы долго говорили обо всём"


@pytest.fixture
def raw(tmp_path):
    write_raw(tmp_path / "raw", SIZES)
    return tmp_path / "raw"


@pytest.fixture
def prepared(raw, tmp_path):
    prepare(PrepareConfig(raw, tmp_path / "prepared"))
    return PreparedData.open(tmp_path / "prepared")


def test_no_training_text_equals_a_held_out_one(prepared):
    train = {normalize(text) for text in prepared.split("train").texts}
    for name in ("validation", "test_goemotions", "test_cedr", "test_brighter"):
        assert train.isdisjoint(normalize(text) for text in prepared.split(name).texts)


def test_what_is_dropped_is_counted_by_reason(raw, tmp_path):
    before = prepare(PrepareConfig(raw, tmp_path / "before"))
    extra = [
        ("!!! …", ("joy",)),
        (LONG, ("joy",)),
        (LONG.upper() + "!", ("joy",)),
        *telling_rows(30, seed=list(FILES).index("ru_goemotions/test.csv"))[:2],
    ]
    izard = telling_rows(30, seed=list(FILES).index("ru_izard/train_clean.csv"))
    write_set(raw, "ru_izard/train_clean.csv", [*izard, *extra])
    test = telling_rows(30, seed=list(FILES).index("cedr/cedr-main-test.csv"))
    write_set(raw, "cedr/cedr-main-test.csv", [*test, (LONG.replace("старого", "старую"), ())])
    after = prepare(PrepareConfig(raw, tmp_path / "after"))
    difference = {
        reason: count - before["dropped"]["train"][reason]
        for reason, count in after["dropped"]["train"].items()
    }
    assert difference == {
        "empty_after_normalising": 1,
        "duplicates": 1,
        "equal_to_held_out": 2,
        "near_equal_to_held_out": 1,
    }
    assert after["splits"]["train"]["rows"] == before["splits"]["train"]["rows"]


@pytest.mark.parametrize("held_out", ["ru_goemotions/validation.csv", "cedr/cedr-main-test.csv"])
def test_a_training_row_alike_a_held_out_one_of_another_set_is_dropped(raw, tmp_path, held_out):
    write_set(raw, held_out, [*telling_rows(30, seed=list(FILES).index(held_out)), (LONG, ())])
    izard = telling_rows(30, seed=list(FILES).index("ru_izard/train_clean.csv"))
    alike = [(f"{LONG}!", ()), (LONG.replace("старого", "старую"), ())]
    write_set(raw, "ru_izard/train_clean.csv", [*izard, *alike])
    prepare(PrepareConfig(raw, tmp_path / "prepared"))
    texts = PreparedData.open(tmp_path / "prepared").split("train").texts
    assert not [text for text in texts if text.startswith("сегодня утром")]


def test_a_validation_row_that_equals_a_test_row_is_dropped_and_the_test_row_kept(raw, tmp_path):
    test = telling_rows(30, seed=list(FILES).index("ru_goemotions/test.csv"))
    validation = telling_rows(30, seed=list(FILES).index("ru_goemotions/validation.csv"))
    write_set(raw, "ru_goemotions/validation.csv", [test[0], *validation])
    manifest = prepare(PrepareConfig(raw, tmp_path / "prepared"))
    assert manifest["dropped"]["validation"]["equal_to_held_out"] == 1
    assert manifest["splits"]["test_goemotions"]["rows"] == 30
    assert manifest["splits"]["validation"]["rows"] == 30


def test_every_row_is_used_or_counted_as_dropped(prepared):
    manifest = prepared.manifest
    read = sum(s["files"]["train"]["rows"] for s in manifest["sources"])
    held = manifest["splits"]["test_brighter"]["rows"]
    dropped = sum(manifest["dropped"]["train"].values())
    assert manifest["splits"]["train"]["rows"] == read - held - dropped
    assert sum(manifest["splits"]["train"]["rows_by_origin"].values()) == read - held - dropped


def test_parts_of_validation_are_disjoint_and_cover_it(prepared):
    parts = prepared.manifest["validation_parts"]
    indices = [i for part in parts.values() for i in part]
    assert sorted(indices) == list(range(len(prepared.split("validation"))))
    assert {name: len(part) for name, part in parts.items()} == {
        "calibration": 6,
        "thresholds": 15,
        "selection": 9,
    }
    part = prepared.validation_part("calibration")
    assert part.texts[0] == prepared.split("validation").texts[parts["calibration"][0]]


def test_the_held_out_part_of_brighter_is_a_share_and_disjoint_from_training(prepared):
    held = prepared.split("test_brighter")
    train = prepared.split("train")
    rows = {
        int(row)
        for row, origin in zip(train.rows, train.origins, strict=True)
        if origin == "brighter_rus"
    }
    assert len(held) == round(0.25 * 30)
    assert rows.isdisjoint(held.rows.tolist())


def test_unknown_labels_survive_the_folder(prepared):
    train = prepared.split("train")
    cedr = np.array(train.origins) == "cedr"
    unknown = [label not in CEDR.labels for label in EKMAN.labels]
    assert (train.targets[cedr][:, unknown] == -1).all()
    assert (train.targets[cedr][:, ~np.array(unknown)] >= 0).all()
    counts = prepared.manifest["splits"]["test_cedr"]["labels"]["disgust"]
    assert counts == {"present": 0, "absent": 0, "unknown": 30}


def test_the_same_seed_gives_the_same_files_and_another_seed_others(raw, tmp_path):
    def hashes(seed: int, name: str) -> dict[str, str]:
        manifest = prepare(PrepareConfig(raw, tmp_path / name, seed=seed))
        return {split: facts["sha256"] for split, facts in manifest["splits"].items()}

    first = hashes(1, "a")
    assert hashes(1, "b") == first
    other = hashes(2, "c")
    assert other["test_brighter"] != first["test_brighter"]
    assert other["test_cedr"] == first["test_cedr"]


def test_the_manifest_records_licences_hashes_and_bad_rows(raw, tmp_path):
    with (raw / "cedr/cedr-main-train.csv").open("a", encoding="utf-8") as file:
        file.write("Лишняя,строка,lj\n")
    manifest = prepare(PrepareConfig(raw, tmp_path / "prepared"))
    cedr = next(s for s in manifest["sources"] if s["name"] == "cedr")
    assert cedr["licence"] == "Apache-2.0"
    assert cedr["annotates"] == ["anger", "fear", "joy", "sadness", "surprise"]
    assert [row["row"] for row in cedr["bad_rows"]["train"]] == [31]
    written = json.loads((tmp_path / "prepared" / "prepared.json").read_text(encoding="utf-8"))
    assert written == manifest


def test_a_tampered_split_is_refused(prepared):
    path = prepared.folder / "train.parquet"
    data = prepared.split("train")
    data.select(range(len(data) - 1)).save(path)
    with pytest.raises(DataError, match="its hash differs"):
        prepared.split("train")


def test_a_truncated_split_is_refused(prepared):
    path = prepared.folder / "validation.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="its hash differs"):
        prepared.validation_part("selection")


def test_a_missing_split_file_is_named(prepared):
    (prepared.folder / "train.parquet").unlink()
    with pytest.raises(DataError, match=r"train\.parquet does not exist"):
        prepared.split("train")


@pytest.mark.parametrize("name", ["test", "../train"])
def test_a_split_that_does_not_exist_is_refused(prepared, name):
    with pytest.raises(DataError, match=r"has no split .*it has test_goemotions"):
        prepared.split(name)


def test_a_part_that_does_not_exist_is_refused(prepared):
    with pytest.raises(DataError, match=r"no split 'validation:rest'.*validation:selection"):
        prepared.validation_part("rest")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 99}', "\ud800"])
def test_a_folder_that_was_not_prepared_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "prepared.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError):
        PreparedData.open(tmp_path)


def test_a_missing_raw_file_leaves_no_prepared_folder(raw, tmp_path):
    (raw / "cedr/cedr-main-test.csv").unlink()
    with pytest.raises(DataError, match=r"cedr-main-test\.csv does not exist"):
        prepare(PrepareConfig(raw, tmp_path / "prepared"))
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1},
        {"brighter_test_share": 1.0},
        {"brighter_test_share": -0.1},
        {"near_threshold": 0.0},
        {"near_threshold": 1.5},
    ],
)
def test_settings_out_of_range_are_refused_by_name(tmp_path, values):
    with pytest.raises(InputError, match=next(iter(values))):
        PrepareConfig(tmp_path, tmp_path, **values)


def _data(rows: int) -> LabelledTexts:
    return LabelledTexts(
        EKMAN,
        tuple(f"т{i}" for i in range(rows)),
        np.full((rows, 7), -1, dtype=np.int8),
        ("x",) * rows,
        np.arange(rows),
    )


def test_targets_that_do_not_fit_the_texts_are_refused():
    with pytest.raises(DataError, match="shape"):
        LabelledTexts(EKMAN, ("a",), np.zeros((1, 3), dtype=np.int8), ("x",), np.arange(1))
    with pytest.raises(DataError, match="differ in length"):
        LabelledTexts(EKMAN, ("a",), np.zeros((1, 7), dtype=np.int8), ("x", "y"), np.arange(1))


def test_sets_of_other_labels_are_not_joined():
    other = LabelledTexts(CEDR, ("a",), np.zeros((1, 5), dtype=np.int8), ("x",), np.arange(1))
    with pytest.raises(DataError, match="different labels"):
        LabelledTexts.concatenate([_data(1), other])


def test_a_file_that_is_no_parquet_or_lacks_columns_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        LabelledTexts.load(path, EKMAN)
    LabelledTexts(CEDR, ("a",), np.zeros((1, 5), dtype=np.int8), ("x",), np.arange(1)).save(path)
    with pytest.raises(DataError, match="lacks the columns disgust, neutral"):
        LabelledTexts.load(path, EKMAN)


# Label sets


@pytest.fixture
def fine(raw, tmp_path):
    # Every text has one of GoEmotions' own labels that the seven do not have.
    words = {"gratitude": "спасибо", "grief": "горюю", "curiosity": "интересно"}
    for seed, name in enumerate(("train_partial", "validation", "test")):
        write_set(raw, f"ru_goemotions/{name}.csv", telling_rows(60, seed, words))
    prepare(PrepareConfig(raw, tmp_path / "fine", "goemotions-28"))
    return PreparedData.open(tmp_path / "fine")


def test_goemotions_labels_come_from_goemotions_alone(fine):
    assert fine.label_set == GOEMOTIONS
    assert set(fine.manifest["splits"]) == {"test_goemotions", "validation", "train"}
    assert [source["name"] for source in fine.manifest["sources"]] == ["ru_goemotions"]
    train = fine.split("train")
    gratitude = train.targets[:, GOEMOTIONS.index("gratitude")]
    assert gratitude.tolist() == [int("спасибо" in text) for text in train.texts]
    assert (train.targets >= 0).all(), "GoEmotions annotates all of its labels"


def test_a_rare_label_of_validation_reaches_each_of_its_parts(fine):
    grief = GOEMOTIONS.index("grief")
    counts = {
        name: int((fine.validation_part(name).targets[:, grief] == 1).sum())
        for name in ("calibration", "thresholds", "selection")
    }
    total = sum(counts.values())
    assert counts == {
        name: pytest.approx(share * total, abs=1)
        for name, share in {"calibration": 0.2, "thresholds": 0.5, "selection": 0.3}.items()
    }


def _with_manifest(prepared, **changes):
    manifest = prepared.manifest | changes
    for key in [key for key, value in changes.items() if value is None]:
        del manifest[key]
    (prepared.folder / "prepared.json").write_text(json.dumps(manifest), encoding="utf-8")
    return prepared.folder


def test_a_folder_of_before_there_were_label_sets_has_the_seven(prepared):
    folder = _with_manifest(prepared, label_set=None, label_names_ru=None)
    opened = PreparedData.open(folder)
    assert opened.label_set is EKMAN
    assert len(opened.split("train"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_set": None, "labels": ["joy"]}, "does not say which label set"),
        ({"labels": None}, "does not describe its label set"),
        ({"label_set": 7}, "does not describe its label set"),
        ({"label_names_ru": {"rage": "ярость"}}, "does not describe its label set"),
        ({"labels": ["joy", "fear"], "label_names_ru": {}}, "but they are joy, fear"),
    ],
)
def test_a_manifest_that_does_not_tell_its_labels_is_refused(prepared, changes, message):
    with pytest.raises(DataError, match=message):
        PreparedData.open(_with_manifest(prepared, **changes))


def test_the_first_test_split_is_for_final_figures(prepared, fine):
    assert prepared.test_split == fine.test_split == "test_goemotions"
    del fine.manifest["splits"]["test_goemotions"]
    assert fine.test_split is None
