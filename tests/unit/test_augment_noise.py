from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ov_emotions.data.augment.noise import FILLERS, AsrNoise, sound_alikes

SILENT = AsrNoise(0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("word", "spelling"),
    [
        ("друг", "друк"),
        ("хорошо", "харошо"),
        ("сделать", "зделать"),
        ("красного", "красново"),
        ("сегодня", "севодня"),
        ("что", "што"),
        ("счастье", "щастье"),
        ("солнце", "сонце"),
        ("городской", "гороцкой"),
        ("класс", "клас"),
        ("мышь", "мыш"),
        ("русский", "русски"),
        ("ёлка", "елка"),
    ],
)
def test_spellings_follow_the_sound(word: str, spelling: str) -> None:
    assert spelling in sound_alikes(word)


@pytest.mark.parametrize(
    ("word", "spelling"),
    [("много", "мново"), ("ого", "ово"), ("искать", "ескать"), ("дом", "дам")],
)
def test_what_is_heard_as_it_is_written_stays(word: str, spelling: str) -> None:
    assert spelling not in sound_alikes(word)


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
def test_each_error_falls_where_it_can(
    rate: dict[str, float], text: str, expected: str | None
) -> None:
    assert replace(SILENT, **rate)(text, Random(2)) == expected


def test_letters_are_lost_inside_doubled_and_cut_from_the_end() -> None:
    dropped = replace(SILENT, drop=1.0)("молоко", Random(3))
    assert dropped is not None
    assert len(dropped) == 5
    assert dropped[0] == "м"
    assert dropped[-1] == "о"
    doubled = replace(SILENT, double=1.0)("молоко", Random(3))
    assert doubled is not None
    assert len(doubled) == 7
    cut = replace(SILENT, ending=1.0)("молоко", Random(3))
    assert cut in ("молок", "моло")


def test_split_parts_can_be_spoken_and_fillers_are_whole() -> None:
    parts = (replace(SILENT, split=1.0)("переговоры", Random(5)) or "").split()
    assert "".join(parts) == "переговоры"
    assert all(set(part) & set("аеоы") for part in parts)
    filled = replace(SILENT, filler=1.0)("да", Random(5)) or ""
    assert filled.removesuffix(" да") in FILLERS
    clinging = replace(SILENT, filler=1.0)("не в дом", Random(5)) or ""
    assert clinging.removesuffix(" не в дом") in FILLERS


def test_a_rate_is_about_the_share_of_words() -> None:
    words = " ".join(["молоко"] * 4000)
    noisy = (replace(SILENT, drop=0.05)(words, Random(7)) or "").split()
    assert 150 < sum(word != "молоко" for word in noisy) < 250
