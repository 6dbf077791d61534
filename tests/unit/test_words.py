from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from ov_emotions import words as module
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.encoding import EncodedTexts, LongTexts, TextEncoder
from ov_emotions.words import is_plain, splits_at_spaces

TEXTS = [
    "Слово!",
    "",
    "я рад",
    "«Чёрт» — слово; ЁЖ?",
    "[NAME] слово",
    "...",
    "www.сайт слово",
    "www…сайт",
    "see http://example.org/слово now",
    "слово 1,5% don't",
    "злость " * 30,
    "а" * 70 + " слово",
    "日本語 слово",
    "чёрт\tслово\r\nрадость",
    "\u0301слово",
    "сло\ud800во",
    "@кто слово",
    "а_б ^ `в`",
    "a\x00b",
]


def without_words(bundle: Bundle, max_length: int, long_texts: LongTexts = "window") -> TextEncoder:
    encoder = TextEncoder(bundle.tokenizer(), max_length, long_texts)
    encoder._words = None
    return encoder


def assert_same(found: EncodedTexts, expected: EncodedTexts) -> None:
    for name in ("texts", "pad_id"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("ids", "lengths", "owners", "truncated"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name
        assert getattr(found, name).dtype == getattr(expected, name).dtype, name


@pytest.fixture(scope="module", params=SHIPPED)
def shipped_bundle(request: pytest.FixtureRequest) -> Iterator[Bundle]:
    yield Bundle.load(request.param)


@pytest.mark.parametrize("long_texts", ["window", "truncate"])
def test_words_give_the_tokens_that_the_tokeniser_gives(
    shipped_bundle: Bundle, long_texts: LongTexts
) -> None:
    encoder = TextEncoder(shipped_bundle.tokenizer(), 16, long_texts)
    assert encoder._words is not None, "the shipped models are read by word"
    expected = without_words(shipped_bundle, 16, long_texts).encode(TEXTS)
    assert_same(encoder.encode(TEXTS), expected)
    assert_same(encoder.encode(TEXTS), expected)


@given(
    st.lists(
        st.text(
            st.one_of(
                st.sampled_from("абвёЁЯ AZ19 .,!-[]<>@/:w\n\t«»…\x00\xa0²ﬁİ"),
                st.characters(),
            ),
            max_size=40,
        ),
        min_size=4,
        max_size=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_text_the_tokens_are_those_of_the_tokeniser(texts: list[str]) -> None:
    for encoder, plain in _encoders():
        assert_same(encoder.encode(texts), plain.encode(texts))


def _encoders(
    made: list[tuple[TextEncoder, TextEncoder]] = [],  # noqa: B006, made once
) -> list[tuple[TextEncoder, TextEncoder]]:
    if not made:
        for name in SHIPPED:
            bundle = Bundle.load(name)
            made.append((TextEncoder(bundle.tokenizer(), 32), without_words(bundle, 32)))
    return made


def test_a_word_is_tokenised_once(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(tiny_bundle.tokenizer(), 16)
    table = encoder._words
    assert table is not None
    texts = ["слово радость", "радость", "Слово, злость", "я"]
    first = encoder.encode(texts)
    monkeypatch.setattr(table, "_tokenizer", None)  # from here on, a new word raises
    assert_same(encoder.encode(texts[::-1][::-1]), first)
    with pytest.raises(AttributeError):
        encoder.encode([*texts, "чёрт"])


def test_a_full_table_starts_anew(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WORDS", 12)
    encoder = TextEncoder(tiny_bundle.tokenizer(), 16)
    plain = without_words(tiny_bundle, 16)
    assert encoder._words is not None
    for start in range(0, 30, 5):
        texts = [f"{letter} слово" for letter in "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"[start:][:5]]
        assert_same(encoder.encode(texts), plain.encode(texts))
        assert len(encoder._words._index) <= 12
    many = list("абвгдеёжзийклмнопрст")
    assert_same(encoder.encode(many), plain.encode(many))


def test_threads_share_a_table(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WORDS", 20)
    encoder = TextEncoder(tiny_bundle.tokenizer(), 16)
    letters = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
    lists = [[f"{a} {b} слово" for b in letters[i : i + 6]] for i, a in enumerate(letters[:20])]
    expected = [without_words(tiny_bundle, 16).encode(texts) for texts in lists]
    with ThreadPoolExecutor(6) as pool:
        for found, wanted in zip(pool.map(encoder.encode, lists * 5), expected * 5, strict=True):
            assert_same(found, wanted)


def test_few_texts_and_long_ones_go_to_the_tokeniser(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TextEncoder(tiny_bundle.tokenizer(), 16)
    looked_up: list[list[str]] = []
    table = encoder._words
    assert table is not None
    encode = table.encode

    def spy(texts: list[str]) -> object:
        looked_up.append(texts)
        return encode(texts)

    monkeypatch.setattr(table, "encode", spy)
    encoder.encode(["слово"])
    encoder.encode(["слово " * 100] * 5)
    assert looked_up == []
    encoder.encode(["слово"] * 5)
    assert looked_up == [["слово"] * 5]


@pytest.mark.parametrize("text", ["[NAME]", "<b>", "a@b", "www", "http://x", "ї", "é", "\xa0", "²"])
def test_what_the_normaliser_has_rules_for_is_not_plain(text: str) -> None:
    assert not is_plain(f"слово {text}")
    assert is_plain("слово!")


def test_other_tokenisers_are_not_read_by_word(tiny_tokenizer_json: str) -> None:
    def changed(name: str, value: object) -> Tokenizer:
        tokenizer = Tokenizer.from_str(tiny_tokenizer_json)
        setattr(tokenizer, name, value)
        return tokenizer

    assert splits_at_spaces(Tokenizer.from_str(tiny_tokenizer_json))
    assert not splits_at_spaces(changed("normalizer", normalizers.NFKC()))
    assert not splits_at_spaces(changed("pre_tokenizer", pre_tokenizers.ByteLevel()))
    first = pre_tokenizers.Metaspace(prepend_scheme="first")
    assert not splits_at_spaces(changed("pre_tokenizer", first))
    own = Tokenizer.from_str(tiny_tokenizer_json)
    own.add_tokens(["эм"])
    assert not splits_at_spaces(own)
    bare = Tokenizer.from_str(tiny_tokenizer_json)
    bare.post_processor = None
    assert not splits_at_spaces(bare)
    assert np.array(TextEncoder(bare, 16).encode(["слово"] * 5).lengths).tolist() == [1] * 5
