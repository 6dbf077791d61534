"""Emotions of whole dialogues: curves, turning points, hand-over, and segments of clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ov_emotions.classifier import TextClassifier
from ov_emotions.dialogues.changes import find_changes
from ov_emotions.dialogues.clients import check_names, find_clients, find_handover, find_roles
from ov_emotions.dialogues.curves import Array, running, share_of, smooth
from ov_emotions.dialogues.dialogue import Dialogue
from ov_emotions.dialogues.results import (
    Analysis,
    DialogueAnalysis,
    Handover,
    Role,
    ScoredUtterance,
    SpeakerAnalysis,
    TurningPoint,
)
from ov_emotions.dialogues.settings import DialogueSettings
from ov_emotions.errors import InputError, OvEmotionsError
from ov_emotions.normalize import normalize
from ov_emotions.prediction import Prediction

Progress = Callable[[int, int], None]

_ANGER = DialogueSettings.handover_label  # a model without the default label goes without the rule
_CHUNK = 4096  # texts that are classified together; also how often progress is told


def analyse(
    dialogues: Sequence[Dialogue],
    classifier: TextClassifier,
    settings: DialogueSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Analysis:
    """Analyse dialogues; the same input and settings give the same answer.

    All utterances of all dialogues are classified together, each text once.

    :param dialogues: at least one.
    :param classifier: an `EmotionClassifier`, here or on a server.
    :param settings: None takes the defaults.
    :param progress: gets the texts classified so far, and how many there are.
    :return: the analysis.
    :raises InputError: if there is no dialogue, two have one name, or the settings name labels or
        speakers that are not there.
    """
    settings = settings or DialogueSettings()
    dialogues = list(dialogues)
    if not dialogues:
        raise InputError("there is no dialogue to analyse")
    (name, times), *_ = Counter(dialogue.name for dialogue in dialogues).most_common(1)
    if times > 1:
        raise InputError(f"two dialogues are called {name!r}; the names must differ")
    check_names([name for dialogue in dialogues for name in dialogue.speakers], settings)
    # A model that writes labels has no thresholds; its scores are read around one half.
    given: Mapping[str, float] = getattr(classifier, "thresholds", {})
    labels = classifier.labels
    thresholds = {label: float(given.get(label, 0.5)) for label in labels}
    negative = settings.negative_labels(labels)
    if (label := settings.handover_label) not in (*labels, _ANGER):
        raise InputError(
            f"handover_label {label!r} is no label of the model; it has {', '.join(labels)}"
        )
    predictions = _classify(dialogues, classifier, progress)
    analyst = _Analyst(labels, thresholds, negative, settings)
    analysed = tuple(analyst.dialogue(dialogue, predictions) for dialogue in dialogues)
    clients, cuts = find_clients(analysed, negative, settings)
    return Analysis(
        labels=labels,
        label_names_ru=classifier.label_names_ru,
        thresholds=thresholds,
        negative_labels=negative,
        model=_model_name(classifier),
        settings=settings,
        dialogues=analysed,
        clients=clients,
        cuts=cuts,
        undecided=tuple(dialogue.name for dialogue in analysed if not dialogue.clients),
    )


def _model_name(classifier: TextClassifier) -> str:
    try:
        return str(classifier.bundle.manifest.name)  # type: ignore[attr-defined]
    except (AttributeError, OvEmotionsError):
        return ""


def _classify(
    dialogues: Sequence[Dialogue], classifier: TextClassifier, progress: Progress | None
) -> dict[str, tuple[Prediction, int]]:
    """Give each text's prediction and its number of words."""
    texts = list(dict.fromkeys(u.text for dialogue in dialogues for u in dialogue.utterances))
    texts.sort(key=len)  # texts of one length need no padding
    found: dict[str, tuple[Prediction, int]] = {}
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        for text, prediction in zip(chunk, classifier(chunk), strict=True):
            found[text] = prediction, len(normalize(text).split())
        if progress is not None:
            progress(len(found), len(texts))
    return found


def strength(probabilities: Array, thresholds: Array) -> Array:
    """Put probabilities on the scale on which 0.5 is the threshold, linear below and above it.

    :param probabilities: float64, shape (..., labels), in [0, 1].
    :param thresholds: float64, shape (labels,), in (0, 1).
    :return: float64, the shape of the probabilities, in [0, 1].
    """
    above = 0.5 + 0.5 * (probabilities - thresholds) / (1 - thresholds)
    scaled: Array = np.where(probabilities >= thresholds, above, 0.5 * probabilities / thresholds)
    return np.clip(scaled, 0.0, 1.0)


class _Analyst:
    """Analyses dialogues one by one."""

    def __init__(
        self,
        labels: tuple[str, ...],
        thresholds: Mapping[str, float],
        negative: tuple[str, ...],
        settings: DialogueSettings,
    ) -> None:
        self.labels, self.negative, self.settings = labels, negative, settings
        self.thresholds = np.array(list(thresholds.values()))
        self.columns = [labels.index(label) for label in negative]

    def dialogue(
        self, dialogue: Dialogue, predictions: Mapping[str, tuple[Prediction, int]]
    ) -> DialogueAnalysis:
        found = [predictions[utterance.text] for utterance in dialogue.utterances]
        probabilities = np.array(
            [[prediction.scores[label] for label in self.labels] for prediction, _ in found],
            dtype=np.float64,
        )
        strengths = strength(probabilities, self.thresholds)
        negativity = strengths[:, self.columns].max(axis=1)
        scored = tuple(
            ScoredUtterance(
                utterance=utterance,
                probabilities=tuple(row),
                labels=prediction.labels,
                negativity=value,
                weight=min(words / self.settings.full_words, 1.0),
                words=words,
            )
            for utterance, (prediction, words), row, value in zip(
                dialogue.utterances, found, probabilities.tolist(), negativity.tolist(), strict=True
            )
        )
        roles = find_roles(dialogue.speakers, self.settings)
        by_speaker: dict[str, list[int]] = {name: [] for name in dialogue.speakers}
        for position, utterance in enumerate(dialogue.utterances):
            by_speaker[utterance.speaker].append(position)
        speakers = tuple(
            self._speaker(name, roles[name], tuple(positions), scored)
            for name, positions in by_speaker.items()
        )
        handovers = [
            handover
            for one in speakers
            if one.role == "client" and (handover := self._handover(one, scored, strengths))
        ]
        first = min(handovers, key=lambda handover: handover.position, default=None)
        return DialogueAnalysis(dialogue.name, dialogue.source, scored, speakers, first)

    def _speaker(
        self,
        name: str,
        role: Role | None,
        positions: tuple[int, ...],
        scored: Sequence[ScoredUtterance],
    ) -> SpeakerAnalysis:
        settings = self.settings
        confidence = settings.confidence
        said = [scored[position] for position in positions]
        weights = np.array([one.weight for one in said])
        negativity = np.array([one.negativity for one in said])
        probabilities = np.array([one.probabilities for one in said])
        # Two utterances, or a fiftieth of the speaker's where that is more.
        width = max(2.0, len(said) / 50) if settings.bandwidth is None else settings.bandwidth
        present = {label: np.array([label in one.labels for one in said]) for label in self.labels}
        negative = np.logical_or.reduce([present[label] for label in self.negative])
        return SpeakerAnalysis(
            name=name,
            role=role,
            positions=positions,
            negativity=smooth(negativity, weights, width, confidence),
            running=running(negativity, weights, settings.half_life, confidence),
            emotions=smooth(probabilities, weights, width, confidence),
            negative=share_of(negative, weights, confidence),
            shares={x: share_of(found, weights, confidence) for x, found in present.items()},
            turning_points=self._turning_points(positions, negativity, probabilities, weights),
        )

    def _turning_points(
        self, positions: tuple[int, ...], negativity: Array, probabilities: Array, weights: Array
    ) -> tuple[TurningPoint, ...]:
        settings = self.settings
        read: NDArray[np.intp] = np.flatnonzero(weights)
        changes = find_changes(
            negativity[read],
            weights[read],
            min_segment=settings.min_segment,
            alpha=settings.alpha,
            permutations=settings.permutations,
            min_shift=settings.min_shift,
            seed=settings.seed,
        )
        edges = [0, *(change.index for change in changes), len(read)]
        means = [
            np.average(probabilities[read[a:b]], axis=0, weights=weights[read[a:b]])
            for a, b in pairwise(edges)
            if changes
        ]
        found = []
        for change, (old, new) in zip(changes, pairwise(means), strict=True):
            shift = new - old
            # The negative label that comes up where the mood gets worse, or goes where it improves.
            sign = 1.0 if change.after > change.before else -1.0
            label = max(self.columns, key=lambda column: sign * float(shift[column]))
            found.append(
                TurningPoint(
                    positions[int(read[change.index])],
                    change.before,
                    change.after,
                    change.p_value,
                    self.labels[label],
                    float(shift[label]),
                )
            )
        return tuple(found)

    def _handover(
        self, speaker: SpeakerAnalysis, scored: Sequence[ScoredUtterance], strengths: Array
    ) -> Handover | None:
        label, column = self.settings.handover_label, None
        if label in self.labels:
            column = strengths[list(speaker.positions), self.labels.index(label)]
        words = [scored[position].words for position in speaker.positions]
        return find_handover(speaker.positions, words, speaker.running.level, column, self.settings)
