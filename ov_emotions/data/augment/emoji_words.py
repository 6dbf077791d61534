"""Emoji written out in Russian words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from ov_emotions._extras import require

_SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
# They are emoji to Unicode, but nobody reads them aloud.
_SIGNS = frozenset("©®™‼⁉〰♂♀")


@dataclass(frozen=True)
class EmojiWords:
    """Writes a text with its emoji in words.

    :param names: words of each emoji, skin tones left out.
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
        found = {_SKIN_TONES.sub("", e) for t in texts for e in emoji.distinct_emoji_list(t)}
        names = {}
        for one in sorted(found):
            name = emoji.demojize(one, language="ru", delimiters=("", ""))
            if name != one and not _SIGNS & set(one) and re.search("[а-яё]", name):
                words = re.findall(r"[\w-]+", name.replace("_", " "))
                names[one] = " ".join(_with_short_i(word, morph) for word in words)
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
            one = _SKIN_TONES.sub("", found["emoji"])
            between = text[end : found["match_start"]]
            words = self.names.get(one)
            if words is None:
                continue
            repeated = one == last and not between.strip("\ufe0f\u200d ")
            pieces += [] if repeated else [between, f" {words} "]
            end, last = found["match_end"], one
        if not pieces:
            return None
        return " ".join("".join([*pieces, text[end:]]).split())


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
