"""The raw sets in their own formats: what a row says, and what is left out or refused."""

from __future__ import annotations

import pytest
from raw_sets import FILES, telling_rows, write_csv, write_set

from ov_emotions.data.sources import SOURCES, read_source
from ov_emotions.errors import DataError
from ov_emotions.labels import EKMAN

BY_NAME = {source.name: source for source in SOURCES}
ALL = [(source.name, split) for source in SOURCES for split in source.files]


def _read(folder, name, split, content=None):
    """Read a set's file, which holds `content`; give its good rows and the bad ones."""
    source = BY_NAME[name]
    if content is not None:
        path = folder / source.files[split]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_source(source, folder, split)
    return found.data, found.bad


def _targets(data, row=0):
    return dict(zip(EKMAN.labels, data.targets[row].tolist(), strict=True))


def _present(data, row=0):
    return [label for label, value in _targets(data, row).items() if value]


def test_goemotions_cells_are_lists_of_indices_as_numpy_prints_them(tmp_path):
    content = (
        "ru_text,text,labels,id\r\n"
        'Ты знаешь ответ,You know,[ 4 27],a\r\n"Мне жаль, правда",Sorry,[25],b\r\nПусто,,[],c\r\n'
    )
    data, bad = _read(tmp_path, "ru_goemotions", "test", content)
    assert not bad
    # 4 is approval, which is joy; 25 is sadness.
    assert [_present(data, i) for i in range(3)] == [["joy", "neutral"], ["sadness"], []]


def test_an_empty_cedr_row_says_nothing_of_disgust_and_neutral(tmp_path):
    data, _ = _read(tmp_path, "cedr", "test", "text,labels,source\nОбычный день .,[],lj\n")
    unknown = ("disgust", "neutral")
    assert _targets(data) == {label: -1 if label in unknown else 0 for label in EKMAN.labels}


def test_izard_guilt_and_enthusiasm_go_where_the_ekman_map_puts_their_like(tmp_path):
    columns = FILES["ru_izard/train_clean.csv"]
    row = ["Текст", *(int(c in ("guilt", "enthusiasm")) for c in columns[1:])]
    write_csv(tmp_path / "ru_izard/train_clean.csv", columns, [row])
    assert _present(_read(tmp_path, "ru_izard", "train")[0]) == ["joy", "sadness"]


CEDR = "text,labels,source\nПервый,[0],lj\n{}\nТретий,[1],lj\n"
BRIGHTER = ",".join(FILES["brighter_rus/train.csv"])
BRIGHTER += "\na,Первый,0,0,0,1,0,0\nb,Плохо,0,0,{},0,0,0\nc,Третий,0,0,0,1,0,0\n"


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("cedr", "   ,[1],lj", "the text is empty"),
        ("cedr", "Текст,joy,lj", "'joy' are not a list of indices"),
        ("cedr", "Текст", "None are not a list of indices"),
        ("cedr", "Текст,[5],lj", "label 5 is not among the 5"),
        *(("brighter_rus", cell, f"fear holds {cell!r}") for cell in ("2", "", "nan", "да")),
    ],
)
def test_a_bad_row_is_left_out_with_its_number_and_the_others_read(tmp_path, name, row, reason):
    content = (CEDR if name == "cedr" else BRIGHTER).format(row)
    data, bad = _read(tmp_path, name, "train", content)
    assert data.texts == ("Первый", "Третий")
    assert data.rows.tolist() == [1, 3]
    assert [row.row for row in bad] == [2]
    assert reason in bad[0].reason


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
        ('text,labels\n"Первый,[0]\nВторой,[1]\n', "cannot be read as UTF-8 CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        _read(tmp_path, "cedr", "train", content)
