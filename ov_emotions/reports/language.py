"""What the pages say, in English and in Russian: sentences, numbers and the nouns that follow them.

A sentence stands in both languages where it is used: `say("{} rows", "{} строк", n)`. Numbers are
rounded to what they carry and written as a newspaper of the language would write them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from ov_emotions.errors import InputError

if TYPE_CHECKING:
    from ov_emotions.evaluation.results import Interval
    from ov_emotions.quantization.study_schema import Spread

LanguageCode = Literal["en", "ru"]
NONE = "–"
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_BLANK = re.compile(r"[^\S\xa0\x1c-\x1f\x85]")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Put a space or U+FFFD in place of what a page cannot hold or show.

    These are control characters, lone surrogates, and controls of the writing direction, which
    would turn the words around them.
    """
    return _UNFIT.sub("\ufffd", _BLANK.sub(" ", text))


class Language:
    """Says things in one language.

    :param code: en or ru.
    :raises InputError: for any other.
    """

    def __init__(self, code: str) -> None:
        if code not in get_args(LanguageCode):
            raise InputError(f"the language must be en or ru, not {code!r}")
        self.code = code

    def __call__(self, en: str, ru: str, *values: object, **named: object) -> str:
        """Choose a sentence, and put the values, if there are any, into its braces."""
        text = ru if self.code == "ru" else en
        return text.format(*values, **named) if values or named else text

    def names(self, en: str, ru: str) -> list[str]:
        """Choose a list, its items between bars: `label|rows`."""
        return self(en, ru).split("|")

    def number(self, value: float, digits: int) -> str:
        """Write a number with so many decimals: `1,204.5`, `1 204,5`."""
        text = f"{abs(value):,.{digits}f}"
        if self.code == "ru":
            text = text.translate({ord(","): _SPACE, ord("."): ","})
        negative = value < 0 and any(character in "123456789" for character in text)
        return _MINUS + text if negative else text

    def plain(self, value: float) -> str:
        """Write a number as short as it is: `2`, `0.65`."""
        text = f"{value:g}"
        return self.number(value, len(text.partition(".")[2]) if "e" not in text else 6)

    def score(self, value: float | None, digits: int = 3) -> str:
        """Write an F1 or a probability: `0.644`; a dash where there is none."""
        return NONE if value is None else self.number(value, digits)

    def quantity(self, value: float) -> str:
        """Write a positive quantity with three significant digits: `3.05`, `40.5`, `3,460`."""
        digits = 2 if round(value, 2) < 10 else 1 if round(value, 1) < 100 else 0
        return self.number(value, digits)

    def signed(self, value: float, digits: int = 4) -> str:
        """Write a difference with its sign: `+0.0012`, `−0.0006`, `0.0000`."""
        text = self.number(value, digits)
        positive = value > 0 and any(character in "123456789" for character in text)
        return "+" + text if positive else text

    def signed_range(self, low: float, high: float) -> str:
        """Write an interval of a difference: `−0.0019 to +0.0007`."""
        return self("{} to {}", "от {} до {}", self.signed(low), self.signed(high))

    def change(self, of: Interval) -> str:
        """Write a difference with its interval: `−0.0006 (−0.0019 to +0.0007)`."""
        return f"{self.signed(of.value)} ({self.signed_range(of.low, of.high)})"

    def times(self, ratio: Spread) -> str:
        """Write a ratio with the range of its rounds: `2.80× (2.61–3.02)`."""
        median, low, high = map(self.quantity, (ratio.median, ratio.min, ratio.max))
        return f"{median}× ({low}–{high})"

    def within(self, text: str, low: float, high: float) -> str:
        """Put an interval behind a value: `0.644 (0.634–0.653)`."""
        return f"{text} ({self.number(low, 3)}–{self.number(high, 3)})"

    def percent(self, share: float | None, digits: int = 0) -> str:
        """Write a share: `38 %`; `<0.1 %` for what is not quite nothing."""
        if share is None:
            return NONE
        if 0 < 100 * share < 0.5 * 10**-digits:
            return f"<{self.number(10.0**-digits, digits)}{_SPACE}%"
        return f"{self.number(100 * share, digits)}{_SPACE}%"

    def share(self, share: float | None, low: float, high: float) -> str:
        """Write a share with its interval: `52 % (25–77)`."""
        if share is None:
            return NONE
        return f"{self.percent(share)} ({100 * low:.0f}–{100 * high:.0f})"

    def megabytes(self, size: float | None) -> str:
        """Write a size given in bytes: `29.7 MB`, of a million bytes each."""
        return NONE if size is None else self.unit(size / 1e6, "MB", "МБ")

    def unit(self, value: float, en: str, ru: str) -> str:
        """Write a quantity with its unit: `3.05 ms`."""
        return f"{self.quantity(value)}{_SPACE}{self(en, ru)}"

    def duration(self, seconds: float) -> str:
        """Write a time: `42 s`, `3 min 20 s`, `1 h 5 min`."""
        names = self("h min s", "ч мин с").split()
        if seconds < 60:
            shown = self.quantity(seconds) if seconds < 10 else str(round(seconds))
            return f"{shown}{_SPACE}{names[2]}"
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        parts = zip((hours, minutes, 0 if hours else rest), names, strict=True)
        return _SPACE.join(f"{value}{_SPACE}{name}" for value, name in parts if value)

    def count(self, value: int, en: str = "", ru: str = "") -> str:
        """Write a whole number and the noun that agrees with it: `5,427 rows`, `5 427 строк`.

        :param value: at least 0.
        :param en: `row|rows`; nothing for the number alone.
        :param ru: `строка|строки|строк`: after one, after two, after five.
        """
        noun = self(en, ru)
        if "|" in noun:
            form = _russian_form(value) if self.code == "ru" else int(value != 1)
            noun = noun.split("|")[form]
        number = self.number(value, 0)
        return f"{number}{_SPACE}{noun}" if noun else number

    def joined(self, items: Sequence[str]) -> str:
        """Write a list in words: `a`, `a and b`, `a, b and c`."""
        if len(items) < 2:
            return "".join(items)
        return f"{', '.join(items[:-1])} {self('and', 'и')} {items[-1]}"


def _russian_form(value: int) -> int:
    """Return 0 for «одна строка», 1 for «две строки», 2 for «пять строк»."""
    tens, ones = value % 100, value % 10
    if 11 <= tens <= 14:
        return 2
    return 0 if ones == 1 else 1 if 2 <= ones <= 4 else 2
