"""A dialogue as it was read: who said what, in which order, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ov_emotions.errors import InputError


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker said in one turn.

    :param speaker: as the source names them.
    :param text: as it stands in the source.
    :param time: seconds since the source's zero; None where it tells no time.
    :param row: its line or row in the source; None where it came from no file.
    """

    speaker: str
    text: str
    time: float | None = None
    row: int | None = None

    def __post_init__(self) -> None:
        for name in ("speaker", "text"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InputError(
                    f"the {name} of an utterance must be a text, not {type(value).__name__}"
                )
        if not self.speaker.strip():
            raise InputError("the speaker of an utterance must have a name")


@dataclass(frozen=True)
class Dialogue:
    """Utterances in the order in which they were said.

    :param name: unique among the dialogues that are analysed together.
    :param utterances: at least one.
    :param source: the file it came from; empty where there is none.
    """

    name: str
    utterances: tuple[Utterance, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if not self.utterances:
            raise InputError(f"the dialogue {self.name!r} has no utterances")

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers, in the order in which they first speak."""
        return tuple(dict.fromkeys(utterance.speaker for utterance in self.utterances))


@dataclass(frozen=True)
class LeftOut:
    """A line or row that could not be used.

    :param source: the file.
    :param row: its number, as `ov_emotions.texts` counts.
    :param reason: why.
    """

    source: str
    row: int
    reason: str


@dataclass(frozen=True)
class Reading:
    """What was found in one or several files.

    :param dialogues: in the order of the files.
    :param left_out: what could not be used.
    :param notes: what the files were taken for where their names do not tell, a sentence each.
    """

    dialogues: tuple[Dialogue, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def utterances(self) -> int:
        """How many there are in all dialogues."""
        return sum(len(dialogue.utterances) for dialogue in self.dialogues)


def folded(name: str) -> str:
    """Make names comparable: in one case, with one ё and single spaces."""
    return " ".join(name.casefold().replace("ё", "е").split())


def spelt_alike(utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
    """Give speakers whose names differ in case or spaces alone one name, the first they had."""
    names: dict[str, str] = {}
    return tuple(
        replace(said, speaker=names.setdefault(folded(said.speaker), said.speaker))
        for said in utterances
    )


def joined(readings: Sequence[Reading]) -> Reading:
    """Put several readings together; dialogues of one name get their source before it.

    :param readings: one a file.
    :return: all of them, with unique names.
    """
    dialogues = [dialogue for reading in readings for dialogue in reading.dialogues]
    names = Counter(dialogue.name for dialogue in dialogues)
    taken: set[str] = set()
    unique = []
    for dialogue in dialogues:
        name = dialogue.name
        if names[name] > 1 and dialogue.source:
            name = f"{dialogue.source}: {name}"
        number = 1
        free = name
        while free in taken:
            number += 1
            free = f"{name} ({number})"
        taken.add(free)
        unique.append(Dialogue(free, dialogue.utterances, dialogue.source))
    left_out = tuple(row for reading in readings for row in reading.left_out)
    notes = tuple(note for reading in readings for note in reading.notes)
    return Reading(tuple(unique), left_out, notes)
