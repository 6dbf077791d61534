"""Word forms by pymorphy3: lemmas, and other words put into the form of a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ov_emotions.system import require

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


class Inflector:
    """Puts words into forms.

    :raises MissingExtraError: if `pymorphy3` is not installed.
    """

    def __init__(self) -> None:
        self._morph: Any = require("pymorphy3", extra="data").MorphAnalyzer(lang="ru")

    def lemma(self, form: str) -> str:
        """Return the dictionary form of a word's likeliest reading.

        :param form: in lower case.
        :return: its lemma.
        """
        return str(self._morph.parse(form)[0].normal_form)

    def in_form_of(self, form: str, lemmas: Iterable[str]) -> tuple[str, ...]:
        """Put words into the form of another.

        :param form: a word in lower case.
        :param lemmas: dictionary forms.
        :return: those that have the form, in it; empty if `form` may be of several lemmas or is a
            name, a pronoun or the like.
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
