"""Words in two languages at once: the style sheet shows the one that the reader chose.

A switch of language then changes every word on the page in place, those of results included, and
needs no server. What is hidden is hidden from screen readers too.
"""

from __future__ import annotations

import re
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape as html_escape
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from ov_emotions.normalize import replace_surrogates

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Words:
    """The same said in both languages, not escaped.

    :param ru: in Russian.
    :param en: in English.
    """

    ru: str
    en: str

    def format(self, **values: object) -> Words:
        """Fill places in braces; a value that is `Words` itself gives each language its own."""
        return Words(
            self.ru.format(**{k: v.ru if isinstance(v, Words) else v for k, v in values.items()}),
            self.en.format(**{k: v.en if isinstance(v, Words) else v for k, v in values.items()}),
        )

    def html(self) -> str:
        """Return the markup of both."""
        return f'<span lang="ru">{escape(self.ru)}</span><span lang="en">{escape(self.en)}</span>'

    def attributes(self, name: str) -> str:
        """Return both as attributes, out of which the page's script sets `name` itself."""
        return f'data-{name}-ru="{escape(self.ru)}" data-{name}-en="{escape(self.en)}"'


def escape(text: str) -> str:
    """Escape a text for the page; what cannot be shown becomes U+FFFD."""
    clean = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", replace_surrogates(text))
    return html_escape(clean)


def percent(share: float) -> Words:
    """Write a probability in whole per cent.

    :param share: in [0, 1].
    :return: with a no-break space before the sign in Russian.
    """
    whole = round(share * 100)
    return Words(f"{whole}\N{NO-BREAK SPACE}%", f"{whole}%")


def decimal(value: float, digits: int = 1, *, signed: bool = False) -> Words:
    """Write a number with a decimal comma in Russian and a point in English."""
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    text = text.replace("-", "\N{MINUS SIGN}")
    space = "\N{NO-BREAK SPACE}"
    return Words(text.replace(",", space).replace(".", ","), text)


def count(number: int) -> Words:
    """Write a whole number with its thousands set apart."""
    return Words(f"{number:,}".replace(",", "\N{NO-BREAK SPACE}"), f"{number:,}")


def label_words(label: str, russian: Mapping[str, str]) -> Words:
    """Name a label.

    :param label: its identifier, which is an English word.
    :param russian: the Russian names of the model's labels.
    :return: its name in both languages.
    """
    return Words(russian.get(label, label), label)


def stamp(text: str) -> str:
    """Mark an answer with the text that it belongs to; the page's script computes the same.

    :param text: as the reader wrote it.
    :return: an attribute, the CRC-32 of the text in UTF-8.
    """
    return f'data-of="{zlib.crc32(replace_surrogates(text).encode()):x}"'


def _read_texts() -> Mapping[str, Words]:
    text = (files("ov_emotions.demo") / "texts.toml").read_text("utf-8")
    return MappingProxyType({name: Words(**both) for name, both in tomllib.loads(text).items()})


TEXTS = _read_texts()
"""Every sentence of the page by name; places to fill are the same in both languages."""

EXAMPLES: tuple[Words, ...] = (
    Words(
        "ну наконец то доехали я так рада вас всех видеть",
        "finally we’ve made it, so glad to see you all",
    ),
    Words(
        "сколько можно ждать третий раз звоню и никто ничего не делает",
        "how long must I wait, I call for the third time and nobody does a thing",
    ),
    Words(
        "ой а я и не знала что вы уже переехали",
        "oh, and I didn’t know that you had moved already",
    ),
    Words(
        "мне так страшно идти туда одной вечером",
        "I’m so afraid of going there alone at night",
    ),
    Words(
        "добрый день подскажите до которого часа вы работаете",
        "good afternoon, until what hour are you open",
    ),
)
"""Utterances to click: Russian, for the model knows Russian, and what they mean in English."""


def say(name: str, /, **values: object) -> str:
    """Give a sentence as markup in both languages.

    :param name: of the sentence.
    :param values: fill its places.
    :return: the markup.
    """
    return TEXTS[name].format(**values).html()


_ROWS = (
    (r"the text is missing", "текста нет"),
    (r"the text is NaN", "вместо текста NaN"),
    (r"the text is empty", "текст пуст"),
    (r"the text is not UTF-8", "текст не в UTF-8"),
    (
        r"the text is (?:true or false|a number|a list|an object), not a string",
        "значение не строка",
    ),
    (r"the line is longer than (\d+) MiB", r"строка длиннее \1 МиБ"),
    (r"the line is not UTF-8: byte (\w+) at (\d+)", r"строка не в UTF-8: байт \1 на месте \2"),
    (r"the row is too short to have a text", "в строке не хватает ячеек"),
    (r"the line is not JSON: .*", "строка не читается как JSON"),
    (r"the line is not a JSON object", "строка не объект JSON"),
    (r"there is no field '(.*)', only (.*)", r"нет поля «\1», есть только \2"),
    (r"the row has (\d+) cells, the header has (\d+)", r"ячеек в строке \1, а в заголовке \2"),
    (r"column '(.*)' is not UTF-8", r"столбец «\1» не в UTF-8"),
    (r"the line does not begin with a speaker", "строка не начинается с говорящего"),
    (r"the speaker is missing", "не сказано, кто говорит"),
    (r"the dialogue is missing", "не сказано, чей это диалог"),
    (r"the time .*", "время не читается"),
    (r"a value cannot be read", "значение не читается"),
    (r".* \(lines (\d+) to (\d+)\)", r"строки файла \1–\2 не читаются как CSV"),
    (r".* \(line (\d+)\)", r"строка файла \1 не читается как CSV: лишняя кавычка"),
)
_FILES = (
    (
        r"(.*) is of no known format.*",
        r"\1: такой формат не читается; годятся .txt, .csv, .tsv, .xlsx, .jsonl, .json, .parquet, "
        r".srt и .vtt",
    ),
    (
        r"(.*) is in none of the encodings.*",
        r"\1 не в UTF-8, UTF-16 или Windows-1251; сохраните файл в UTF-8",
    ),
    (r"(.*) is not a readable \.xlsx.*", r"\1 не читается как .xlsx: файл повреждён"),
    (r"(.*) is not JSON.*", r"\1 не читается как JSON"),
    (r"(.*) is neither a list of objects.*", r"\1: не список объектов и не запись распознавания"),
    (r"(.*) has no cue.*", r"в \1 нет ни одной реплики с временем"),
    (r"(.*) has a header that cannot be read.*", r"\1: не читается строка с названиями столбцов"),
    (r"(.*) has no column '(.*?)'.*", r"в \1 нет столбца «\2»"),
    (r"(.*) has more than one column (.*)", r"в \1 несколько столбцов \2"),
    (r"the column '(.*)' of (.*) holds .*, not strings", r"в столбце «\1» файла \2 не строки"),
    (r"(.*) is not a readable Parquet file.*", r"\1 не читается как Parquet: он повреждён"),
    (r"(.*) is damaged after row (\d+).*", r"\1 повреждён после строки \2"),
    (r"(.*) names no speaker.*", r"в \1 не видно говорящих: нужны строки вида «Клиент: алло»"),
    (r"(.*) is empty; a transcript .*", r"\1 пуст: нужны строки вида «Клиент: алло»"),
    (r"(.*) has no usable rows.*", r"в \1 нет ни одной пригодной строки"),
    (r"(.*) cannot be read.*", r"\1 не читается"),
)


def bad_row(reason: str) -> Words:
    """Say in both languages why a row was left out.

    :param reason: of a `BadRow`.
    :return: the reason; in English only where there is no Russian for it.
    """
    return Words(_russian(reason, _ROWS) or reason, reason)


def bad_file(error: Exception, path: Path, name: str) -> Words:
    """Say in both languages what is wrong with a file.

    :param error: what the library raised.
    :param path: where the file lies here, which is no business of the reader's.
    :param name: what the reader called it.
    :return: a sentence.
    """
    english = str(error).replace(str(path), name)
    return Words(_russian(english, _FILES) or english, english)


def _russian(text: str, forms: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, russian in forms:
        if match := re.fullmatch(pattern, text, re.DOTALL):
            return match.expand(russian)
    return None
