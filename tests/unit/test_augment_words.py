from __future__ import annotations

from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pymorphy3", reason="words are put into form by pymorphy3")
pytest.importorskip("emoji", reason="emoji get their names from it")
pytest.importorskip("wiki_ru_wordnet", reason="synonyms come from it")

from ov_emotions.data.augment import words as module
from ov_emotions.data.augment.words import (
    EmojiWords,
    Inflector,
    Synonyms,
    find_synonyms,
    strongest_deviation,
)
from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.data.settings import AugmentConfig
from ov_emotions.labels import EKMAN


@pytest.fixture(scope="module")
def inflector() -> Inflector:
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
    ],
)
def test_a_synonym_takes_the_form_of_the_word(
    inflector: Inflector, form: str, lemma: str, expected: tuple[str, ...]
) -> None:
    assert inflector.in_form_of(form, [lemma]) == expected


@pytest.mark.parametrize(
    ("form", "lemma"),
    [
        ("машину", "автомобиль"),  # another gender
        ("стали", "делаться"),  # of «стать» or of «сталь»
        ("позволил", "разрешать"),  # another aspect
        ("москву", "столица"),  # a name
        ("кто", "человек"),  # a pronoun
        ("бамбарбию", "способ"),  # no word
    ],
)
def test_no_synonym_where_the_words_around_would_not_agree(
    inflector: Inflector, form: str, lemma: str
) -> None:
    assert inflector.in_form_of(form, [lemma]) == ()


def _rows(texts: list[str], joy: list[int]) -> LabelledTexts:
    targets = np.zeros((len(texts), len(EKMAN)), dtype=np.int8)
    targets[:, EKMAN.index("joy")] = joy
    return LabelledTexts(EKMAN, tuple(texts), targets, ("x",) * len(texts), np.arange(len(texts)))


def test_deviations_are_measured_within_a_set_and_without_unknown_rows() -> None:
    rows = _rows(["a"] * 8, [1, 1, 1, 1, 0, 0, 0, 0])
    one, other = np.array([0]), np.array([1])
    counts, deviations = strongest_deviation(rows, [one] * 4 + [other] * 4, 3)
    assert counts.tolist() == [4, 4, 0]
    np.testing.assert_allclose(deviations, [2, 2, 0])  # 4 - 4/2, by the root of 4/4
    # Where each set has one share of its own, its words tell nothing.
    apart = LabelledTexts(EKMAN, rows.texts, rows.targets, ("x",) * 4 + ("y",) * 4, rows.rows)
    assert not strongest_deviation(apart, [one] * 4 + [other] * 4, 3)[1].any()
    unknown = rows.targets.copy()
    unknown[4:] = UNKNOWN
    masked = LabelledTexts(EKMAN, rows.texts, unknown, rows.origins, rows.rows)
    assert not strongest_deviation(masked, [one] * 4 + [other] * 4, 3)[1].any()


def test_words_that_tell_of_a_label_are_left_alone(tmp_path) -> None:
    texts = ["огромный дом", "гигантский дом"] * 20
    config = AugmentConfig(tmp_path / "a", tmp_path / "b", ("synonyms",))
    neutral = find_synonyms(_rows(texts, [0, 0, 1, 1] * 10), config, lambda *_: None)
    assert neutral.forms["огромный"] == ("гигантский",)
    assert neutral.forms["гигантский"] == ("огромный",)
    telling = find_synonyms(_rows(texts, [1, 0] * 20), config, lambda *_: None)
    assert telling.forms == {}
    rare = find_synonyms(_rows(texts[:10], [0] * 10), config, lambda *_: None)
    assert rare.forms == {}


def test_senses_marked_as_slang_or_figurative_are_no_synonyms(monkeypatch) -> None:
    word = lambda lemma, text: SimpleNamespace(  # noqa: E731
        lemma=lambda: lemma, definition=lambda: text
    )
    plain = word("полицейский", "полицейский~ru~ сотрудник {{пример|{{жарг.}} x}}")
    slang = word("мусор", "{{п.}}, {{жарг.}} милиционер")
    spoken = word("коп", "{{разг.}} полицейский")
    sense = SimpleNamespace(get_words=lambda: [plain, slang, spoken])
    wordnet = SimpleNamespace(get_synsets=lambda lemma: [sense] if lemma != "дом" else [])
    monkeypatch.setattr(
        module, "require", lambda *_, **__: SimpleNamespace(WikiWordnet=lambda: wordnet)
    )
    found = module._partners(frozenset(("полицейский", "мусор", "коп", "дом")), 2)
    assert found == {
        "полицейский": ("коп",),
        "мусор": (),
        "коп": ("полицейский",),
        "дом": (),
    }


def test_replaced_words_keep_capitals_and_names_stay() -> None:
    synonyms = Synonyms({"снова": ("вновь",), "воронов": ("галок",)}, 1.0)
    assert synonyms("Снова ты. Снова! СНОВА", Random(1)) == "Вновь ты. Вновь! ВНОВЬ"
    assert synonyms("игра Воронов снова", Random(1)) == "игра Воронов вновь"
    assert synonyms("[СНОВА] по-снова", Random(1)) is None
    assert Synonyms({"снова": ("вновь",)}, 0.0)("снова", Random(1)) is None


def test_at_least_one_word_is_replaced() -> None:
    synonyms = Synonyms({"снова": ("вновь",)}, 0.001)
    assert synonyms("снова и снова", Random(4)) in ("вновь и снова", "снова и вновь")


def test_emoji_become_words_once_and_signs_stay() -> None:
    texts = ["класс 👍🏽👍🏿👍!", "люблю❤️ ❤️ тебя", "☕️ и 😡", "© 2020 ™", "без"]
    words = EmojiWords.of(texts)
    assert [words(text, Random(1)) for text in texts] == [
        "класс большой палец вверх !",
        "люблю сердце тебя",
        "горячий напиток и злится",
        None,
        None,
    ]


def test_names_get_their_short_i_back() -> None:
    words = EmojiWords.of(["🙋🏻", "😾"])
    assert words("🙋🏻", Random(1)) == "человек с поднятой рукой"
    assert words("😾", Random(1)) == "злой кот"
