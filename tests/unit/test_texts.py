"""Rows out of files as people and recognisers write them."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
import time
import tracemalloc
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import pytest

from ov_emotions.errors import DataError, InputError
from ov_emotions.prediction import Prediction
from ov_emotions.texts import BadRow, ReadSettings, Row, open_table, read_texts, streams
from ov_emotions.texts.streams import as_they_come
from ov_emotions.texts.transcripts import cell_seconds
from ov_emotions.texts.writing import Added, open_writer

TWO = ["ёж, «колючий»", "второй\tтекст"]
CASES = Path(os.environ.get("OV_EMOTIONS_SHARED", "../shared")) / "cases"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def told(path, **settings):
    """The text of each row, or the reason why there is none."""
    rows = open_table(path, ReadSettings(**settings)).rows()
    return [row.text if isinstance(row, Row) else f"- {row.reason}" for row in rows]


def cells(path):
    rows = open_table(path).rows()
    return [(row.text, dict(row.cells)) for row in rows if isinstance(row, Row)]


def parquet(path, **columns):
    pa = pytest.importorskip("pyarrow", reason="needs the train extra")
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the train extra")
    pq.write_table(pa.table(columns), path)
    return path


def workbook(path, *sheets):
    openpyxl = pytest.importorskip("openpyxl", reason="needs the excel extra")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


@pytest.fixture
def files(tmp_path):
    """The same two texts in every format."""
    one, two = TWO
    objects = [{"id": i, "text": text} for i, text in enumerate(TWO, start=1)]
    lines = "\n".join(json.dumps(value, ensure_ascii=False) for value in objects)
    txt = f"{one}\n{two}\n"
    return {
        "txt": write(tmp_path / "a.txt", txt),
        "csv": write(tmp_path / "a.csv", f'id,text\n1,"{one}"\n2,"{two}"\n'),
        "tsv": write(tmp_path / "a.TSV", f'id\ttext\n1\t{one}\n2\t"{two}"\n'),
        "jsonl": write(tmp_path / "a.jsonl", lines),
        "json": write(tmp_path / "a.json", json.dumps(objects)),
        "txt.gz": write(tmp_path / "a.txt.gz", gzip.compress(txt.encode())),
        "gz": write(tmp_path / "a.gz", gzip.compress(txt.encode())),
        "parquet": parquet(tmp_path / "a.parquet", id=[1, 2], text=TWO),
        "xlsx": workbook(tmp_path / "a.xlsx", ("s", [["id", "text"], [1, one], [2, two]])),
    }


KINDS = ["txt", "csv", "tsv", "jsonl", "json", "txt.gz", "gz", "parquet", "xlsx"]
BESIDE = {"id": "1"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_texts_as_they_stand(files, kind):
    assert list(read_texts(files[kind])) == TWO
    if kind in ("csv", "tsv", "jsonl", "json", "parquet", "xlsx"):
        assert [str(row["id"]) for _, row in cells(files[kind])] == ["1", "2"]
        with pytest.raises(DataError, match=r"no column 'body'.*: id, text"):
            open_table(files[kind], ReadSettings("body"))


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1251"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_are_found(files, kind, encoding, end):
    content = files[kind].read_text(encoding="utf-8").replace("\n", end)
    files[kind].write_bytes(content.encode(encoding))
    table = open_table(files[kind])
    assert told(files[kind]) == TWO
    assert told(files[kind], encoding=encoding) == TWO
    found = {"utf-8-sig": "", "cp1251": "Windows-1251"}.get(encoding, "UTF-16")
    assert all(found in note for note in table.notes)
    assert bool(table.notes) is bool(found)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text;id\r\nмне грустно, да;1\r\n", [("мне грустно, да", BESIDE)]),
        ("a.csv", "id|text\n1|ура\n", [("ура", BESIDE)]),
        ("a.csv", "id\ttext\n1\tда, нет\n", [("да, нет", BESIDE)]),
        ("a.tsv", "id,text\n1,ура\n", [("ура", BESIDE)]),
        ("a.csv", "sep=;\r\nid;text\r\n1;ура\r\n", [("ура", BESIDE)]),
        ("a.csv", '"sep=|"\nid|text\n1|ура\n', [("ура", BESIDE)]),
        ("a.csv", "\n\nid,text\n1,ура\n", [("ура", BESIDE)]),
        ("a.csv", "text\nда, нет; ура\n", [("да, нет; ура", {})]),
        ("a.csv", "Дата;Текст \n1.2.26;ура, да\n", [("ура, да", {"Дата": "1.2.26"})]),
        ("a.csv", "id, TE XT\n1,ура\n", [("ура", BESIDE)]),
        ("a.csv", "TEXT,text\nA,b\n", [("b", {"TEXT": "A"})]),
        ("a.csv", "id,id,text\n1,2,ура\n", [("ура", {"id": "1", "id_2": "2"})]),
        ("a.csv", 'text,id\n"раз\nдва",1\n', [("раз\nдва", BESIDE)]),
        (
            "a.csv",
            "text,id,more\nраз\nдва,2,,,\n",
            [("раз", {"id": "", "more": ""}), ("два", {"id": "2", "more": ""})],
        ),
        ("a.jsonl", '{"Text": "ура", "id": 1}\n', [("ура", {"id": 1})]),
        ("a.json", '[{"ТЕКСТ": "ура", "id": [1]}]', [("ура", {"id": [1]})]),
    ],
)
def test_tables_as_people_have_them(tmp_path, name, content, expected):
    assert cells(write(tmp_path / name, content)) == expected


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("excel_semicolon_bom.csv", ["мне очень грустно сегодня, да", "ура мы победили"]),
        ("excel_semicolon_cp1251.csv", ["мне очень грустно сегодня, да", "ура мы победили"]),
        ("upper_case_header.csv", ["мне очень грустно сегодня"]),
        (
            "stray_quote.tsv",
            ["- a quote is opened and not closed (line 2)", "ура мы победили", 'ещё "раз'],
        ),
        ("dialog.csv", ["мне очень грустно", "хорошо", "ужас"]),
    ],
)
@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_the_files_that_failed(name, texts):
    assert told(CASES / name) == texts


@pytest.mark.parametrize(
    ("rows", "bad"),
    [
        (['1,"a', "2,b", '3,"c, d', 'e"', "4,f"], [1]),
        (["1,a", '2,"b"c', "3,d"], [2]),
        (["1,a", "2,b", '3,"c'], [3]),
        (['1,"a', '2,"b', "3,c", '4,"d', "5,e"], [1, 2, 4]),
        (['1,"a', *[f"{i},b" for i in range(2, 5000)]], [1]),
    ],
)
def test_a_stray_quote_costs_its_own_row(tmp_path, rows, bad):
    path = write(tmp_path / "a.csv", "id,text\n" + "\n".join(rows) + "\n")
    found = list(open_table(path).rows())
    assert [row.row for row in found if isinstance(row, BadRow)] == bad
    lines = len(rows) - any('e"' in row for row in rows)
    assert len(found) == lines


@pytest.mark.parametrize(
    ("content", "encoding", "delimiter", "expected"),
    [
        ("id\ttext\n1\tда;нет\n", "cp1251", "tab", "да;нет"),
        ("id\ttext;a\n1\tда;нет\n", "utf-16", "\t", "да;нет"),
        ("id;text\n1;Москва\n", "koi8-r", ";", "Москва"),
        ("text\nда;нет\n", "utf-8", ";", "- the row has 2 cells, the header has 1"),
    ],
)
def test_settings_override_what_is_found(tmp_path, content, encoding, delimiter, expected):
    path = write(tmp_path / "a.dat", content.encode(encoding))
    column = "text;a" if ";a" in content else "text"
    found = told(path, format="csv", encoding=encoding, delimiter=delimiter, text_column=column)
    assert found == [expected]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"delimiter": "ab"}, "one character"), ({"encoding": "cp9999"}, "no encoding 'cp9999'")],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ReadSettings(**settings)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "does not exist"),
        ("none.parquet", None, "does not exist"),
        ("a.docx", b"x", r"no known format.*\.txt, \.csv, \.tsv, \.jsonl"),
        ("a.parquet.gz", gzip.compress(b"x", mtime=0), "no known format"),
        ("a.csv", b"", "no column 'text'.*it has none"),
        ("a.csv", b"text,text\n1,2\n", "more than one column 'text'"),
        ("a.parquet", b"", "not a readable Parquet"),
        ("a.xlsx", b"PK", "not a readable .xlsx"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b'{"a": 1}', "neither a list of objects nor"),
        ("a.srt", "просто текст".encode(), "has no cell|has no cue"),
        ("a.txt", bytes(range(128, 256)) * 9, "none of the encodings"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_one_sentence(tmp_path, name, content, message):
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as error:
        list(open_table(tmp_path / name).rows())
    assert name in str(error.value)


@pytest.mark.parametrize("name", ["calls.txt", "calls.csv", "calls.parquet"])
def test_a_folder_is_called_a_folder_whatever_its_name(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        open_table(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        *(("a.txt", "", []), ("a.jsonl", "", []), ("a.json", "[]", [])),
        ("a.txt", "раз\n\n \nNone\n", ["раз", *["- the text is empty"] * 2, "None"]),
        ("a.txt", b"a\nab\xff\nc", ["a", "- the line is not UTF-8: byte 0xff at 3", "c"]),
        ("a.txt", "у\0ра\n", ["у\0ра"]),
        ("a.csv", "text\nраз\n\nдва\n\n", ["раз", "два"]),
        ("a.csv", "id,text\n1\n2,два\n", ["- the row is too short to have a text", "два"]),
        ("a.csv", "id,text\n1,а,б\n", ["- the row has 3 cells, the header has 2"]),
        ("a.csv", "id,text\n1,nan\n2, \n", ["- the text is NaN", "- the text is empty"]),
        ("a.csv", b"id,text\n\xff,b\n3,\xff\n4,d\n", ["b", "- the text is not UTF-8", "d"]),
        ("a.jsonl", '{"text": null}\n', ["- the text is missing"]),
        ("a.jsonl", '{"text": NaN}\n\n', ["- the text is NaN"]),
        ("a.jsonl", '{"text": 5}', ["- the text is a number, not a string"]),
        ("a.jsonl", '{"text": true}', ["- the text is true or false, not a string"]),
        ("a.jsonl", '{"text": {}}', ["- the text is an object, not a string"]),
        ("a.jsonl", '{"text":"a"}\n{"b": "a"}', ["a", "- there is no field 'text', only b"]),
        ("a.jsonl", '{"text":"a"}\n"a"', ["a", "- the line is not a JSON object"]),
        ("a.jsonl", r'{"text": "\ud83d да"}', ["\ud83d да"]),
    ],
)
def test_a_row_without_a_text_is_told_and_the_rest_is_read(tmp_path, name, content, expected):
    assert told(write(tmp_path / name, content)) == expected


@pytest.mark.parametrize("line", ['{"text": "a"', "[" * 100_000, "9" * 10_000])
def test_a_line_that_is_no_json_is_a_bad_row(tmp_path, line):
    first, second = told(write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n{line}\n'))
    assert (first, second.startswith("- the line is not JSON")) == ("a", True)


def test_half_of_a_surrogate_pair_is_a_question_mark_in_parquet(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the train extra")
    table = open_table(write(tmp_path / "a.jsonl", r'{"text": "\ud83d да", "id": "\ud83d"}'))
    out = io.BytesIO()
    with open_writer(out, "parquet", [table], Added(("joy",))) as writer:
        for row in table.rows():
            writer.write(row, Prediction(("joy",), {"joy": 1.0}))
    (found,) = pq.read_table(out).to_pylist()
    assert (found["text"], found["id"], found["labels"]) == ("? да", "?", ["joy"])


def test_a_strict_row_has_all_cells_and_all_of_utf8(tmp_path):
    path = write(tmp_path / "a.csv", b"text,a,b\nx,1\ny,1,2\nz,\xff,2\n")
    found = list(open_table(path).rows(["a"], strict=True))
    assert found == [
        BadRow(1, "the row has 2 cells, the header has 3"),
        Row(2, "y", {"a": "1"}),
        BadRow(3, "column 'a' is not UTF-8"),
    ]


def test_fields_that_only_later_rows_have_are_found(tmp_path):
    rows = '{"text": "a"}\n' * 150 + '{"text": "b", "joy": 1}\n'
    assert open_table(write(tmp_path / "a.jsonl", rows)).all_fields() == ("text", "joy")


def test_parquet_types_of_text(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the train extra")
    for column in (pa.array(TWO).dictionary_encode(), pa.array(TWO, pa.large_string())):
        assert told(parquet(tmp_path / "a.parquet", text=column)) == TWO
    path = parquet(tmp_path / "b.parquet", text=["раз", None, ""])
    assert told(path) == ["раз", "- the text is missing", "- the text is empty"]
    with pytest.raises(DataError, match="holds double, not strings"):
        open_table(parquet(tmp_path / "c.parquet", text=[1.5]))


def test_a_workbook_as_offices_have_it(tmp_path):
    day = datetime(2026, 11, 30, 9, 30)
    rows = [[None, None], ["Дата", "Текст ", None], [day, "ура", 7], [None, None], [None, 12.0]]
    rows += [[day, None], ["x", "=1+1"]]
    path = workbook(tmp_path / "a.xlsx", ("Лист1", rows), ("Лист2", [["text"], ["да"]]))
    table = open_table(path)
    assert list(table.rows()) == [
        Row(1, "ура", {"Дата": day}),
        Row(3, "12", {"Дата": None}),
        BadRow(4, "the text is missing"),
        BadRow(5, "the text is missing"),  # a formula that was never computed
    ]
    assert "Лист1" in table.notes[0]
    assert told(path, sheet="Лист2") == ["да"]
    with pytest.raises(DataError, match="no sheet 'x'; it has Лист1, Лист2"):
        open_table(path, ReadSettings(sheet="x"))


def test_a_truncated_gzip_file_gives_its_beginning_then_an_error(tmp_path):
    numbers = "\n".join(str(i * 7919 % 100_003) for i in range(200_000))
    path = write(tmp_path / "a.txt.gz", gzip.compress(numbers.encode())[:-2000])
    rows = read_texts(path)
    assert [next(rows), next(rows)] == ["0", "7919"]
    with pytest.raises(DataError, match="cannot be read: Compressed file ended"):
        for _ in rows:
            pass


def test_a_line_that_is_too_long_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE", 8)
    rows = list(read_texts(write(tmp_path / "a.txt", "short\n" + "x" * 50 + "\nok\n" + "y" * 8)))
    assert [row if isinstance(row, str) else row.row for row in rows] == ["short", 2, "ok", 4]


def test_a_cell_of_megabytes_is_read(tmp_path):
    text = "слово\n" * 600_000
    assert told(write(tmp_path / "a.csv", f'id,text\n1,"{text}"\n2,да\n')) == [text, "да"]


def test_reading_is_lazy_and_bounded_in_memory(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("text,id\n")
        file.writelines(f"строка номер {i} {'х' * 80},{i}\n" for i in range(20_000))
    rows = open_table(path).rows()
    tracemalloc.start()
    try:
        assert sum(isinstance(row, Row) for row in rows) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_a_named_pipe_is_read_once(tmp_path, files, kind):
    path = tmp_path / f"pipe.{kind}"
    os.mkfifo(path)
    content = files[kind].read_bytes()
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    table = open_table(path)
    assert [row.text for row in table.rows() if isinstance(row, Row)] == TWO
    assert table.source.waits
    if kind == "csv":
        with pytest.raises(DataError, match="no plain file"):
            list(table.rows())


def test_lines_of_a_slow_pipe_come_as_they_come():
    read, write_end = os.pipe()

    def fill():
        with os.fdopen(write_end, "wb", buffering=0) as file:
            for group in (b"1\n2\n", b"3\n"):
                file.write(group)
                time.sleep(0.4)

    threading.Thread(target=fill, daemon=True).start()
    with io.FileIO(read) as raw, io.TextIOWrapper(io.BufferedReader(raw)) as lines:
        groups = [(group, time.monotonic()) for group in as_they_come(lines, 100)]
    assert [group for group, _ in groups] == [["1\n", "2\n"], ["3\n"]]
    assert groups[1][1] - groups[0][1] > 0.2


def test_an_error_behind_a_slow_pipe_is_raised():
    def items():
        yield 1
        raise DataError("damaged")

    groups = as_they_come(items(), 10)
    assert next(groups) == [1]
    with pytest.raises(DataError, match="damaged"):
        next(groups)


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl", "parquet"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
def test_parts_together_are_the_whole(tmp_path, files, kind, encoding):
    path = files[kind]
    if kind == "csv":
        rows = ['1,"раз\nдва"', '2,"три', "", "3,четыре", "4,", '5,"шесть"', "6,семь"]
        path = write(tmp_path / "b.csv", ("id,text\n" + "\n".join(rows) + "\n").encode(encoding))
    elif kind != "parquet":
        path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    table = open_table(path)
    whole = [(row.row, getattr(row, "text", None)) for row in table.rows()]
    for most in (1, 2, 100):
        parts = list(table.parts(most))
        found = [row for at, count in parts for row in islice(table.rows(start=at), count)]
        assert [(row.row, getattr(row, "text", None)) for row in found] == whole
        assert all(count <= most for _, count in parts)


SRT = """1
00:00:01,000 --> 00:00:04,000
[SPEAKER_00]: мне <i>очень</i>
грустно

2
00:00:05,000 --> 00:00:06,500
[SPEAKER_01]: ура
3
00:01:00,000 --> 00:01:01,000

"""
VTT = """WEBVTT - звонок

NOTE не реплика

00:01.000 --> 00:04.000 align:left
<v SPEAKER_00>мне <c>очень</c> грустно</v>

второй
00:05.000 --> 00:06.500
<v.loud SPEAKER_01>ура
"""
WHISPERX = {
    "segments": [
        {"start": 1, "end": 4.0, "text": " мне очень грустно", "speaker": "SPEAKER_00"},
        {"start": 5, "end": 6.5, "text": "ура", "words": [{"speaker": "SPEAKER_01"}]},
        {"start": 7, "end": 8, "text": " "},
    ],
    "language": "ru",
}
CPP = {
    "transcription": [
        {"offsets": {"from": 1000, "to": 4000}, "text": " мне очень грустно"},
        {"offsets": {"from": 5000, "to": 6500}, "text": " ура"},
    ]
}
VOSK = [
    {"text": ""},
    {"partial": "мне"},
    {
        "result": [{"word": w, "start": s, "end": s + 1} for w, s in (("мне", 1.0), ("гру", 3.0))],
        "text": "мне очень грустно",
        "spk": [0.1],
    },
    {"alternatives": [{"text": "ура", "result": [{"word": "ура", "start": 5, "end": 6.5}]}]},
]
VOSK_LINES = "\n".join(json.dumps(value) for value in VOSK)
KALDI = "1.0 4.0 SPEAKER_00 мне очень грустно\n\n5.0 6.5 SPEAKER_01 ура\n"


@pytest.mark.parametrize(
    ("name", "content", "speakers"),
    [
        ("a.srt", SRT, True),
        ("a.srt", SRT.replace("\n", "\r\n").encode("cp1251"), True),
        ("a.vtt", VTT, True),
        ("a.json", json.dumps(WHISPERX), True),
        ("a.json", json.dumps(WHISPERX["segments"]), True),
        ("a.json", json.dumps(CPP), False),
        ("a.json", json.dumps(VOSK), False),
        ("a.json", "\n".join(json.dumps(value, indent=2) for value in VOSK), False),
        ("a.jsonl", VOSK_LINES, False),
        ("a.txt", KALDI, True),
        ("a.txt", KALDI.replace("1.0 4.0", "[0:01 - 0:04]").replace("5.0 6", "0:05 - 0:06"), True),
    ],
)
def test_transcripts_have_times_and_speakers(tmp_path, name, content, speakers):
    table = open_table(write(tmp_path / name, content))
    assert (table.spoken, table.columns) == (True, ("start", "end", "speaker", "text"))
    found = [(r.text, *r.cells.values()) for r in table.rows() if isinstance(r, Row)]
    one, two = ("SPEAKER_00", "SPEAKER_01") if speakers else (None, None)
    assert found == [("мне очень грустно", 1.0, 4.0, one), ("ура", 5.0, 6.5, two)]


@pytest.mark.parametrize(
    "content",
    ["1.5 литра воды\n2.5 часа ждал\n", "5 лет назад\n2 дня назад\n", "12:30 приезжайте\n"],
)
def test_texts_that_begin_with_numbers_are_texts(tmp_path, content):
    path = write(tmp_path / "a.txt", content)
    assert told(path) == content.splitlines()
    assert open_table(write(path, KALDI), ReadSettings(format="txt")).spoken is False


def test_a_cue_with_broken_times_is_a_bad_row(tmp_path):
    srt = SRT.replace("00:00:05,000 -->", "скоро")
    rows = list(open_table(write(tmp_path / "a.srt", srt)).rows())
    assert isinstance(rows[1], BadRow)
    assert "times cannot be read" in rows[1].reason


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        *(("", None), (None, None), (" ", None), (float("nan"), None), ("nan", None)),
        *((3, 3.0), ("3.5", 3.5), ("3,5", 3.5), ("01:02", 62.0), ("1:00:00.5", 3600.5)),
        *(("1970-01-02T00:00:00", 86400.0), ("1970-01-01T03:00:00+03:00", 0.0)),
        *((datetime(1970, 1, 2, tzinfo=UTC), 86400.0), (datetime(1, 1, 1, 0, 1).time(), 60.0)),
    ],
)
def test_times_are_seconds_clocks_or_dates(cell, seconds):
    assert cell_seconds(cell) == seconds


@pytest.mark.parametrize("cell", ["soon", True, [1], "inf", "1:99", "12:30:00:00", date.min])
def test_anything_else_is_no_time(cell):
    with pytest.raises(ValueError, match="no time"):
        cell_seconds(cell)
