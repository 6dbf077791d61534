"""The words of the page, the plots and the summary, in English and in Russian."""

from __future__ import annotations

from typing import Any, Literal, get_args

from ov_emotions.dialogues.dialogue_words import WORDS
from ov_emotions.errors import InputError

Language = Literal["en", "ru"]


class Words:
    """Says things in one language.

    :param language: en or ru.
    :raises InputError: for any other.
    """

    def __init__(self, language: str) -> None:
        if language not in get_args(Language):
            raise InputError(f"the language must be en or ru, not {language!r}")
        self.language = language
        self._words = {key: both[language == "ru"] for key, both in WORDS.items()}

    def __call__(self, key: str, **values: Any) -> str:
        """Say something.

        :param key: of `WORDS`.
        :param values: what to put in.
        :return: the text, not escaped.
        """
        return self._words[key].format(**values)

    def percent(self, share: float | None) -> str:
        """Write a share: `52 %`."""
        return "–" if share is None else f"{100 * share:.0f} %"

    def interval(self, value: float | None, low: float, high: float) -> str:
        """Write a share with its interval: `52 % (25–77)`."""
        if value is None:
            return "–"
        return f"{self.percent(value)} ({100 * low:.0f}–{100 * high:.0f})"
