from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import pytest

from ov_emotions.errors import DataError
from ov_emotions.texts import BadRow, Record, column_names, read_records


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_of_csv_have_the_columns_asked_for(tmp_path):
    path = _write(tmp_path / "a.csv", '\ufeffid,text,joy\n7,"раз, два",1\n\n8,три,\n')
    assert column_names(path, "text") == ("id", "joy")
    assert list(read_records(path, "text", ["joy"])) == [
        Record(1, "раз, два", {"joy": "1"}),
        Record(2, "три", {"joy": ""}),
    ]


def test_a_row_of_csv_whose_cells_moved_is_left_out(tmp_path):
    path = _write(tmp_path / "a.tsv", "text\tjoy\tid\nраз\t1\nдва\t1\t2\t3\nтри\t0\t1\n")
    bad = [record for record in read_records(path, "text", ["joy"]) if isinstance(record, BadRow)]
    assert [(b.row, b.reason) for b in bad] == [
        (1, "the row has 2 cells, the header has 3"),
        (2, "the row has 4 cells, the header has 3"),
    ]


def test_a_label_cell_that_is_not_utf_8_makes_a_bad_row(tmp_path):
    path = _write(tmp_path / "a.csv", "text,l,x\nраз,да,1\nдва,".encode() + b"\xff,1\nx,y,\xff\n")
    first, second, third = read_records(path, "text", ["l"])
    assert isinstance(first, Record)
    assert second == BadRow(2, "column 'l' is not UTF-8")
    assert third == Record(3, "x", {"l": "y"}), "what is not asked for does not matter"


def test_the_fields_of_jsonl_are_those_of_all_rows(tmp_path):
    rows = b'{"text": "a"}\n' * 150 + b'{"text": "b", "joy": 1}\n[]\n{"joy": 1}\n'
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(rows))
    assert column_names(path, "text") == ("joy",)
    records = list(read_records(path, "text", ["joy"]))
    assert records[0] == Record(1, "a", {"joy": None})
    assert records[150] == Record(151, "b", {"joy": 1})
    assert [r.row for r in records if isinstance(r, BadRow)] == [152, 153]


def test_parquet_gives_plain_values_and_marks_what_it_cannot_give(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="reads Parquet")
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "text": ["a", None],
            "labels": [["joy"], []],
            "nested": [{"x": 1}, None],
            "when": pa.array([10**17, 10**17], pa.timestamp("ms")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    names = column_names(tmp_path / "a.parquet", "text")
    first, second = read_records(tmp_path / "a.parquet", "text", names)
    assert first.cells["labels"] == ["joy"]
    assert first.cells["nested"] == {"x": 1}
    assert not isinstance(first.cells["when"], datetime.datetime)
    assert second == BadRow(2, "the text is missing")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "раз\n", "has texts only"),
        ("a.csv", "text,joy,joy\na,1,0\n", "more than one column 'joy'"),
        ("a.csv", "text,anger\na,1\n", "has no column 'joy'; beside 'text' it has anger"),
        ("a.csv", "text\na\n", "beside 'text' it has none"),
        ("a.csv", "joy\n1\n", "has no column 'text'"),
        ("a.csv", "", "has no column 'text'"),
        ("a.csv", "text,joy\nпривет,1\n".encode("cp1251"), "not UTF-8"),
        ("a.jsonl", '{"text": "a", "fear": 1}\n', "beside 'text' it has fear"),
    ],
)
def test_a_file_without_the_columns_is_refused_at_the_call(tmp_path, name, content, message):
    path = _write(tmp_path / name, content)
    with pytest.raises(DataError, match=message):
        read_records(path, "text", ["joy"])


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        read_records(tmp_path, "text", [])
