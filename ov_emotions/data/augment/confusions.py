"""Spellings of a Russian word that sound alike, or nearly so.

The rules are those by which Russian spelling departs from sound: vowels without stress fall
together («о» with «а», «е» with «и»), consonants lose or take voice at the end of a word and before
one another, some clusters drop a consonant (Avanesov, "Русское литературное произношение"). Where
the stress lies is not known here, so that in words of several syllables a stressed vowel may be
taken for one without stress; words of one syllable keep theirs.
"""

from __future__ import annotations

import re

_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Voice: lost at the end and before voiceless consonants, taken before voiced ones.
        (r"б(?=$|[пкстцчшщфх])", "п"),
        (r"в(?=$|[пктцчшщх])", "ф"),
        (r"г(?=$|[ктцшч])", "к"),
        (r"д(?=$|[пкхш])", "т"),
        (r"ж(?=$|[кт])", "ш"),
        (r"з(?=$|[пкт])", "с"),
        (r"с(?=[бгдз])", "з"),
        (r"т(?=[бгз])", "д"),
        (r"к(?=[бджз])", "г"),
        # At the end a voiceless consonant may be heard as one that lost its voice.
        (r"(?<=[аеёиоуыэюя])п$", "б"),
        (r"(?<=[аеёиоуыэюя])к$", "г"),
        (r"(?<=[аеёиоуыэюя])т$", "д"),
        # Endings and words that are not read as they are written.
        (r"(?<!мно)(?<!стро)(?<!доро)(?<!убо)(?<!^о)(?<=[ое])го$", "во"),
        (r"(?<=^се)го(?=дня)", "во"),
        (r"^что", "што"),
        (r"(?<=коне)ч(?=но)|(?<=ску)ч(?=н)|(?<=наро)ч(?=но)", "ш"),
        # Clusters.
        (r"стн", "сн"),
        (r"здн", "зн"),
        (r"лнц", "нц"),
        (r"вств", "ств"),
        (r"[сз]ч|жч", "щ"),
        (r"[тд]ск", "цк"),
        (r"([бвгджзклмнпрстф])\1", r"\1"),
        # Letters that hardly sound.
        (r"(?<=[шчжщ])ь$", ""),
        (r"ъ", "ь"),
        (r"(?<=[иы])й$", ""),
        (r"(?<=[жшц])и", "ы"),
        (r"(?<=ц)ы", "и"),
        (r"ё", "е"),
    )
)
_VOWEL_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"о", "а"),
        (r"(?<![жшчщц])а(?!$|ть|л[аио]?$|ми$)", "о"),
        (r"е", "и"),
        (r"(?<=[бвдзлмнпрстфчщ])и", "е"),
        (r"(?<=[бвдзлмнпрст])я(?!$)", "и"),
        (r"(?<=[чщ])а(?!$)", "и"),
    )
)
_VOWELS = frozenset("аеёиоуыэюя")


def syllables(word: str) -> int:
    """Count the vowels of a word.

    :param word: in lower case.
    :return: how many there are.
    """
    return sum(letter in _VOWELS for letter in word)


def sound_alikes(word: str) -> list[str]:
    """List the spellings of a word that differ from it in one place and sound alike.

    :param word: Cyrillic letters in lower case.
    :return: spellings, each once; empty if there is none.
    """
    found: dict[str, None] = {}
    rules = _RULES + _VOWEL_RULES if syllables(word) > 1 else _RULES
    for pattern, replacement in rules:
        for match in pattern.finditer(word):
            found[word[: match.start()] + match.expand(replacement) + word[match.end() :]] = None
    found.pop(word, None)
    return [spelling for spelling in found if len(spelling) > 1]
