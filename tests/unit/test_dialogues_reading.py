from __future__ import annotations

import gzip
import json
import time
from datetime import datetime

import pytest

from ov_emotions.dialogues import Columns, parse_transcript, read_dialogues
from ov_emotions.errors import DataError

ROWS = [
    ("7", "Клиент", "раз", "3.5"),
    ("8", "Клиент", "другой", ""),
    ("7", "Оператор", "ноль", "00:01"),
]


def write(path, rows=ROWS, header=("dialogue", "speaker", "text", "time")):
    if path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [mark.join(row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_rows_of_a_table_are_grouped_by_dialogue_and_put_in_time(tmp_path, kind):
    reading = read_dialogues([write(tmp_path / f"a.{kind}")])
    first, second = reading.dialogues
    assert [(u.speaker, u.text, u.time, u.row) for u in first.utterances] == [
        ("Оператор", "ноль", 1.0, 3),
        ("Клиент", "раз", 3.5, 1),
    ]
    assert (first.name, second.name, second.utterances[0].time) == ("7", "8", None)
    assert reading.left_out == ()


def test_parquet_is_read_with_numbers_as_names_and_times(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    import pyarrow.parquet as pq

    moments = [datetime(2026, 1, 1, 12, 0, 9), datetime(2026, 1, 1, 12, 0, 2)]
    table = pa.table({"call": [1, 1], "who": ["b", "a"], "said": ["два", "раз"], "at": moments})
    pq.write_table(table, tmp_path / "a.parquet")
    reading = read_dialogues([tmp_path / "a.parquet"], Columns("said", "who", "call", "at"))
    (dialogue,) = reading.dialogues
    assert [(u.speaker, u.time) for u in dialogue.utterances] == [("a", 0.0), ("b", 7.0)]
    assert dialogue.name == "1"


def test_without_a_dialogue_column_a_file_is_one_dialogue(tmp_path):
    path = write(tmp_path / "call 5.csv", [("А", "раз"), ("Б", "два")], ("speaker", "text"))
    (dialogue,) = read_dialogues([path]).dialogues
    assert (dialogue.name, dialogue.speakers) == ("call 5", ("А", "Б"))


def test_bad_rows_are_told_by_number_and_the_good_ones_kept(tmp_path):
    rows = [
        ("1", "А", "раз", ""),
        ("1", "", "два", ""),
        ("1", "А", " ", ""),
        ("", "А", "три", ""),
        ("1", "А", "четыре", "soon"),
        ("1", "Б", "пять", ""),
    ]
    reading = read_dialogues([write(tmp_path / "a.csv", rows)])
    assert [u.text for u in reading.dialogues[0].utterances] == ["раз", "пять"]
    assert [(row.row, row.reason) for row in reading.left_out] == [
        (2, "the speaker is missing"),
        (3, "the text is empty"),
        (4, "the dialogue is missing"),
        (5, "the time 'soon' is no time; write seconds, 02:15, or ISO 8601"),
    ]


def test_a_folder_is_read_and_equal_names_get_their_file_before_them(tmp_path):
    for name in ("a.csv", "b.csv"):
        write(tmp_path / name)
    with gzip.open(tmp_path / "c.txt.gz", "wt", encoding="utf-8") as file:
        file.write("Клиент: алло\n")
    (tmp_path / "notes.docx").write_bytes(b"x")
    (tmp_path / ".hidden.txt").write_text("А: раз", encoding="utf-8")
    names = [dialogue.name for dialogue in read_dialogues([tmp_path]).dialogues]
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    assert names == [f"{a}: 7", f"{a}: 8", f"{b}: 7", f"{b}: 8", "c"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "does not exist"),
        ("none", None, "does not exist"),
        ("a.txt", b"", "is empty"),
        ("a.txt", "раз\nдва".encode(), "names no speaker"),
        ("a.docx", b"x", "no known format"),
        ("a.csv", b"", "no column 'text'"),
        ("a.csv", b"text,who\nx,y\n", "no column 'speaker'.*it has who"),
        ("a.csv", b"text,speaker\n", "no usable rows"),
        ("a.csv", b"text,speaker\nx,\n", "no usable rows.*row 1: the speaker is missing"),
        ("a.jsonl", b'{"text": "x"}\n', "no column 'speaker'"),
        ("a.csv", b"text,speaker\nx,y\n", "no column 'call'"),
        ("", None, "has no file that ends in"),
    ],
)
def test_a_file_that_holds_no_dialogue_is_one_clear_error(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_dialogues([tmp_path / name], Columns(dialogue="call" if "call" in message else None))
    assert name in str(error.value)


def said(content: str) -> list[tuple[str, str, float | None]]:
    reading = parse_transcript(content, "t")
    return [(u.speaker, u.text, u.time) for d in reading.dialogues for u in d.utterances]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Клиент: алло", ("Клиент", "алло", None)),
        ("Клиент:алло", ("Клиент", "алло", None)),
        ("[00:12] Клиент: алло", ("Клиент", "алло", 12.0)),
        ("(1:00:12) Клиент: алло", ("Клиент", "алло", 3612.0)),
        ("00:12.5 Клиент: алло", ("Клиент", "алло", 12.5)),
        ("[00:12 - 00:15] Клиент: алло", ("Клиент", "алло", 12.0)),
        ("00:01:12,500 --> 00:01:15,000 Клиент: алло", ("Клиент", "алло", 72.5)),
        ("Клиент [02:15]: алло", ("Клиент", "алло", 135.0)),
        ("И. О. Иванов: раз: два", ("И. О. Иванов", "раз: два", None)),
        ("SPEAKER_01: x", ("SPEAKER_01", "x", None)),
        ("1: один", ("1", "один", None)),
        ("Клиент: 12:30", ("Клиент", "12:30", None)),
        ("Клиент:", ("Клиент", "", None)),
        ("\ufeffКлиент: алло\r", ("Клиент", "алло", None)),
        ("[00:99] Клиент: алло", ("Клиент", "алло", None)),
    ],
)
def test_a_line_has_a_speaker_a_text_and_perhaps_a_time(line, expected):
    assert said(line) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "просто слова",
        "12:30 приезжайте",
        "https://example.org/a",
        "Я сказал ему, что так: нет",
        "он же не знал что я ему тогда сказала: нет",
        ": текст",
    ],
)
def test_a_line_without_a_speaker_is_left_out_by_number(line):
    reading = parse_transcript(f"Клиент: да\n{line}\nКлиент: нет", "t")
    assert [u.text for u in reading.dialogues[0].utterances] == ["да", "нет"]
    assert [(row.row, row.reason) for row in reading.left_out] == [
        (2, "the line does not begin with a speaker")
    ]


def test_an_indented_line_goes_on_with_the_utterance_above():
    assert said("А: раз\n   два три\nБ: четыре") == [
        ("А", "раз два три", None),
        ("Б", "четыре", None),
    ]


def test_a_blank_line_begins_another_dialogue_and_a_heading_names_it():
    reading = parse_transcript("А: раз\nБ: два\n\nА: три\n# жалоба\nБ: четыре", "call")
    assert [d.name for d in reading.dialogues] == ["call-1", "call-2", "жалоба"]
    assert [len(d.utterances) for d in reading.dialogues] == [2, 1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((content, "the transcript is empty") for content in ("", "\n \n", "\ufeff")),
        ("раз\nдва", r"names no speaker.*speaker: text"),
    ],
)
def test_a_transcript_without_anything_said_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        parse_transcript(content, "t")


def test_a_line_made_to_be_slow_is_not():
    start = time.perf_counter()
    with pytest.raises(DataError):
        parse_transcript("\n".join(["а " * 20_000, "[00:12 " * 5_000, "1:11 - " * 5_000]), "t")
    assert time.perf_counter() - start < 5


def test_a_speaker_spelt_in_two_ways_is_one():
    reading = parse_transcript("Артём: раз\nАРТЕМ: два\nАртём  : три\nБ: четыре", "t")
    assert reading.dialogues[0].speakers == ("Артём", "Б")
