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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ov_emotions.normalize import replace_surrogates
from ov_emotions.system import require

if TYPE_CHECKING:
    from ov_emotions.classifier import EmotionClassifier
    from ov_emotions.manifest import Manifest

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# What the style sheet has a colour of its own for.
_COLOURED = frozenset({"anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"})


@dataclass(frozen=True)
class Words:
    """The same said in both languages, not escaped."""

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
    return html_escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", replace_surrogates(text)))


def percent(share: float) -> Words:
    """Write a probability in whole per cent."""
    whole = round(share * 100)
    return Words(f"{whole}\N{NO-BREAK SPACE}%", f"{whole}%")


def decimal(value: float, digits: int = 1, *, signed: bool = False) -> Words:
    """Write a number with a decimal comma in Russian and a point in English."""
    text = f"{value:{'+' if signed else ''},.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return Words(text.replace(",", "\N{NO-BREAK SPACE}").replace(".", ","), text)


def count(number: int) -> Words:
    """Write a whole number with its thousands set apart."""
    return decimal(number, 0)


def stamp(text: str) -> str:
    """Mark an answer with the text that it belongs to; the page's script computes the same."""
    return f"{zlib.crc32(replace_surrogates(text).encode()):x}"


_FILE = tomllib.loads((files("ov_emotions.demo") / "texts.toml").read_text("utf-8"))
EXAMPLES = tuple(Words(**both) for both in _FILE.pop("examples"))
"""Utterances to click: Russian, for the model knows Russian, and what they mean in English."""
_LIBRARY = {kind: _FILE.pop(kind) for kind in ("rows", "files")}
TEXTS: Mapping[str, Words] = MappingProxyType({k: Words(**both) for k, both in _FILE.items()})
"""Every sentence of the page by name; places to fill are the same in both languages."""


def say(name: str, /, **values: object) -> Words:
    """Give a sentence, with its places filled."""
    return TEXTS[name].format(**values)


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


def _named(label: str, model: EmotionClassifier | Manifest) -> Words:
    return Words(model.label_names_ru.get(label, label), label)  # a label is an English word


def render(part: str, **values: object) -> str:
    """Fill a part of the page in.

    :param part: name of a macro in `templates/parts.html.j2`.
    :param values: what it shows; texts are escaped, `Words` are written in both languages.
    """
    return str(getattr(_parts(), part)(**values))


@cache
def _parts() -> Any:
    jinja2, markupsafe = require("jinja2", extra="demo"), require("markupsafe", extra="demo")
    markup = markupsafe.Markup

    def written(value: object) -> object:
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
        in_russian=in_russian,
        hue=lambda label: label if label in _COLOURED else "other",
        attributes=lambda words, name: markup(words.attributes(name)),
    )
    environment.globals.update(say=say, named=_named)
    return environment.get_template("parts.html.j2").module
