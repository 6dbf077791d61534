from __future__ import annotations

import time

import pytest

from ov_emotions.dialogues import parse_transcript
from ov_emotions.errors import DataError


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


def test_blank_lines_between_all_utterances_are_only_spacing():
    reading = parse_transcript("А: раз\n\nБ: два\n\nА: три\n\n\nБ: четыре", "call")
    assert [len(d.utterances) for d in reading.dialogues] == [3, 1]


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_an_empty_transcript_is_refused(content):
    with pytest.raises(DataError, match="the transcript is empty"):
        parse_transcript(content, "t")


def test_a_transcript_without_any_speaker_is_refused():
    with pytest.raises(DataError, match=r"names no speaker.*speaker: text"):
        parse_transcript("раз\nдва", "t")


def test_a_line_made_to_be_slow_is_not():
    start = time.perf_counter()
    with pytest.raises(DataError):
        parse_transcript("\n".join(["а " * 20_000, "[00:12 " * 5_000, "1:11 - " * 5_000]), "t")
    assert time.perf_counter() - start < 5


def test_a_speaker_spelt_in_two_ways_is_one():
    reading = parse_transcript("Артём: раз\nАРТЕМ: два\nАртём  : три\nБ: четыре", "t")
    assert reading.dialogues[0].speakers == ("Артём", "Б")
