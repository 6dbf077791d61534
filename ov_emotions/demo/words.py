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
from functools import cache
from html import escape as html_escape
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ov_emotions.normalize import replace_surrogates
from ov_emotions.system import require

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
    :return: the CRC-32 of the text in UTF-8, for the attribute `data-of`.
    """
    return f"{zlib.crc32(replace_surrogates(text).encode()):x}"


_FILE = tomllib.loads((files("ov_emotions.demo") / "texts.toml").read_text("utf-8"))
EXAMPLES = tuple(Words(**both) for both in _FILE.pop("examples"))
"""Utterances to click: Russian, for the model knows Russian, and what they mean in English."""
_LIBRARY = {kind: _FILE.pop(kind) for kind in ("rows", "files")}
TEXTS: Mapping[str, Words] = MappingProxyType({k: Words(**both) for k, both in _FILE.items()})
"""Every sentence of the page by name; places to fill are the same in both languages."""


def say(name: str, /, **values: object) -> str:
    """Give a sentence as markup in both languages.

    :param name: of the sentence.
    :param values: fill its places.
    :return: the markup.
    """
    return TEXTS[name].format(**values).html()


def in_russian(english: str, kind: str = "rows") -> Words:
    """Say in both languages what the library says of a row or a file.

    :param english: the reason of a `BadRow`, or an error.
    :param kind: rows or files.
    :return: the same; in English only where there is no Russian for it.
    """
    for form in _LIBRARY[kind]:
        if match := re.fullmatch(form["en"], english, re.DOTALL):
            return Words(match.expand(form["ru"]), english)
    return Words(english, english)


def bad_file(error: Exception, path: Path) -> Words:
    """Say what is wrong with a file, and not where it lies here.

    :param error: what the library raised.
    :param path: of the file.
    :return: a sentence.
    """
    return in_russian(str(error).replace(str(path), path.name), "files")


def render(template: str, **values: Any) -> str:
    """Fill a template in.

    :param template: name of a file in `templates`, without its ending.
    :param values: what it shows; texts are escaped, `Words` are written in both languages.
    :return: the markup.
    """
    filled: str = _environment().get_template(f"{template}.html.j2").render(**values)
    return filled


@cache
def _environment() -> Any:
    jinja2, markupsafe = require("jinja2", extra="demo"), require("markupsafe", extra="demo")
    markup = markupsafe.Markup

    def written(value: Any) -> Any:
        if isinstance(value, Words):
            return markup(value.html())
        return markup(escape(value)) if type(value) is str else value

    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.PackageLoader("ov_emotions.demo"),
        undefined=jinja2.StrictUndefined,
        finalize=written,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        count=count,
        decimal=decimal,
        attributes=lambda words, name: markup(words.attributes(name)),
    )
    environment.globals["say"] = lambda name, **values: TEXTS[name].format(**values)
    return environment
