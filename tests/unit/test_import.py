from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from raw_sets import telling_rows, write_csv

from ov_emotions.cli.main import main
from ov_emotions.data.dataset import PreparedData
from ov_emotions.data.importing import import_data
from ov_emotions.data.own_labels import listed_labels, one_hot_cell
from ov_emotions.data.settings import ImportConfig
from ov_emotions.errors import DataError, InputError
from ov_emotions.labels import CEDR
from ov_emotions.normalize import normalize
from ov_emotions.texts import BadRow

pytest.importorskip("pyarrow", reason="prepared data are Parquet")

WORDS = {"joy": "радость", "гнев, злость": "злюсь", "тоска": "грущу"}
LABELS = tuple(WORDS)


def _one_hot(count: int = 200, seed: int = 0, labels: tuple[str, ...] = LABELS) -> list[list[Any]]:
    words = {label: WORDS.get(label, label) for label in labels}
    rows = telling_rows(count, seed, words)
    return [[text, *(int(label in present) for label in labels)] for text, present in rows]


HEADER = ("text", *LABELS)


def _file(path: Path, rows: list[list[Any]], header: tuple[str, ...] = HEADER) -> Path:
    write_csv(path, header, rows)
    return path


def _import(output: Path, *files: Path, **values: Any) -> PreparedData:
    import_data(ImportConfig(files, output, **values))
    return PreparedData.open(output)


def _present(prepared: PreparedData, split: str) -> dict[str, set[str]]:
    data = prepared.split(split)
    return {
        text: {label for label, value in zip(LABELS, row, strict=True) if value == 1}
        for text, row in zip(data.texts, data.targets, strict=True)
    }


# Cells


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *((cell, 1) for cell in (1, 1.0, True, "1", "1.0", " 1 ", "True")),
        *((cell, 0) for cell in (0, 0.0, False, "0", "0.0", "false")),
        *((cell, -1) for cell in (None, "", " ", "NaN", "nan", float("nan"))),
        *((cell, None) for cell in (2, -1, 0.5, "2", "yes", "1,0", [1], {"a": 1}, float("inf"))),
    ],
)
def test_a_one_hot_cell_says_present_absent_or_unknown_or_is_refused(cell, value):
    if value is None:
        with pytest.raises(DataError, match=r"column 'joy' holds .* expected 0, 1 or nothing"):
            one_hot_cell("joy", cell)
    else:
        assert one_hot_cell("joy", cell) == value


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("joy", ("joy",)),
        (" joy , тоска ,", ("joy", "тоска")),
        ("joy,joy", ("joy",)),
        ('["joy", "гнев, злость"]', ("joy", "гнев, злость")),
        ("['joy']", ("joy",)),
        (["joy", "joy"], ("joy",)),
        ("", ()),
        ("[]", ()),
        ([], ()),
    ],
)
def test_a_list_cell_gives_each_label_once(cell, names):
    assert listed_labels("labels", cell, ",") == names


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        *((cell, "not annotated") for cell in (None, float("nan"), "nan")),
        *((cell, "not a list") for cell in (3, {"joy": 1}, "[joy", "[4 27]", "[" * 5000)),
        ("[4]", "lists 4, expected names"),
        (["joy", None], "lists None"),
        (["joy", " "], "blank label"),
    ],
)
def test_a_list_cell_that_is_no_list_of_names_is_refused(cell, message):
    with pytest.raises(DataError, match=message):
        listed_labels("labels", cell, ",")


# What comes out


def test_a_file_becomes_a_prepared_folder_with_its_own_labels(tmp_path):
    rows = _one_hot()
    prepared = _import(
        tmp_path / "out",
        _file(tmp_path / "mine.csv", rows),
        russian={"joy": "радость"},
        licence="CC0-1.0",
        url="https://example.org",
        attribution="мы",
    )
    assert prepared.label_set.name == "mine-3"
    assert prepared.label_set.labels == LABELS
    assert dict(prepared.label_set.russian) == {"joy": "радость"}
    (source,) = prepared.manifest.sources
    assert {key: getattr(source, key) for key in ("name", "licence", "url", "attribution")} == {
        "name": "mine",
        "licence": "CC0-1.0",
        "url": "https://example.org",
        "attribution": "мы",
    }
    expected = {row[0]: {n for n, v in zip(LABELS, row[1:], strict=True) if v} for row in rows}
    for split in ("train", "validation", "test"):
        found = _present(prepared, split)
        assert found.items() <= expected.items()
        assert len(found) == prepared.manifest.splits[split].rows
    assert prepared.manifest.splits["test"].rows == pytest.approx(30, abs=3)


def test_no_text_of_one_split_equals_one_of_another(tmp_path):
    rows = _one_hot()
    rows += [[row[0].upper() + "!", *row[1:]] for row in rows[:50]]
    prepared = _import(tmp_path / "out", _file(tmp_path / "a.csv", rows))
    texts = [
        {normalize(text) for text in prepared.split(split).texts}
        for split in ("train", "validation", "test")
    ]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    assert prepared.manifest.dropped["before splitting"]["duplicates"] == 50


def test_given_splits_stay_apart_and_leaks_are_dropped_and_counted(tmp_path):
    train, validation, test = (_one_hot(n, seed) for seed, n in enumerate((100, 60, 20)))
    near = "сегодня утром на большой дороге я встретил {} друга и мы говорили обо всём"
    test += [test[0], [near.format("старого"), 1, 0, 0]]
    train += [test[1], validation[0], [near.format("старую"), 1, 0, 0]]
    prepared = _import(
        tmp_path / "out",
        _file(tmp_path / "train.csv", train),
        validation=(_file(tmp_path / "v.csv", validation),),
        test=(_file(tmp_path / "t.csv", test),),
    )
    assert list(prepared.split("test").texts) == [row[0] for row in test], "kept as it is"
    assert prepared.manifest.dropped["train"] == {
        "empty_after_normalising": 0,
        "duplicates": 0,
        "equal_to_held_out": 2,
        "near_equal_to_held_out": 1,
    }
    assert prepared.manifest.splits["train"].rows == 100


def test_an_empty_one_hot_cell_is_unknown_and_validation_has_the_parts_of_training(tmp_path):
    rows = _one_hot()
    for row in rows[::4]:
        row[2] = ""
    prepared = _import(tmp_path / "out", _file(tmp_path / "a.csv", rows))
    unknown = sum(facts.labels[LABELS[1]]["unknown"] for facts in prepared.manifest.splits.values())
    assert unknown == 50
    parts = prepared.manifest.validation_parts
    numbers = sorted(i for part in parts.values() for i in part)
    assert numbers == list(range(prepared.manifest.splits["validation"].rows))
    for name in ("calibration", "thresholds", "selection"):
        assert (prepared.validation_part(name).targets == 1).any(axis=0).all()


def test_labels_of_a_known_set_take_its_name_order_and_russian(tmp_path):
    labels = tuple(sorted(CEDR.labels))
    path = _file(tmp_path / "a.csv", _one_hot(300, 0, labels), ("text", *labels))
    prepared = _import(tmp_path / "out", path)
    assert prepared.label_set == CEDR
    train = prepared.split("train")
    joy = train.targets[:, CEDR.index("joy")]
    assert joy.tolist() == [int("радость" in text) for text in train.texts]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "tsv"])
def test_a_list_column_is_read_from_every_format(tmp_path, kind):
    rows = telling_rows(200, 0, WORDS)
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        lines = [json.dumps({"text": text, "labels": labels}) for text, labels in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts, labels = zip(*rows, strict=True)
        pq.write_table(pa.table({"text": texts, "labels": [list(x) for x in labels]}), path)
    else:
        lines = ["text\tlabels", *(f"{text}\t{'|'.join(labels)}" for text, labels in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    prepared = _import(tmp_path / "out", path, labels=LABELS, delimiter="|")
    expected = {text: set(labels) for text, labels in rows}
    assert _present(prepared, "train").items() <= expected.items()
    assert prepared.label_set.labels == LABELS


# Bad rows


def test_bad_rows_are_told_by_number_and_the_good_ones_kept(tmp_path, capsys):
    rows = _one_hot()
    rows[3][1], rows[6][2] = 2, "yes"
    rows[8][1:] = ["", "", ""]
    rows[10][0] = " "
    path = _file(tmp_path / "a.csv", rows)
    flags = ["data", "import", str(path), "--output", str(tmp_path / "out")]
    assert main(flags) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "a.csv: row 4: column 'joy' holds '2', expected 0, 1 or nothing",
        "a.csv: row 7: column 'гнев, злость' holds 'yes', expected 0, 1 or nothing",
        "a.csv: row 9: every label is empty, so the row is not annotated",
        "a.csv: row 11: the text is empty",
        "4 of 200 rows were left out",
    ]
    manifest = PreparedData.open(tmp_path / "out").manifest
    assert sum(split.rows for split in manifest.splits.values()) == 196
    assert "written to" in printed.out


def test_unknown_labels_are_bad_rows(tmp_path):
    rows = [[text, "|".join(labels)] for text, labels in telling_rows(200, 0, WORDS)]
    rows[5][1] = "joy|rage"
    path = _file(tmp_path / "a.csv", rows, ("text", "labels"))
    prepared = _import(tmp_path / "out", path, labels=LABELS, delimiter="|")
    (source,) = prepared.manifest.sources
    reason = "label 'rage' is not among joy, гнев, злость, тоска"
    assert source.bad_rows["a.csv"] == (BadRow(6, reason),)


# Errors


def _refused(tmp_path: Path, message: str, *files: Path, **values: Any) -> None:
    with pytest.raises((DataError, InputError), match=message):
        _import(tmp_path / "out", *files, **values)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        (HEADER, {"label_columns": ("fear",)}, "no column 'fear'; beside 'text' it has joy"),
        (HEADER, {"labels": LABELS}, "has none called labels; name it with --list-column"),
        (HEADER, {"label_columns": ("joy", "joy")}, "named twice: joy"),
        (("text", "joy", "joy", "тоска"), {}, "more than one column 'joy'"),
        (HEADER, {"russian": {"fear": "страх"}}, "russian names fear"),
        (HEADER, {"label_set": "ekman-7"}, "'ekman-7' is a set of 7 other labels"),
        (("t", "text", *LABELS[1:]), {"text_column": "t"}, "'text' cannot be the name of a label"),
        (("text", "a\nb", *LABELS[1:]), {}, "cannot be the name of a label"),
    ],
)
def test_columns_and_names_that_cannot_be_are_refused(tmp_path, header, values, message):
    _refused(tmp_path, message, _file(tmp_path / "a.csv", _one_hot(), header), **values)


def test_columns_that_tell_no_labels_or_twice_are_refused(tmp_path):
    one_hot = _file(tmp_path / "d.csv", _one_hot())
    both = _file(tmp_path / "b.csv", [[*row, "joy"] for row in _one_hot()], (*HEADER, "labels"))
    _refused(tmp_path, "name the one with --list-column", both)
    other = _file(tmp_path / "c.csv", _one_hot(), ("text", "joy", "fear", "тоска"))
    _refused(tmp_path, r"d\.csv has no column 'fear'", one_hot, other)
    path = _file(tmp_path / "a.csv", [["раз", "x"], ["два", "y"]], ("text", "speaker"))
    _refused(tmp_path, "no column of 0 and 1 and none called labels.*speaker", path)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (
            [[*row, int(i < 2)] for i, row in enumerate(_one_hot())],
            (*HEADER, "стыд"),
            "the calibration part of validation has no row with стыд",
        ),
        ([[*row, 0] for row in _one_hot()], (*HEADER, "стыд"), "training has no row with стыд"),
        (
            [[text, *(value or "" for value in values)] for text, *values in _one_hot()],
            HEADER,
            "no row without joy.*write 0",
        ),
        (_one_hot(3), HEADER, "too few to split"),
        ([["одно и то же", 1, 0, 0]] * 50, HEADER, "of 50 rows 1 differ"),
    ],
)
def test_rows_from_which_nothing_is_learned_are_refused(tmp_path, rows, header, message):
    _refused(tmp_path, message, _file(tmp_path / "a.csv", rows, header))


def test_a_test_file_that_is_the_training_file_is_refused(tmp_path):
    leaked = _file(tmp_path / "c.csv", _one_hot())
    _refused(tmp_path, "no rows are left for training", leaked, test=(leaked,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column 'text'"),
        (b"text,joy\n", "has no rows"),
        (b"text,joy\nx,\n", "no column of 0 and 1"),
    ],
)
def test_a_file_with_nothing_in_it_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    _refused(tmp_path, message, tmp_path / "a.csv")


@pytest.mark.parametrize(
    "values",
    [
        {"validation_share": float("nan")},
        {"validation_share": 0.6, "test_share": 0.4},
        {"seed": -1},
        {"delimiter": ""},
        {"licence": " "},
        {"label_columns": ("joy",), "list_column": "labels"},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(values):
    with pytest.raises(InputError, match=next(iter(values))):
        ImportConfig((Path("a.csv"),), Path("out"), **values)
