from __future__ import annotations

from random import Random

import numpy as np
import pytest

pytest.importorskip("pymorphy3", reason="words are put into form by pymorphy3")
pytest.importorskip("emoji", reason="emoji get their names from it")
pytest.importorskip("wiki_ru_wordnet", reason="synonyms come from it")

from ov_emotions.data.augment.words import (
    EmojiWords,
    Inflector,
    Synonyms,
    find_synonyms,
)
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.settings import AugmentConfig
from ov_emotions.labels import EKMAN


@pytest.fixture(scope="module")
def inflector():
    return Inflector()


@pytest.mark.parametrize(
    ("form", "lemma", "expected"),
    [
        ("огромную", "гигантский", ("гигантскую",)),
        ("способами", "метод", ("методами",)),
        ("позволила", "разрешить", ("разрешила",)),
        ("позволите", "разрешить", ("разрешите",)),
        ("снова", "вновь", ("вновь",)),
        ("популярен", "знаменитый", ("знаменит",)),
        # There is none where the words around would not agree.
        ("машину", "автомобиль", ()),  # another gender
        ("стали", "делаться", ()),  # of «стать» or of «сталь»
        ("позволил", "разрешать", ()),  # another aspect
        ("москву", "столица", ()),  # a name
        ("кто", "человек", ()),  # a pronoun
        ("бамбарбию", "способ", ()),  # no word
    ],
)
def test_a_synonym_takes_the_form_of_the_word(inflector, form, lemma, expected):
    assert inflector.in_form_of(form, [lemma]) == expected


def _rows(texts, joy):
    targets = np.zeros((len(texts), len(EKMAN)), dtype=np.int8)
    targets[:, EKMAN.index("joy")] = joy
    return LabelledTexts(EKMAN, tuple(texts), targets, ("x",) * len(texts), np.arange(len(texts)))


def test_words_that_tell_of_a_label_are_left_alone(tmp_path, monkeypatch):
    package = pytest.importorskip("wiki_ru_wordnet")
    wordnet = package.WikiWordnet()  # slow to load
    monkeypatch.setattr(package, "WikiWordnet", lambda: wordnet)
    config = AugmentConfig(tmp_path / "a", tmp_path / "b", ("synonyms",))

    def forms(count, joy):
        texts = ["огромный дом", "гигантский дом"] * (count // 2)
        return find_synonyms(_rows(texts, joy), config, lambda *_: None).forms

    neutral = forms(40, [0, 0, 1, 1] * 10)
    assert neutral["огромный"] == ("гигантский",)
    assert neutral["гигантский"] == ("огромный",)
    assert forms(40, [1, 0] * 20) == {}
    assert forms(10, [0] * 10) == {}, "they are too rare to know what they tell"


def test_replaced_words_keep_capitals_and_names_stay():
    synonyms = Synonyms({"снова": ("вновь",), "воронов": ("галок",)}, 1.0)
    assert synonyms("Снова ты. Снова! СНОВА", Random(1)) == "Вновь ты. Вновь! ВНОВЬ"
    assert synonyms("игра Воронов снова", Random(1)) == "игра Воронов вновь"
    assert synonyms("[СНОВА] по-снова", Random(1)) is None
    assert Synonyms({"снова": ("вновь",)}, 0.0)("снова", Random(1)) is None


def test_emoji_become_words_once_and_signs_stay():
    expected = {
        "класс 👍🏽👍🏿👍!": "класс большой палец вверх !",
        "люблю❤️ ❤️ тебя": "люблю сердце тебя",
        "☕️ и 😡": "горячий напиток и злится",
        "© 2020 ™": None,
        "без": None,
        # These get a short «и» back, which the package's names have lost.
        "🙋🏻": "человек с поднятой рукой",
        "😾": "злой кот",
    }
    words = EmojiWords.of(expected)
    assert {text: words(text, Random(1)) for text in expected} == expected
