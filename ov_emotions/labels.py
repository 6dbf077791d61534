"""Label sets, their Russian names, and the maps from one set to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ov_emotions.errors import InputError


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of labels; the order is the order of a model's outputs.

    :param name: what the set is called.
    :param labels: English identifiers, as they appear in predictions and manifests.
    :param russian: the Russian name of each label.
    """

    name: str
    labels: tuple[str, ...]
    russian: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, label: str) -> int:
        """Return a label's position; raise InputError if the set has no such label."""
        try:
            return self.labels.index(label)
        except ValueError:
            raise InputError(
                f"label {label!r} is not in {self.name}; it has {', '.join(self.labels)}"
            ) from None


def _label_set(name: str, russian: dict[str, str]) -> LabelSet:
    return LabelSet(name, tuple(russian), russian)


EKMAN = _label_set(
    "ekman-7",
    {
        "anger": "гнев",
        "disgust": "отвращение",
        "fear": "страх",
        "joy": "радость",
        "sadness": "грусть",
        "surprise": "удивление",
        "neutral": "нейтрально",
    },
)

GOEMOTIONS = _label_set(
    "goemotions-28",
    {
        "admiration": "восхищение",
        "amusement": "веселье",
        "anger": "злость",
        "annoyance": "раздражение",
        "approval": "одобрение",
        "caring": "забота",
        "confusion": "непонимание",
        "curiosity": "любопытство",
        "desire": "желание",
        "disappointment": "разочарование",
        "disapproval": "неодобрение",
        "disgust": "отвращение",
        "embarrassment": "смущение",
        "excitement": "возбуждение",
        "fear": "страх",
        "gratitude": "признательность",
        "grief": "горе",
        "joy": "радость",
        "love": "любовь",
        "nervousness": "нервозность",
        "optimism": "оптимизм",
        "pride": "гордость",
        "realization": "осознание",
        "relief": "облегчение",
        "remorse": "раскаяние",
        "sadness": "грусть",
        "surprise": "удивление",
        "neutral": "нейтрально",
    },
)

CEDR = _label_set(
    "cedr-5",
    {
        "joy": "радость",
        "sadness": "грусть",
        "surprise": "удивление",
        "fear": "страх",
        "anger": "гнев",
    },
)

IZARD = _label_set(
    "izard-10",
    {
        "neutral": "нейтрально",
        "joy": "радость",
        "sadness": "грусть",
        "anger": "гнев",
        "enthusiasm": "интерес",
        "surprise": "удивление",
        "disgust": "отвращение",
        "fear": "страх",
        "guilt": "вина",
        "shame": "стыд",
    },
)

LABEL_SETS: Mapping[str, LabelSet] = {s.name: s for s in (EKMAN, GOEMOTIONS, CEDR, IZARD)}


@dataclass(frozen=True)
class LabelMap:
    """How the labels of one set are read as labels of another.

    A target label that no source label stands for is *unknown*: the source does not annotate it,
    which is not the same as saying that it is absent.

    :param source: the labels an annotator chose from.
    :param target: the labels a model predicts.
    :param parts: for each target label, the source labels that stand for it.
    """

    source: LabelSet
    target: LabelSet
    parts: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for label, sources in self.parts.items():
            self.target.index(label)
            for source in sources:
                self.source.index(source)

    @property
    def annotated(self) -> tuple[bool, ...]:
        """Whether the source annotates each target label, in the target's order."""
        return tuple(bool(self.parts.get(label)) for label in self.target.labels)

    def apply(self, present: Sequence[str]) -> tuple[int | None, ...]:
        """Translate the source labels of one row.

        :return: per target label 1 (present), 0 (absent) or None (unknown).
        :raises InputError: if a label is not in the source set.
        """
        for label in present:
            self.source.index(label)
        chosen = set(present)
        return tuple(
            int(not chosen.isdisjoint(self.parts[label])) if self.parts.get(label) else None
            for label in self.target.labels
        )


def _to_ekman(source: LabelSet, **parts: str) -> LabelMap:
    return LabelMap(source, EKMAN, {label: tuple(names.split()) for label, names in parts.items()})


# The Ekman grouping published with GoEmotions (Demszky et al., 2020).
GOEMOTIONS_TO_EKMAN = _to_ekman(
    GOEMOTIONS,
    anger="anger annoyance disapproval",
    disgust="disgust",
    fear="fear nervousness",
    joy="joy amusement approval excitement gratitude love optimism relief pride admiration desire "
    "caring",
    sadness="sadness disappointment embarrassment grief remorse",
    surprise="surprise realization confusion curiosity",
    neutral="neutral",
)

CEDR_TO_EKMAN = _to_ekman(CEDR, **{label: label for label in CEDR.labels})

# Guilt and shame follow remorse and embarrassment, which the Ekman grouping files under sadness;
# enthusiasm (Izard's "interest") follows excitement, which it files under joy.
IZARD_TO_EKMAN = _to_ekman(
    IZARD,
    anger="anger",
    disgust="disgust",
    fear="fear",
    joy="joy enthusiasm",
    sadness="sadness guilt shame",
    surprise="surprise",
    neutral="neutral",
)
