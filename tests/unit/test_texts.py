from __future__ import annotations

import gzip
import json
import os
import threading
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest

from ov_emotions import texts
from ov_emotions.errors import DataError
from ov_emotions.texts import BadRow, check_text_file, read_lines, read_texts, text_format


def texts_of(path: Path, column: str = "text") -> list[str]:
    return [row for row in read_texts(path, column) if isinstance(row, str)]


def bad_of(path: Path, column: str = "text") -> dict[int, str]:
    return {row.row: row.reason for row in read_texts(path, column) if isinstance(row, BadRow)}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def parquet(path: Path, **columns: object) -> Path:
    pa = pytest.importorskip("pyarrow", reason="needs the train extra")
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the train extra")
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The same two texts in every format."""
    one, two = "ёж, «колючий»", "второй\tтекст"
    lines = [json.dumps({"id": i, "text": t}, ensure_ascii=False) for i, t in ((1, one), (2, two))]
    txt = f"{one}\n{two}\n"
    return {
        "txt": write(tmp_path / "a.txt", txt),
        "csv": write(tmp_path / "a.csv", f'id,text\n1,"{one}"\n2,"{two}"\n'),
        "tsv": write(tmp_path / "a.TSV", f'id\ttext\n1\t{one}\n2\t"{two}"\n'),
        "jsonl": write(tmp_path / "a.jsonl", "\n".join(lines)),
        "txt.gz": write(tmp_path / "a.txt.gz", gzip.compress(txt.encode())),
        "gz": write(tmp_path / "a.gz", gzip.compress(txt.encode())),
        "parquet": parquet(tmp_path / "a.parquet", id=[1, 2], text=[one, two]),
    }


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "txt.gz", "gz", "parquet"])
def test_every_format_gives_the_texts_as_they_stand(files: dict[str, Path], kind: str) -> None:
    assert list(read_texts(files[kind])) == ["ёж, «колючий»", "второй\tтекст"]


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl"])
def test_a_byte_order_mark_and_windows_line_ends_are_not_part_of_a_text(
    files: dict[str, Path], kind: str
) -> None:
    content = files[kind].read_bytes().replace(b"\n", b"\r\n")
    files[kind].write_bytes(b"\xef\xbb\xbf" + content)
    # The first column is the one that a mark would stick to.
    column = "id" if kind in ("csv", "tsv") else "text"
    assert texts_of(files[kind], column)[0] in ("1", "ёж, «колючий»")
    assert texts_of(files[kind])[1] == "второй\tтекст"


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".parquet"])
def test_a_missing_file_is_refused_at_the_call(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_texts(tmp_path / f"none{suffix}")


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_texts(folder)


@pytest.mark.parametrize("name", ["a.docx", "a", "a.parquet.gz", "a.txt.zip", ".txt.bak"])
def test_an_unknown_format_is_refused_and_the_known_ones_are_named(name: str) -> None:
    with pytest.raises(DataError, match=r"no known format.*\.txt, \.csv, \.tsv, \.jsonl"):
        text_format(Path(name))


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt", "текст")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(texts, "open_file", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read_texts(path)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_missing_column_is_refused_and_the_others_are_named(
    files: dict[str, Path], kind: str
) -> None:
    with pytest.raises(DataError, match=r"no column 'body'.*: id, text"):
        check_text_file(files[kind], "body")


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".tsv", ".parquet"])
def test_an_empty_file_has_no_texts_or_lacks_the_column(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", b"")
    if suffix in (".txt", ".jsonl"):
        assert list(read_texts(path)) == []
        return
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the train extra")
    with pytest.raises(DataError, match=r"it has none|not a readable Parquet"):
        read_texts(path)


@pytest.mark.parametrize("content", ["text\n", "text"])
def test_a_table_of_a_header_only_has_no_texts(tmp_path: Path, content: str) -> None:
    assert list(read_texts(write(tmp_path / "a.csv", content))) == []


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, suffix: str) -> None:
    content = {".txt": "текст\nещё\n", ".csv": "text\nтекст\n", ".jsonl": '{"text": "текст"}\n'}
    path = write(tmp_path / f"a{suffix}", content[suffix].encode("cp1251"))
    with pytest.raises(DataError, match="is not UTF-8"):
        read_texts(path)
    path.write_bytes(content[suffix].encode("utf-16"))
    with pytest.raises(DataError, match="is UTF-16"):
        read_texts(path)


def test_a_broken_line_is_a_bad_row_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = ["первый".encode(), b"ab\xff", "третий".encode()]
    path = write(tmp_path / "a.txt", b"\n".join(lines))
    assert texts_of(path) == ["первый", "третий"]
    assert bad_of(path) == {2: "the line is not UTF-8: byte 0xff at 3"}

    path = write(tmp_path / "a.jsonl", b'{"text":"a"}\n{"text":"\xff"}\n{"text":"c"}\n')
    assert (texts_of(path), list(bad_of(path))) == (["a", "c"], [2])

    path = write(tmp_path / "a.csv", b"id,text\n1,a\n\xff,b\n3,\xff\n4,d\n")
    assert texts_of(path) == ["a", "b", "d"], "only the text's own bytes matter"
    assert bad_of(path) == {3: "the text is not UTF-8"}


@pytest.mark.parametrize("cell", ["", "   ", '""', "nan", "NaN"])
def test_an_empty_or_nan_cell_is_a_bad_row(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path / "a.csv", f"id,text\n1,раз\n2,{cell}\n3,три\n")
    assert texts_of(path) == ["раз", "три"]
    assert list(bad_of(path)) == [2]


def test_the_word_none_is_a_text_in_a_plain_file(tmp_path: Path) -> None:
    assert texts_of(write(tmp_path / "a.txt", "None\nnan\n")) == ["None", "nan"]


def test_a_blank_line_counts_as_a_row_of_a_plain_file_only(tmp_path: Path) -> None:
    assert bad_of(write(tmp_path / "a.txt", "раз\n\n \nчетыре\n")) == {
        2: "the text is empty",
        3: "the text is empty",
    }
    assert bad_of(write(tmp_path / "a.csv", "text\nраз\n\nдва\n\n")) == {}
    assert bad_of(write(tmp_path / "a.jsonl", '{"text":"a"}\n\n{"text":1}\n')) == {
        3: "the text is a number, not a string"
    }


def test_a_row_that_is_too_short_is_bad_and_a_longer_one_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text\n1\n2,два\n3,три,лишнее\n")
    assert texts_of(path) == ["два", "три"]
    assert bad_of(path) == {1: "the row is too short to have a text"}


def test_a_text_over_several_lines_is_one_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,id\n"первая\nвторая",1\nраз,2\n')
    assert texts_of(path) == ["первая\nвторая", "раз"]


def test_a_stray_quote_is_reported_instead_of_joining_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text\nраз\n"два\nтри\n')
    assert texts_of(path) == ["раз"]
    assert "lines 3 to 4" in bad_of(path)[2]


def test_a_field_beyond_what_csv_allows_is_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"text\nраз\n{'д' * 140_000}\nтри\n")
    assert texts_of(path) == ["раз", "три"]
    assert "larger than field limit" in bad_of(path)[2]


def test_a_text_of_a_hundred_thousand_characters_is_read(tmp_path: Path) -> None:
    text = "слово " * 16_667
    assert texts_of(write(tmp_path / "a.csv", f"text\n{text}\n")) == [text]
    assert texts_of(write(tmp_path / "a.txt", text)) == [text]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": null}', "the text is missing"),
        ('{"text": NaN}', "the text is NaN"),
        ('{"text": 5}', "the text is a number, not a string"),
        ('{"text": true}', "the text is true or false, not a string"),
        ('{"text": ["a"]}', "the text is a list, not a string"),
        ('{"text": {"a": 1}}', "the text is an object, not a string"),
        ('{"text": " "}', "the text is empty"),
        ('{"body": "a"}', "there is no field 'text', only body"),
        ("{}", "there is no field 'text', only nothing"),
        ('"a"', "the line is not a JSON object"),
        ('{"text": "a"', "the line is not JSON"),
        ("[" * 100_000, "the line is not JSON"),
        ("9" * 10_000, "the line is not JSON"),
    ],
)
def test_a_json_line_without_a_text_is_a_bad_row(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "раз"}}\n{line}\n{{"text": "три"}}\n')
    assert texts_of(path) == ["раз", "три"]
    assert bad_of(path)[2].startswith(reason)


def test_a_lone_surrogate_in_json_is_a_text(tmp_path: Path) -> None:
    assert texts_of(write(tmp_path / "a.jsonl", r'{"text": "\ud83d да"}')) == ["\ud83d да"]


def test_parquet_nulls_and_blanks_are_bad_rows(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", text=["раз", None, "", "четыре"])
    assert texts_of(path) == ["раз", "четыре"]
    assert bad_of(path) == {2: "the text is missing", 3: "the text is empty"}


def test_parquet_dictionary_and_large_strings_are_texts(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the train extra")
    for column in (
        pa.array(["раз", "два", "раз"]).dictionary_encode(),
        pa.array(["раз", "два", "раз"], pa.large_string()),
    ):
        path = parquet(tmp_path / "a.parquet", text=column)
        assert list(read_texts(path)) == ["раз", "два", "раз"]


def test_a_parquet_column_of_numbers_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", text=[1.5, float("nan")])
    with pytest.raises(DataError, match="holds double, not strings"):
        read_texts(path)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", text=["раз"])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_texts(path)


def test_a_truncated_gzip_file_gives_its_beginning_then_an_error(tmp_path: Path) -> None:
    numbers = "\n".join(str(i * 7919 % 100_003) for i in range(200_000))
    path = write(tmp_path / "a.txt.gz", gzip.compress(numbers.encode())[:-2000])
    rows = read_texts(path)
    assert [next(rows), next(rows)] == ["0", "7919"]
    with pytest.raises(DataError, match="cannot be read: Compressed file ended"):
        for _ in rows:
            pass


def test_a_line_that_is_too_long_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_LINE_BYTES", 8)
    rows = list(read_lines(BytesIO(b"short\n" + b"x" * 50 + b"\nok\n" + b"y" * 8)))
    assert [row if isinstance(row, str) else row.row for row in rows] == ["short", 2, "ok", 4]


def test_reading_is_lazy_and_bounded_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("text\n")
        file.writelines(f"строка номер {i} {'х' * 80}\n" for i in range(20_000))
    rows = read_texts(path)
    tracemalloc.start()
    try:
        assert sum(isinstance(row, str) for row in rows) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe.txt"
    os.mkfifo(path)
    rows = read_texts(path)
    writer = threading.Thread(target=path.write_text, args=("раз\nдва\n",), daemon=True)
    writer.start()
    assert list(rows) == ["раз", "два"]
    writer.join()


def test_a_folder_is_called_a_folder_whatever_its_name(tmp_path):
    for name in ("calls", "calls.csv"):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match="is a folder; name a file in it"):
            check_text_file(tmp_path / name, "text")
