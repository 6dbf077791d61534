from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raw_sets import FILES, telling_rows, write_csv, write_set

from ov_emotions.data.sources import SOURCES, read_source
from ov_emotions.errors import DataError
from ov_emotions.labels import EKMAN

BY_NAME = {source.name: source for source in SOURCES}
ALL = [(source.name, split) for source in SOURCES for split in source.files]


def _write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")
    return path


def _targets(data, row=0) -> dict[str, int]:
    return dict(zip(EKMAN.labels, data.targets[row].tolist(), strict=True))


@pytest.mark.parametrize(("name", "split"), ALL)
def test_every_set_is_read_in_its_own_format(tmp_path, name, split):
    rows = telling_rows(20, seed=1)
    source = BY_NAME[name]
    write_set(tmp_path, source.files[split], rows)
    data, bad = read_source(source, tmp_path, split)
    assert not bad
    assert data.texts == tuple(text for text, _ in rows)
    assert data.rows.tolist() == list(range(1, 21))
    assert set(data.origins) == {name}
    for i, (_, labels) in enumerate(rows):
        for label, value in _targets(data, i).items():
            known = label in [key for key in EKMAN.labels if source.label_map.parts.get(key)]
            assert value == (int(label in labels) if known else -1)


def test_goemotions_cells_are_lists_of_indices_as_numpy_prints_them(tmp_path):
    _write(
        tmp_path,
        "ru_goemotions/test.csv",
        "ru_text,text,labels,id\r\n"
        'Ты знаешь ответ,You know,[ 4 27],a\r\n"Мне жаль, правда",Sorry,[25],b\r\nПусто,,[],c\r\n',
    )
    data, bad = read_source(BY_NAME["ru_goemotions"], tmp_path, "test")
    assert not bad
    # 4 is approval, which is joy; 25 is sadness.
    assert [label for label, value in _targets(data, 0).items() if value] == ["joy", "neutral"]
    assert [label for label, value in _targets(data, 1).items() if value] == ["sadness"]
    assert not any(_targets(data, 2).values())


def test_an_empty_cedr_row_says_nothing_of_disgust_and_neutral(tmp_path):
    _write(tmp_path, "cedr/cedr-main-test.csv", "text,labels,source\nОбычный день .,[],lj\n")
    data, _ = read_source(BY_NAME["cedr"], tmp_path, "test")
    assert _targets(data) == {
        "anger": 0,
        "disgust": -1,
        "fear": 0,
        "joy": 0,
        "sadness": 0,
        "surprise": 0,
        "neutral": -1,
    }


def test_brighter_does_not_annotate_neutral(tmp_path):
    write_set(tmp_path, "brighter_rus/train.csv", [("Тихо", ())])
    data, _ = read_source(BY_NAME["brighter_rus"], tmp_path, "train")
    assert _targets(data)["neutral"] == -1
    assert _targets(data)["disgust"] == 0


def test_izard_guilt_and_enthusiasm_go_where_the_ekman_map_puts_their_like(tmp_path):
    columns = FILES["ru_izard/train_clean.csv"]
    row = ["Текст", *(int(c in ("guilt", "enthusiasm")) for c in columns[1:])]
    write_csv(tmp_path / "ru_izard/train_clean.csv", columns, [row])
    data, _ = read_source(BY_NAME["ru_izard"], tmp_path, "train")
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
    data, bad = read_source(BY_NAME["cedr"], tmp_path, "train")
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
    data, bad = read_source(BY_NAME["brighter_rus"], tmp_path, "train")
    assert data.texts == ("Хорошо",)
    assert bad[0].row == 2
    assert f"column fear holds {cell!r}" in bad[0].reason


def test_a_file_of_bad_rows_only_gives_an_empty_set(tmp_path):
    _write(tmp_path, "cedr/cedr-main-train.csv", "text,labels,source\n,[0],lj\n")
    data, bad = read_source(BY_NAME["cedr"], tmp_path, "train")
    assert data.targets.shape == (0, 7)
    assert data.targets.dtype == np.int8
    assert len(bad) == 1


def test_missing_columns_are_named(tmp_path):
    path = _write(tmp_path, "cedr/cedr-main-train.csv", "texts,source\nПервый,lj\n")
    with pytest.raises(DataError, match="lacks the columns text, labels") as caught:
        read_source(BY_NAME["cedr"], tmp_path, "train")
    assert str(path) in str(caught.value)


def test_an_empty_file_lacks_all_columns(tmp_path):
    _write(tmp_path, "cedr/cedr-main-train.csv", "")
    with pytest.raises(DataError, match="lacks the columns text, labels"):
        read_source(BY_NAME["cedr"], tmp_path, "train")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cedr-main-train\.csv does not exist"):
        read_source(BY_NAME["cedr"], tmp_path, "train")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "cedr/cedr-main-train.csv").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read"):
        read_source(BY_NAME["cedr"], tmp_path, "train")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    path = _write(tmp_path, "cedr/cedr-main-train.csv", "")
    path.write_bytes("text,labels,source\nПривет,[0],lj\n".encode("cp1251"))
    with pytest.raises(DataError, match="cannot be read as UTF-8 CSV"):
        read_source(BY_NAME["cedr"], tmp_path, "train")


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest(tmp_path):
    _write(
        tmp_path, "cedr/cedr-main-train.csv", 'text,labels,source\n"Первый,[0],lj\nВторой,[1],lj\n'
    )
    with pytest.raises(DataError, match="cannot be read as UTF-8 CSV"):
        read_source(BY_NAME["cedr"], tmp_path, "train")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    _write(tmp_path, "cedr/cedr-main-test.csv", "\ufefftext,labels,source\nДа,[0],lj\n")
    data, _ = read_source(BY_NAME["cedr"], tmp_path, "test")
    assert data.texts == ("Да",)
