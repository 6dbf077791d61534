"""Words replaced by synonyms in the same form, and emoji written out in words.

The synonyms are those of `wiki-ru-wordnet`, made from the Russian Wiktionary. Much of what stands
together there is not interchangeable, and a synonym of an emotion's word may carry another emotion
or none; so few words are replaced, and none that tell about a label:

- word and synonym are nouns, verbs, adjectives or adverbs that have few senses, and the sense they
  share is marked as neither figurative nor old, low, slang or technical;
- both stand in several training rows, whose labels are about those of any other rows;
- the form of the word belongs to one lemma only, and the synonym has one form for all that the
  word's form may stand for; nouns keep gender and animacy, verbs aspect and transitivity, so that
  the words around them still agree.

`wiki-ru-wordnet` says of itself that it is under the MIT licence. Its words and definitions are
from the Russian Wiktionary, whose text is published under CC BY-SA; how that bears on single words
taken from it, the package does not say. Only words go into the rows, no definitions.

What remains wrong: senses that the WordNet does not tell apart, and verbs that govern another case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.data.settings import AugmentConfig
from ov_emotions.progress import Tell, counted
from ov_emotions.system import require

_TOKEN = re.compile(r"(?<![\[\w-])[А-Яа-яЁё]+(?![\]\w-])")
_WORD = re.compile(r"[а-яё]+")
_SENTENCE_END = re.compile(r"(?:^|[.!?…])[\s\"«(—–-]*$")
_MARK = re.compile(r"\{\{\s*([а-яё -]+\.)\s*[|}]", re.IGNORECASE)
_PLAIN_MARKS = frozenset(("разг.", "книжн.", "мн.", "ед.", "безл.", "неперех.", "одуш."))
_LEFT_ALONE = Path(__file__).with_name("left_alone.txt")
"""Found by reading what came out: parts of set phrases («по крайней мере», «единственное, что»),
words that the WordNet takes for one sense while they have several, and words that take other cases
or company than their synonym."""


_KINDS = {
    "NOUN": "noun", "ADJF": "adjective", "ADJS": "adjective", "ADVB": "adverb", "VERB": "verb",
    "INFN": "verb",
}  # fmt: skip
_NOT_REPLACED = frozenset(
    # Names, pronouns, question words, ordinals, and what the dictionary does not know.
    ("Name", "Surn", "Patr", "Geox", "Orgn", "Trad", "Abbr", "Init", "Apro", "Dmns", "Ques", "Anum",
     "Prdx", "Infr", "Slng", "Arch", "Erro", "Dist", "UNKN")
)  # fmt: skip
_FORM = frozenset(
    ("nomn", "gent", "datv", "accs", "ablt", "loct", "voct", "gen2", "acc2", "loc2",
     "sing", "plur", "masc", "femn", "neut", "1per", "2per", "3per", "past", "pres", "futr",
     "indc", "impr", "incl", "excl", "VERB", "INFN", "ADJF", "ADJS", "anim", "inan")
)  # fmt: skip
_RARE_PARSE = 0.03
"""Parses of a lower probability are taken for not meant: «все» is hardly ever of «всё»."""
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
class Synonyms:
    """Writes a text with some of its words replaced.

    :param forms: for each word form, in lower case, what may stand in its place.
    :param rate: chance that a word with a synonym is replaced.
    """

    forms: Mapping[str, tuple[str, ...]]
    rate: float

    def __call__(self, text: str, rng: Random) -> str | None:
        """Return the text with at least one word replaced; None if no word can be."""
        spots = [m for m in _TOKEN.finditer(text) if self._may_replace(m, text)]
        if not spots or not self.rate:
            return None
        one = rng.randrange(len(spots))
        pieces, end = [], 0
        for i, match in enumerate(spots):
            if rng.random() < self.rate or i == one:
                synonym = rng.choice(self.forms[match[0].lower()])
                pieces += [text[end : match.start()], _in_case_of(match[0], synonym)]
                end = match.end()
        return "".join([*pieces, text[end:]])

    def _may_replace(self, match: re.Match[str], text: str) -> bool:
        word = match[0]
        if word.lower() not in self.forms:
            return False
        # A capital inside a sentence is a name's.
        return not word[0].isupper() or word.isupper() or bool(
            _SENTENCE_END.search(text, 0, match.start())
        )  # fmt: skip


def find_synonyms(data: LabelledTexts, config: AugmentConfig, tell: Tell) -> Synonyms:
    """Find what may be replaced in labelled rows, which say which words tell about a label."""
    inflector = Inflector()
    rows = [sorted(set(_WORD.findall(text.lower()))) for text in data.texts]
    forms = sorted({form for row in rows for form in row})
    told = counted(forms, tell, total=len(forms), unit="words", note="synonyms: lemmas")
    lemma_of = {form: inflector.lemma(form) for form in told}
    neutral = _neutral_lemmas(data, rows, lemma_of, config)
    partners = _partners(neutral, config.synonym_senses)
    found = {}
    for form in counted(forms, tell, total=len(forms), unit="words", note="synonyms: forms"):
        lemmas = partners.get(lemma_of[form], ())
        if lemmas and (others := inflector.in_form_of(form, lemmas)):
            found[form] = others
    return Synonyms(found, config.synonym_rate)


def _neutral_lemmas(
    data: LabelledTexts,
    rows: Sequence[Sequence[str]],
    lemma_of: Mapping[str, str],
    config: AugmentConfig,
) -> frozenset[str]:
    lemmas = sorted(set(lemma_of.values()))
    number = {lemma: i for i, lemma in enumerate(lemmas)}
    words = [np.unique([number[lemma_of[form]] for form in row]).astype(np.int64) for row in rows]
    counts, deviations = strongest_deviation(data, words, len(lemmas))
    fit = (counts >= config.synonym_min_count) & (deviations < config.synonym_telling)
    left_alone = _LEFT_ALONE.read_text(encoding="utf-8").split()
    return frozenset(lemmas[i] for i in np.flatnonzero(fit)) - frozenset(left_alone)


def _partners(lemmas: frozenset[str], most_senses: int) -> dict[str, tuple[str, ...]]:
    """Look up the synonyms of some lemmas that are among them."""
    wordnet = require("wiki_ru_wordnet", extra="data").WikiWordnet()
    senses = {lemma: wordnet.get_synsets(lemma) for lemma in sorted(lemmas)}
    few = {lemma: some for lemma, some in senses.items() if len(some) <= most_senses}
    return {
        lemma: tuple(
            sorted({
                word.lemma()
                for sense in some
                if all(_unmarked(w.definition()) for w in sense.get_words() if w.lemma() == lemma)
                for word in sense.get_words()
                if word.lemma() != lemma and word.lemma() in few and _unmarked(word.definition())
            })
        )
        for lemma, some in few.items()
    }  # fmt: skip


def _unmarked(definition: str) -> bool:
    """Tell whether the Wiktionary calls a sense neither figurative, old, low, slang nor special."""
    marks = _MARK.findall(definition.partition("{{пример")[0])
    return all(mark.lower() in _PLAIN_MARKS for mark in marks)


def _in_case_of(word: str, synonym: str) -> str:
    if word.isupper() and len(word) > 1:
        return synonym.upper()
    return synonym.capitalize() if word[0].isupper() else synonym


def strongest_deviation(
    data: LabelledTexts, words: Sequence[NDArray[np.int64]], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Measure how far the labels of a word's rows are from what chance would give.

    By chance, a row has a label as often as the rows of its set do: sets differ in their shares.
    Rows where the label is unknown do not count for it.

    :param words: per row the numbers, below `size`, of the words in it, each once.
    :return: per word, shape (size,): the rows that it stands in; and the largest absolute
        deviation over the labels, in standard errors of a sum of independent draws.
    """
    row_of = np.repeat(np.arange(len(data)), [len(some) for some in words])
    word_of = np.concatenate([*words, np.empty(0, dtype=np.int64)])
    origins = np.unique(np.array(data.origins), return_inverse=True)[1]
    largest = np.zeros(size)
    for targets in data.targets.T:
        known = targets != UNKNOWN
        rows = np.bincount(origins, weights=known)
        present = np.bincount(origins, weights=targets == 1)
        share = (present / np.maximum(rows, 1))[origins]
        variance = known * share * (1 - share)
        excess = known * ((targets == 1) - share)
        total = np.bincount(word_of, weights=excess[row_of], minlength=size)
        spread = np.sqrt(np.bincount(word_of, weights=variance[row_of], minlength=size))
        deviation = np.divide(np.abs(total), spread, out=np.zeros(size), where=spread > 0)
        largest = np.maximum(largest, deviation)
    return np.bincount(word_of, minlength=size), largest


class Inflector:
    """Puts words into forms."""

    def __init__(self) -> None:
        self._morph: Any = require("pymorphy3", extra="data").MorphAnalyzer(lang="ru")

    def lemma(self, form: str) -> str:
        """Return the dictionary form of the likeliest reading of a word in lower case."""
        return str(self._morph.parse(form)[0].normal_form)

    def in_form_of(self, form: str, lemmas: Iterable[str]) -> tuple[str, ...]:
        """Put dictionary forms into the form of a word in lower case, as far as they have it.

        There is none where the word may be of several lemmas or is a name, a pronoun or the like.
        """
        parses = [p for p in self._morph.parse(form) if p.score >= _RARE_PARSE]
        kinds = {(p.normal_form, _KINDS.get(str(p.tag.POS))) for p in parses}
        if len(kinds) != 1 or None in next(iter(kinds)) or not all(map(_replaceable, parses)):
            return ()
        found = []
        for lemma in lemmas:
            forms = {self._inflect(lemma, parse) for parse in parses}
            if len(forms) == 1 and (one := forms.pop()) is not None and one != form:
                found.append(one)
        return tuple(found)

    def _inflect(self, lemma: str, like: Any) -> str | None:
        kind = _KINDS[str(like.tag.POS)]
        wanted = {g for g in like.tag.grammemes if g in _FORM}
        for parse in self._morph.parse(lemma):
            tag = parse.tag
            if parse.normal_form != lemma or _KINDS.get(str(tag.POS)) != kind:
                continue
            if not _replaceable(parse) or not _agree(kind, tag, like.tag):
                continue
            if kind == "adverb":
                return lemma
            inflected = parse.inflect(wanted)
            if inflected is not None and wanted <= set(inflected.tag.grammemes):
                return str(inflected.word)
        return None


def _replaceable(parse: Any) -> bool:
    return parse.is_known and not _NOT_REPLACED & set(parse.tag.grammemes)


def _agree(kind: str, one: Any, other: Any) -> bool:
    """Tell whether the words around need not change."""
    if kind == "noun":
        same = one.gender == other.gender and one.animacy == other.animacy
        return same and not ({"Pltm", "Sgtm", "Fixd"} & (one.grammemes ^ other.grammemes))
    if kind == "verb":
        return bool(one.aspect == other.aspect and one.transitivity == other.transitivity)
    return True


@dataclass(frozen=True)
class EmojiWords:
    """Writes a text with its emoji in words.

    :param names: words of each emoji, written without skin tone and selector.
    """

    names: Mapping[str, str]

    @staticmethod
    def of(texts: Iterable[str]) -> EmojiWords:
        """Look up the words of the emoji that stand in some texts."""
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
        """Return the text with words for its emoji, one that is repeated once; None without any."""
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


def _with_short_i(word: str, morph: Any) -> str:
    """Give back the breve that the package's names have lost: «сердитыи» is «сердитый»."""
    if morph.word_is_known(word):
        return word
    spots = [i for i, letter in enumerate(word) if letter == "и"]
    mended = (word[:i] + "й" + word[i + 1 :] for i in reversed(spots))
    return next(filter(morph.word_is_known, mended), word)
