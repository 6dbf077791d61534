"""Texts as a speech recogniser might have written them.

Words are confused with others that sound alike, or nearly so, by the rules by which Russian
spelling departs from sound: vowels without stress fall together («о» with «а», «е» with «и»),
consonants lose or take voice at the end of a word and before one another, some clusters drop a
consonant (Avanesov, "Русское литературное произношение"). Where the stress lies is not known here,
so that in words of several syllables a stressed vowel may be taken for one without stress; words of
one syllable keep theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from random import Random

from ov_emotions.data.settings import AugmentConfig
from ov_emotions.normalize import normalize

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

FILLERS = (
    "ну", "э", "э э", "вот", "короче", "значит", "как бы", "типа", "это самое", "в общем",
    "так сказать", "м м",
)  # fmt: skip
"""Words that speakers put in while they look for others."""

_CLINGING = frozenset(
    ("а", "без", "бы", "в", "во", "для", "до", "за", "и", "из", "к", "ко", "на", "над", "не", "ни",
     "о", "об", "от", "по", "под", "при", "про", "с", "со", "у")
)  # fmt: skip
"""Words that are spoken as one with the next; nothing is put between."""

_WORD = re.compile(r"[а-яё]+")
_LONGEST_JOINED = 20


@dataclass(frozen=True)
class AsrNoise:
    """Writes a text in lower case, without punctuation, and with errors of recognition.

    Its rates are those of `AugmentConfig` that begin with `noise_`.
    """

    drop: float
    double: float
    confuse: float
    reflexive: float
    ending: float
    split: float
    join: float
    filler: float

    @staticmethod
    def of(config: AugmentConfig) -> AsrNoise:
        return AsrNoise(*(getattr(config, f"noise_{field.name}") for field in fields(AsrNoise)))

    def __call__(self, text: str, rng: Random) -> str | None:
        """Return the normalised text with errors; None if no error fell on it."""
        plain = normalize(text)
        words = [self._word(word, rng) for word in plain.split()]
        pieces: list[str] = []
        for i, word in enumerate(words):
            clings = bool(i) and words[i - 1] in _CLINGING
            if self.filler and not clings and rng.random() < self.filler:
                pieces += [rng.choice(FILLERS), word]
            elif i and self._joins(pieces[-1], word, rng):
                pieces[-1] += word
            else:
                pieces.append(word)
        noisy = " ".join(pieces)
        return None if noisy == plain else noisy

    def _joins(self, left: str, right: str, rng: Random) -> bool:
        # Digits and other scripts would run together to what no recogniser writes.
        return (
            bool(self.join)
            and rng.random() < self.join
            and len(left) + len(right) <= _LONGEST_JOINED
            and bool(_WORD.fullmatch(left.rpartition(" ")[2]))
            and bool(_WORD.fullmatch(right.partition(" ")[0]))
        )

    def _word(self, word: str, rng: Random) -> str:
        if not _WORD.fullmatch(word):
            return word
        if self.reflexive and word.endswith(("тся", "ться")) and rng.random() < self.reflexive:
            return word[:-3] + "ться" if word.endswith("тся") else word[:-4] + "тся"
        if rng.random() < self.confuse and (spellings := sound_alikes(word)):
            word = rng.choice(spellings)
        if len(word) >= 4 and rng.random() < self.drop:
            i = rng.randrange(1, len(word) - 1)
            word = word[:i] + word[i + 1 :]
        if len(word) >= 4 and rng.random() < self.double:
            i = rng.randrange(len(word))
            word = word[:i] + word[i] + word[i:]
        if len(word) >= 5 and rng.random() < self.ending:
            word = word[: -rng.choice((1, 1, 2))]
        if len(word) >= 6 and rng.random() < self.split:
            word = _split(word, rng)
        return word


def _split(word: str, rng: Random) -> str:
    """Split where both parts can be spoken."""
    places = [
        i for i in range(2, len(word) - 1) if _syllables(word[:i]) and _syllables(word[i:])
        and word[i] not in "ьъйы"
    ]  # fmt: skip
    if not places:
        return word
    i = rng.choice(places)
    return f"{word[:i]} {word[i:]}"


def _syllables(word: str) -> int:
    return sum(letter in _VOWELS for letter in word)


def sound_alikes(word: str) -> list[str]:
    """List the spellings of a word in lower case that differ in one place and sound alike."""
    found: dict[str, None] = {}
    rules = _RULES + _VOWEL_RULES if _syllables(word) > 1 else _RULES
    for pattern, replacement in rules:
        for match in pattern.finditer(word):
            found[word[: match.start()] + match.expand(replacement) + word[match.end() :]] = None
    found.pop(word, None)
    return [spelling for spelling in found if len(spelling) > 1]
