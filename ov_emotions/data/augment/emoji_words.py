"""Emoji written out in Russian words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from ov_emotions.system import require

_SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
# These, and the selector that asks for a picture: the emoji is the same without.
_VARIANTS = re.compile("[\U0001f3fb-\U0001f3ff\ufe0f]")
# They are emoji to Unicode, but nobody reads them aloud.
_SIGNS = frozenset("©®™‼⁉〰♂♀▫🅱")
_BETTER_NAMES = {
    # The standard's Russian names miss what people mean by these.
    "♥": "сердце",
    "❤": "сердце",
    "✌": "жест победы",
    "💨": "быстро убегает",
    "😒": "недовольное лицо",
    "😔": "грустит",
    "😣": "страдает",
    "😤": "пыхтит от злости",
    "😥": "расстроен",
    "😳": "смущён",
    "🙆": "руки над головой",
    "🤫": "тише",
}


@dataclass(frozen=True)
class EmojiWords:
    """Writes a text with its emoji in words.

    :param names: words of each emoji, written without skin tone and selector.
    """

    names: Mapping[str, str]

    @staticmethod
    def of(texts: Iterable[str]) -> EmojiWords:
        """Look up the words of the emoji that stand in some texts.

        :param texts: any texts.
        :return: what writes them in words.
        :raises MissingExtraError: if `emoji` or `pymorphy3` is not installed.
        """
        emoji = require("emoji", extra="data")
        morph = require("pymorphy3", extra="data").MorphAnalyzer(lang="ru")
        names = {}
        for found in sorted({e for text in texts for e in emoji.distinct_emoji_list(text)}):
            plain = _VARIANTS.sub("", found)
            name = emoji.demojize(_SKIN_TONES.sub("", found), language="ru", delimiters=("", ""))
            if plain not in _SIGNS and re.search("[а-яё]", name):
                words = re.findall(r"[\w-]+", name.replace("_", " "))
                named = " ".join(_with_short_i(word, morph) for word in words)
                names[plain] = _BETTER_NAMES.get(plain, named)
        return EmojiWords(names)

    def __call__(self, text: str, rng: Random) -> str | None:  # noqa: ARG002
        """Write one text anew.

        :param text: any text.
        :param rng: not needed.
        :return: the text with words for its emoji, one that is repeated once; None if it has none.
        """
        emoji = require("emoji", extra="data")
        pieces: list[str] = []
        end, last = 0, None
        for found in emoji.emoji_list(text):
            one = _VARIANTS.sub("", found["emoji"])
            between = text[end : found["match_start"]].lstrip("\ufe0f\u200d")
            words = self.names.get(one)
            if words is None:
                continue
            repeated = one == last and not between.strip()
            pieces += [] if repeated else [between, f" {words} "]
            end, last = found["match_end"], one
        if not pieces:
            return None
        return " ".join("".join([*pieces, text[end:].lstrip("\ufe0f\u200d")]).split())


def _with_short_i(word: str, morph: object) -> str:
    """Give back the breve that the package's names have lost: «сердитыи» is «сердитый»."""
    known = morph.word_is_known  # type: ignore[attr-defined]
    if known(word) or "и" not in word:
        return word
    spots = [i for i, letter in enumerate(word) if letter == "и"]
    for i in reversed(spots):
        mended = word[:i] + "й" + word[i + 1 :]
        if known(mended):
            return mended
    return word
