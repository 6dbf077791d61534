"""The words that tell a label's texts from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ov_emotions.progress import Tell, counted
from ov_emotions.system import require

# What carries grammar and no matter: prepositions, conjunctions, particles, pronouns, numerals.
_FUNCTION = frozenset({"PREP", "CONJ", "PRCL", "NPRO", "NUMR"})
_FUNCTION_GRAMMEMES = ("Apro", "NUMB", "ROMN", "PNCT")


@dataclass(frozen=True)
class TellingWord:
    """A word that stands out where a label is present.

    :param word: dictionary form.
    :param present: texts with the label that have the word.
    :param absent: texts without the label that have it.
    :param log_odds: how much more often it stands with the label; natural logarithm.
    :param z: the same over its standard error.
    """

    word: str
    present: int
    absent: int
    log_odds: float
    z: float


def lemmas(words: Iterable[str], tell: Tell) -> dict[str, str | None]:
    """Find the dictionary form of each normalised word, by pymorphy3's most likely reading.

    Stop words have none: function words by their part of speech, numbers, single letters and the
    verb «быть».
    """
    require("pymorphy3_dicts_ru", extra="data")
    analyzer = require("pymorphy3", extra="data").MorphAnalyzer(lang="ru")
    distinct = sorted(set(words))
    found: dict[str, str | None] = {}
    told = counted(distinct, tell, total=len(distinct), unit="words", note="dictionary forms")
    for word in told:
        reading = analyzer.parse(word)[0]
        tag = reading.tag
        stop = (
            len(word) == 1
            or tag.POS in _FUNCTION
            or any(grammeme in tag for grammeme in _FUNCTION_GRAMMEMES)
            or reading.normal_form == "быть"
        )
        found[word] = None if stop else str(reading.normal_form)
    return found


def telling_words(
    texts: Sequence[frozenset[str]],
    targets: NDArray[np.int8],
    *,
    most: int,
    least_texts: int,
    prior_texts: float,
) -> list[tuple[TellingWord, ...]]:
    """Rank words by the log-odds ratio with an informative Dirichlet prior.

    Texts where the label is present stand against texts where it is known to be absent. The prior
    is the words' frequency in both together, so that a rare word needs more evidence (Monroe,
    Colaresi and Quinn, "Fightin' Words", Political Analysis 16, 2008). A word counts once a text:
    one text that repeats it says no more than another.

    :param targets: int8, shape (texts, labels): 1 present, 0 absent, others unknown.
    :param most: words returned for a label.
    :param least_texts: texts with the label that must have a word.
    :param prior_texts: weight of the prior: the sum of its parameters, in words.
    :return: by label, in the order of the columns, words with z above 0, the greatest z first.
    """
    vocabulary = sorted({word for text in texts for word in text})
    if not vocabulary:
        return [() for _ in range(targets.shape[1])]

    def counts(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        counted = Counter(word for row in rows.tolist() for word in texts[row])
        return np.array([counted[word] for word in vocabulary], dtype=np.float64)

    found = []
    for column in targets.T:
        present, absent = counts(np.flatnonzero(column == 1)), counts(np.flatnonzero(column == 0))
        log_odds, z = fightin_words(present, absent, prior_texts)
        order = np.lexsort((np.arange(len(z)), -z))
        chosen = [i for i in order.tolist() if z[i] > 0 and present[i] >= least_texts][:most]
        found.append(
            tuple(
                TellingWord(
                    vocabulary[i],
                    int(present[i]),
                    int(absent[i]),
                    round(float(log_odds[i]), 4),
                    round(float(z[i]), 4),
                )
                for i in chosen
            )
        )
    return found


def fightin_words(
    one: NDArray[np.float64], other: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare two corpora word by word (Monroe et al. 2008, equations 16, 20 and 22).

    :param prior: sum of the Dirichlet prior's parameters, spread as both corpora's words are.
    :return: the log-odds ratios and their z-scores, of the shape of the counts; zeros where a
        corpus is empty or nothing stands against a word.
    """
    together = one + other
    zeros = np.zeros_like(together)
    if not one.sum() or not other.sum():
        return zeros, zeros.copy()
    alpha = prior * together / together.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (one + alpha) / (one.sum() + prior - one - alpha)
        second = (other + alpha) / (other.sum() + prior - other - alpha)
        ratio = np.log(first) - np.log(second)
        z = ratio / np.sqrt(1 / (one + alpha) + 1 / (other + alpha))
    # A word that no text has here (unknown targets), or the only word there is, tells nothing.
    known = np.isfinite(ratio) & np.isfinite(z)
    return np.where(known, ratio, 0.0), np.where(known, z, 0.0)
