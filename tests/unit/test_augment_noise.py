from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ov_emotions.data.augment.noise import FILLERS, AsrNoise, sound_alikes

SILENT = AsrNoise(0, 0, 0, 0, 0, 0, 0, 0)


def _noisy(text, seed, **rate):
    return replace(SILENT, **rate)(text, Random(seed))


@pytest.mark.parametrize(
    ("word", "spelling", "alike"),
    [
        *(("друг", "друк", True), ("хорошо", "харошо", True), ("сделать", "зделать", True)),
        *(("красного", "красново", True), ("сегодня", "севодня", True), ("что", "што", True)),
        *(("счастье", "щастье", True), ("солнце", "сонце", True), ("класс", "клас", True)),
        *(("городской", "гороцкой", True), ("мышь", "мыш", True), ("русский", "русски", True)),
        ("ёлка", "елка", True),
        # What is heard as it is written stays.
        *(("много", "мново", False), ("ого", "ово", False), ("искать", "ескать", False)),
        ("дом", "дам", False),
    ],
)
def test_spellings_follow_the_sound(word, spelling, alike):
    assert (spelling in sound_alikes(word)) is alike


@pytest.mark.parametrize(
    ("rate", "text", "expected"),
    [
        ({"reflexive": 1.0}, "мне нравится учиться", "мне нравиться учится"),
        ({"join": 1.0}, "да ну вас", "данувас"),
        ({"join": 1.0}, "в 2020 году abc", None),
        ({"drop": 1.0}, "мы и он", None),
        ({}, "Сегодня, наверное!", None),
        ({"confuse": 1.0}, "!!!", None),
        ({"ending": 1.0}, "вот дом", None),
        ({"split": 1.0}, "взрыв", None),
    ],
)
def test_each_error_falls_where_it_can(rate, text, expected):
    assert _noisy(text, 2, **rate) == expected


def test_split_parts_can_be_spoken_and_fillers_are_whole():
    parts = _noisy("переговоры", 5, split=1.0).split()
    assert "".join(parts) == "переговоры"
    assert all(set(part) & set("аеоы") for part in parts)
    for text in ("да", "не в дом"):  # nothing is put behind a preposition
        assert _noisy(text, 5, filler=1.0).removesuffix(f" {text}") in FILLERS


def test_a_rate_is_about_the_share_of_words():
    noisy = _noisy(" ".join(["молоко"] * 4000), 7, drop=0.05).split()
    assert 150 < sum(word != "молоко" for word in noisy) < 250
