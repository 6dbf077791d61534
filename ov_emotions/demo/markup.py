"""Markup in two languages at once: the style sheet shows the one that the reader chose.

A switch of language then changes every word on the page in place, those of results included, and
needs no server. What is hidden is hidden from screen readers too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape as html_escape

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
    :return: with a narrow space before the sign in Russian.
    """
    whole = round(share * 100)
    return Words(f"{whole}\N{NARROW NO-BREAK SPACE}%", f"{whole}%")


def decimal(value: float, digits: int = 1, *, signed: bool = False) -> Words:
    """Write a number with a decimal comma in Russian and a point in English."""
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    text = text.replace("-", "\N{MINUS SIGN}")
    space = "\N{NARROW NO-BREAK SPACE}"
    return Words(text.replace(",", space).replace(".", ","), text)


def count(number: int) -> Words:
    """Write a whole number with its thousands set apart."""
    return Words(f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"), f"{number:,}")


def label_words(label: str, russian: Mapping[str, str]) -> Words:
    """Name a label.

    :param label: its identifier, which is an English word.
    :param russian: the Russian names of the model's labels.
    :return: its name in both languages.
    """
    return Words(russian.get(label, label), label)
