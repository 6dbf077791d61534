"""What an analysis of dialogues found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ov_emotions.dialogues.curves import Curve, Share
from ov_emotions.dialogues.dialogue import Utterance
from ov_emotions.dialogues.settings import DialogueSettings

Role = Literal["client", "operator"]
Segment = Literal["calm", "wavering", "upset", "unknown"]
Rule = Literal["level", "label"]


@dataclass(frozen=True, slots=True)
class ScoredUtterance:
    """An utterance and what the model says about it.

    :param utterance: as it was read.
    :param probabilities: by label, in the order of the analysis's labels.
    :param labels: those that reach their thresholds, the most probable first.
    :param negativity: the highest strength of a negative label, in [0, 1]; 0.5 is its threshold.
    :param weight: in [0, 1]: how much the utterance counts; 0 if nothing in it could be read.
    :param words: of the normalised text.
    """

    utterance: Utterance
    probabilities: tuple[float, ...]
    labels: tuple[str, ...]
    negativity: float
    weight: float
    words: int


@dataclass(frozen=True)
class TurningPoint:
    """Where a speaker's mood changes for good.

    :param position: of the first utterance after the change, in the dialogue, from 0.
    :param before: mean negativity since the turning point before it.
    :param after: mean negativity up to the next.
    :param p_value: of the permutation test.
    :param label: the negative label that comes up most, or goes most where the mood gets better.
    :param label_shift: by how much its mean probability changes.
    """

    position: int
    before: float
    after: float
    p_value: float
    label: str
    label_shift: float

    @property
    def worse(self) -> bool:
        """Whether the mood gets worse."""
        return self.after > self.before


@dataclass(frozen=True)
class Handover:
    """When to hand the client over to another operator.

    :param position: of the utterance after which to do it, in the dialogue, from 0.
    :param rule: `level` if the client's running level stayed high, `label` if one label was strong
        several times in a row.
    :param positions: of the client's utterances that fulfil the rule, the last one included.
    :param values: of each: its running level, or the label's strength.
    """

    position: int
    rule: Rule
    positions: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class SpeakerAnalysis:
    """One speaker in one dialogue.

    :param name: of the speaker.
    :param role: None where it cannot be told.
    :param positions: of the speaker's utterances in the dialogue, from 0.
    :param negativity: smoothed, shape (utterances,).
    :param running: the running level that the hand-over rule looks at, same shape.
    :param emotions: smoothed probabilities, shape (utterances, labels).
    :param negative: share of utterances with a negative label.
    :param shares: share of utterances with each label, by label.
    :param turning_points: in order.
    """

    name: str
    role: Role | None
    positions: tuple[int, ...]
    negativity: Curve
    running: Curve
    emotions: Curve
    negative: Share
    shares: Mapping[str, Share]
    turning_points: tuple[TurningPoint, ...]


@dataclass(frozen=True, eq=False)
class DialogueAnalysis:
    """One dialogue.

    :param name: of the dialogue.
    :param source: the file it came from.
    :param utterances: in order.
    :param speakers: in the order in which they first speak.
    :param handover: None if there is no need, or no client.
    """

    name: str
    source: str
    utterances: tuple[ScoredUtterance, ...]
    speakers: tuple[SpeakerAnalysis, ...]
    handover: Handover | None = None

    @property
    def clients(self) -> tuple[SpeakerAnalysis, ...]:
        """The speakers who are clients."""
        return tuple(speaker for speaker in self.speakers if speaker.role == "client")

    @property
    def negativity(self) -> float:
        """The clients' share of negative utterances, or everybody's where no client is known."""
        shares = [s.negative for s in self.clients or self.speakers if s.negative.value is not None]
        counts = np.array([share.count for share in shares], dtype=float)
        values = np.array([share.value for share in shares], dtype=float)
        return float(np.average(values, weights=counts)) if len(shares) else 0.0


@dataclass(frozen=True)
class Client:
    """One client over all their dialogues.

    :param name: of the client; with the dialogue's where names are roles only, such as «Клиент».
    :param dialogues: names of the dialogues.
    :param negative: share of their utterances with a negative label.
    :param segment: calm, wavering or upset; unknown if nothing was readable.
    :param sure: whether the whole interval of the share lies in the segment.
    :param handovers: dialogues in which the client should have been handed over.
    """

    name: str
    dialogues: tuple[str, ...]
    negative: Share
    segment: Segment
    sure: bool
    handovers: int


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything about the dialogues that were analysed together.

    :param labels: the model's.
    :param label_names_ru: Russian name by label.
    :param thresholds: by label.
    :param negative_labels: labels that count as negative.
    :param model: name of the model; empty where it has none.
    :param settings: of the analysis.
    :param dialogues: in the order given.
    :param clients: the most negative first.
    :param cuts: shares of negative utterances up to which a client is calm, and from which upset.
    :param undecided: names of the dialogues in which no client could be told.
    """

    labels: tuple[str, ...]
    label_names_ru: Mapping[str, str]
    thresholds: Mapping[str, float]
    negative_labels: tuple[str, ...]
    model: str
    settings: DialogueSettings
    dialogues: tuple[DialogueAnalysis, ...]
    clients: tuple[Client, ...]
    cuts: tuple[float, float]
    undecided: tuple[str, ...] = field(default=())

    def by_urgency(self) -> list[DialogueAnalysis]:
        """Sort the dialogues: those to hand over first, and of each kind the most negative."""
        return sorted(self.dialogues, key=lambda one: (one.handover is None, -one.negativity))

    def label_name(self, label: str, language: str = "en") -> str:
        """Name a label.

        :param label: the model's.
        :param language: ru or en.
        :return: its name; the label itself where there is no other.
        """
        return self.label_names_ru.get(label, label) if language == "ru" else label
