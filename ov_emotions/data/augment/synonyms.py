"""Words replaced by synonyms in the same form.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from ov_emotions.data.augment.config import AugmentConfig
from ov_emotions.data.augment.inflection import Inflector
from ov_emotions.data.augment.new_rows import Report
from ov_emotions.data.augment.telling import strongest_deviation
from ov_emotions.data.dataset import LabelledTexts
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


@dataclass(frozen=True)
class Synonyms:
    """Writes a text with some of its words replaced.

    :param forms: for each word form, in lower case, what may stand in its place.
    :param rate: chance that a word with a synonym is replaced.
    """

    forms: Mapping[str, tuple[str, ...]]
    rate: float

    def __call__(self, text: str, rng: Random) -> str | None:
        """Write one text anew.

        :param text: any text.
        :param rng: of the choices.
        :return: the text with at least one word replaced; None if no word can be.
        """
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


def find_synonyms(data: LabelledTexts, config: AugmentConfig, report: Report) -> Synonyms:
    """Find what may be replaced in the rows of a split.

    :param data: labelled rows, which say which words tell about a label.
    :param config: the limits.
    :param report: told how far the work is.
    :return: what replaces words.
    :raises MissingExtraError: if `pymorphy3` or `wiki-ru-wordnet` is not installed.
    """
    inflector = Inflector()
    rows = [sorted(set(_WORD.findall(text.lower()))) for text in data.texts]
    forms = sorted({form for row in rows for form in row})
    lemma_of: dict[str, str] = {}
    for n, form in enumerate(forms, 1):
        lemma_of[form] = inflector.lemma(form)
        report(n, len(forms), "synonyms: lemmas")
    neutral = _neutral_lemmas(data, rows, lemma_of, config)
    partners = _partners(neutral, config.synonym_senses)
    found = {}
    for form in forms:
        if partners.get(lemma_of[form]):
            others = inflector.in_form_of(form, partners[lemma_of[form]])
            if others:
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
