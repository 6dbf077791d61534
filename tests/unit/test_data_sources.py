from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raw_sets import FILES, telling_rows, write_csv, write_set

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.sources import SOURCES, read_source
from ov_emotions.errors import DataError
from ov_emotions.labels import EKMAN
from ov_emotions.texts import BadRow

BY_NAME = {source.name: source for source in SOURCES}
ALL = [(source.name, split) for source in SOURCES for split in source.files]


def _write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")
    return path


def _read(folder: Path, name: str, split: str) -> tuple[LabelledTexts, tuple[BadRow, ...]]:
    found = read_source(BY_NAME[name], folder, split)
    return found.data, found.bad


def _targets(data, row=0) -> dict[str, int]:
    return dict(zip(EKMAN.labels, data.targets[row].tolist(), strict=True))


def test_goemotions_cells_are_lists_of_indices_as_numpy_prints_them(tmp_path):
    _write(
        tmp_path,
        "ru_goemotions/test.csv",
        "ru_text,text,labels,id\r\n"
        'Ты знаешь ответ,You know,[ 4 27],a\r\n"Мне жаль, правда",Sorry,[25],b\r\nПусто,,[],c\r\n',
    )
    data, bad = _read(tmp_path, "ru_goemotions", "test")
    assert not bad
    # 4 is approval, which is joy; 25 is sadness.
    assert [label for label, value in _targets(data, 0).items() if value] == ["joy", "neutral"]
    assert [label for label, value in _targets(data, 1).items() if value] == ["sadness"]
    assert not any(_targets(data, 2).values())


def test_an_empty_cedr_row_says_nothing_of_disgust_and_neutral(tmp_path):
    _write(tmp_path, "cedr/cedr-main-test.csv", "text,labels,source\nОбычный день .,[],lj\n")
    data, _ = _read(tmp_path, "cedr", "test")
    assert _targets(data) == {
        "anger": 0,
        "disgust": -1,
        "fear": 0,
        "joy": 0,
        "sadness": 0,
        "surprise": 0,
        "neutral": -1,
    }


def test_izard_guilt_and_enthusiasm_go_where_the_ekman_map_puts_their_like(tmp_path):
    columns = FILES["ru_izard/train_clean.csv"]
    row = ["Текст", *(int(c in ("guilt", "enthusiasm")) for c in columns[1:])]
    write_csv(tmp_path / "ru_izard/train_clean.csv", columns, [row])
    data, _ = _read(tmp_path, "ru_izard", "train")
    assert [label for label, value in _targets(data).items() if value] == ["joy", "sadness"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("   ,[1],lj", "the text is empty"),
        (",[1],lj", "the text is empty"),
        ("Текст,joy,lj", "'joy' are not a list of indices"),
        ("Текст,,lj", "'' are not a list of indices"),
        ("Текст", "None are not a list of indices"),
        ("Текст,[5],lj", "label 5 is not among the 5"),
        ("Текст,[-1],lj", "not a list of indices"),
    ],
)
def test_a_bad_row_is_left_out_with_its_number_and_the_others_read(tmp_path, line, reason):
    _write(
        tmp_path,
        "cedr/cedr-main-train.csv",
        f"text,labels,source\nПервый,[0],lj\n{line}\nТретий,[1],lj\n",
    )
    data, bad = _read(tmp_path, "cedr", "train")
    assert data.texts == ("Первый", "Третий")
    assert data.rows.tolist() == [1, 3]
    assert [row.row for row in bad] == [2]
    assert reason in bad[0].reason


@pytest.mark.parametrize("cell", ["2", "", "nan", "да"])
def test_a_one_hot_cell_that_is_neither_0_nor_1_makes_a_bad_row(tmp_path, cell):
    header = ",".join(FILES["brighter_rus/train.csv"])
    _write(
        tmp_path,
        "brighter_rus/train.csv",
        f"{header}\na,Хорошо,0,0,0,1,0,0\nb,Плохо,0,0,{cell},0,0,0\n",
    )
    data, bad = _read(tmp_path, "brighter_rus", "train")
    assert data.texts == ("Хорошо",)
    assert bad[0].row == 2
    assert f"column fear holds {cell!r}" in bad[0].reason


@pytest.mark.parametrize(("name", "split"), ALL)
def test_every_set_is_read_in_its_own_format(tmp_path, name, split):
    rows = telling_rows(20, seed=1)
    source = BY_NAME[name]
    write_set(tmp_path, source.files[split], rows)
    data, bad = _read(tmp_path, name, split)
    assert not bad
    assert data.texts == tuple(text for text, _ in rows)
    assert data.rows.tolist() == list(range(1, 21))
    assert set(data.origins) == {name}
    known = [key for key in EKMAN.labels if source.label_map.parts.get(key)]
    for i, (_, labels) in enumerate(rows):
        expected = {label: int(label in labels) if label in known else -1 for label in EKMAN.labels}
        assert _targets(data, i) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cedr-main-train\.csv does not exist"),
        (b"", "lacks the columns text, labels"),
        (b"texts,source\nx,lj\n", r"cedr-main-train\.csv lacks the columns text, labels"),
        ("text,labels\nПривет,[0]\n".encode("cp1251"), "cannot be read as UTF-8 CSV"),
        # A quote that is never closed must not swallow the rest.
        ('text,labels\n"Первый,[0]\nВторой,[1]\n'.encode(), "cannot be read as UTF-8 CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content, message):
    path = tmp_path / "cedr/cedr-main-train.csv"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        _read(tmp_path, "cedr", "train")


def test_a_byte_order_mark_and_bad_rows_alone_are_no_obstacle(tmp_path):
    _write(tmp_path, "cedr/cedr-main-test.csv", "\ufefftext,labels,source\n,[0],lj\n")
    data, bad = _read(tmp_path, "cedr", "test")
    assert (data.targets.shape, data.targets.dtype, len(bad)) == ((0, 7), np.int8, 1)
