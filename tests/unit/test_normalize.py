from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from ov_emotions.normalize import build_normalizer, normalize, replace_surrogates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Иди к чёрту!", "иди к чёрту"),
        ("Чё\u0308рт", "чёрт"),
        ("ЁЖ е\u0308ж", "ёж ёж"),
        ("\u0418\u0306од", "йод"),
        ("за\u0301мок и замо\u0301к", "замок и замок"),
        ("В 2024 году — 5 раз", "в 2024 году 5 раз"),
        ("１２３ ﬁн", "123 fiн"),
        ("привет, [NAME]!", "привет"),
        ("[first_name last] ушёл", "ушёл"),
        ("текст<br />дальше <username>", "текст дальше"),
        ("@вася_1 смотри", "смотри"),
        ("смотри https://a.ru/б?в=1 вот", "смотри вот"),
        ("смотри www.a.ru/б вот", "смотри вот"),
        ("ссылка https://a.ru\nследующая строка", "ссылка следующая строка"),
        ("ссылка https://a.ru\u00a0дальше", "ссылка дальше"),
        ("Owwww...больно", "owwww больно"),
        ("кое-что, где-то", "кое что где то"),
        ("пере\u00adнос", "перенос"),
        ("при\u200bвет \ufeffмир", "привет мир"),
        ("a\tб\r\nв\u2028г\u0085д", "a б в г д"),
        ("😀 👍🏽 !!! …", ""),
        ("   ", ""),
        ("", ""),
        ("日本語 мир", "日本語 мир"),
        ("a\x00b", "a b"),
        ("а\ud800б", "а б"),
        ("\ud835\udc00", "a"),
        # Brackets around a whole sentence are no markup.
        ("[он сказал что больше никогда не придёт]", "он сказал что больше никогда не придёт"),
    ],
)
def test_texts_become_words_of_letters_and_digits(text, expected):
    assert normalize(text) == expected


# Jamo that a deleted mark kept apart compose in a second pass.
_JAMO = re.compile("[\u1100-\u11ff]")
texts = st.text(alphabet=st.characters(exclude_categories=[]), max_size=60)
russian = st.text(alphabet=" АБВЁЙабвёй\u0301\u0306\u0308.,!@[]<>/:wphts019_-\n\u00ad", max_size=60)


@given(texts | russian)
@example("İ\u0307ß ﬀ ſ")
@settings(max_examples=300, deadline=None)
def test_normalising_twice_changes_nothing(text):
    assume(not _JAMO.search(text))
    once = normalize(text)
    assert normalize(once) == once


@given(texts | russian)
@settings(max_examples=300, deadline=None)
def test_only_letters_digits_and_single_spaces_are_left(text):
    result = normalize(text)
    kinds = {unicodedata.category(character)[0] for character in result}
    # A character that Python's Unicode does not know yet may be a letter to the normaliser's.
    assert kinds <= {"L", "N", "Z", "C"}
    assert all(c == " " for c in result if unicodedata.category(c)[0] == "Z")
    assert all(unicodedata.category(c) == "Cn" for c in result if unicodedata.category(c)[0] == "C")
    assert result == " ".join(result.split(" "))
    assert "  " not in result
    assert result == result.strip()


def _tokenizer() -> Tokenizer:
    """A tokeniser with one piece a word of one character, loaded from its JSON."""
    letters = sorted(
        {c for i in range(0x20, 0x530) if (c := build_normalizer().normalize_str(chr(i))) != ""}
    )
    pieces = ["[PAD]", "[UNK]", *(c for c in letters if len(c) == 1 and c != " ")]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    vocab |= {f"##{piece}": len(vocab) + i for i, piece in enumerate(pieces[2:])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    tokenizer.normalizer = build_normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return Tokenizer.from_str(tokenizer.to_str())


TOKENIZER = _tokenizer()


@given(texts | russian)
@settings(max_examples=200, deadline=None)
def test_a_tokeniser_loaded_from_json_normalises_alike(text):
    text = replace_surrogates(text)
    assert TOKENIZER.normalizer.normalize_str(text) == normalize(text)


HOSTILE = (
    "Чёрту ЁЖ е\u0308лка \u0418\u0306од за\u0301мок",
    "[NAME] привет <username> мир @вася @_x1",
    "https://t.co/x мир www.ya.ru мир\nhttps://x.y\nпривет Owwww...больно смотриhttps://a",
    "привет\tмир\r\nмир\u2028мир\u0085мир\u00a0мир\u3000мир",
    "",
    "   ",
    "😀👍🏽❤️",
    "мир\u00adу при\u200bвет \ufeffда \u2060нет",
    "１２３ ﬁ мир² ½ № ™ Ⓜ ⅷ Ｈｅｌｌｏ 𝐀",
    "a@b.ru мир_мир кое-что 5,5% C++",
    "x\x00y \x07 \ufffd \ue000",
    "<b>мир</b> <br/> [очень длинная метка которая не метка совсем] [] <>",
    "слово " * 300,
    "ааааа" * 30,
    "ÀÉßẞŒ Ǆ ªº",
    "в\u0300\u0327\u0301",
)
# The graph folds case where the normaliser lowers it (final sigma, the dotted İ), and isolates
# ideographs, which the tokenizers library leaves joined. None of it is in Russian words.
KNOWN_TO_DIFFER = ("İstanbul", "ὈΔΥΣΣΕΎΣ οδυσσεύς", "日本語")


@pytest.fixture(scope="module")
def served():
    """The tokeniser as an OpenVINO graph, as a model server runs it."""
    pytest.importorskip("transformers", reason="openvino_tokenizers converts its tokenisers")
    import openvino as ov
    from openvino_tokenizers import convert_tokenizer
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_object=TOKENIZER, unk_token="[UNK]", pad_token="[PAD]")
    graph = ov.Core().compile_model(convert_tokenizer(fast), "CPU")

    def ids(text: str) -> list[int]:
        found = graph([text])
        return found["input_ids"][0][found["attention_mask"][0].astype(bool)].tolist()

    return ids


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_converted_graph_gives_the_same_ids(served, text):
    assert served(text) == TOKENIZER.encode(text).ids


def test_the_converted_graph_agrees_on_every_character_that_russian_text_may_hold(served):
    ranges = ((0x20, 0x130), (0x131, 0x250), (0x400, 0x530), (0x2000, 0x2070), (0x20A0, 0x20C0))
    characters = [chr(i) for low, high in (*ranges, (0x2190, 0x2200)) for i in range(low, high)]
    text = " ".join(f"м{c}р" for c in characters)
    # Markup could span characters.
    text = text.replace("м[р", "").replace("м<р", "").replace("м@р", "")
    assert served(text) == TOKENIZER.encode(text).ids


@pytest.mark.parametrize("text", KNOWN_TO_DIFFER)
def test_known_differences_of_the_converted_graph_are_still_there(served, text):
    assert served(text) != TOKENIZER.encode(text).ids
