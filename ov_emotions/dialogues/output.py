"""An analysis of dialogues as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ov_emotions
from ov_emotions.dialogues.curves import Array, Curve, Share
from ov_emotions.dialogues.results import Analysis, DialogueAnalysis, SpeakerAnalysis
from ov_emotions.normalize import replace_surrogates
from ov_emotions.schema import to_builtins
from ov_emotions.texts.writing import escaped, joined, spelt

_DIGITS = 4


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Return plain values for JSON; positions count from 1.

    :param analysis: of the dialogues.
    :return: the model's facts, the settings, the clients and the dialogues.
    """
    calm, upset = analysis.cuts
    return {
        "version": ov_emotions.__version__,
        "model": analysis.model,
        "labels": list(analysis.labels),
        "thresholds": {label: _round(value) for label, value in analysis.thresholds.items()},
        "negative_labels": list(analysis.negative_labels),
        "settings": to_builtins(analysis.settings),
        "segment_cuts": {"calm": _round(calm), "upset": _round(upset)},
        "roles_undecided": list(analysis.undecided),
        "clients": [
            {
                "name": replace_surrogates(client.name),
                "dialogues": [replace_surrogates(name) for name in client.dialogues],
                "negative": _share(client.negative),
                "segment": client.segment,
                "sure": client.sure,
                "handovers": client.handovers,
            }
            for client in analysis.clients
        ],
        "dialogues": [_dialogue(dialogue, analysis.labels) for dialogue in analysis.dialogues],
    }


def _dialogue(dialogue: DialogueAnalysis, labels: tuple[str, ...]) -> dict[str, Any]:
    handover = dialogue.handover
    return {
        "name": replace_surrogates(dialogue.name),
        "source": replace_surrogates(dialogue.source),
        "handover": handover
        and {
            "position": handover.position + 1,
            "rule": handover.rule,
            "positions": [position + 1 for position in handover.positions],
            "values": [_round(value) for value in handover.values],
        },
        "speakers": [_speaker(speaker, labels) for speaker in dialogue.speakers],
        "utterances": [
            {
                "position": position,
                "row": one.utterance.row,
                "time": one.utterance.time,
                "speaker": replace_surrogates(one.utterance.speaker),
                "text": replace_surrogates(one.utterance.text),
                "labels": list(one.labels),
                "scores": {x: _round(p) for x, p in zip(labels, one.probabilities, strict=True)},
                "negativity": _round(one.negativity),
                "weight": _round(one.weight),
            }
            for position, one in enumerate(dialogue.utterances, start=1)
        ],
    }


def _speaker(speaker: SpeakerAnalysis, labels: tuple[str, ...]) -> dict[str, Any]:
    emotions = speaker.emotions
    return {
        "name": replace_surrogates(speaker.name),
        "role": speaker.role,
        "negative": _share(speaker.negative),
        "shares": {label: _share(share) for label, share in speaker.shares.items()},
        "turning_points": [
            {
                "position": point.position + 1,
                "direction": "worse" if point.worse else "better",
                "before": _round(point.before),
                "after": _round(point.after),
                "p_value": _round(point.p_value),
                "label": point.label,
                "label_shift": _round(point.label_shift),
            }
            for point in speaker.turning_points
        ],
        "positions": [position + 1 for position in speaker.positions],
        "negativity": _curve(speaker.negativity),
        "running": _numbers(speaker.running.level),
        "emotions": {
            label: _curve(Curve(emotions.level[:, i], emotions.low[:, i], emotions.high[:, i]))
            for i, label in enumerate(labels)
        },
    }


def _curve(curve: Curve) -> dict[str, list[float | None]]:
    return {key: _numbers(getattr(curve, key)) for key in ("level", "low", "high")}


def _numbers(values: Array) -> list[float | None]:
    return [_round(value) for value in values.tolist()]


def _share(share: Share) -> dict[str, Any]:
    numbers = {"share": _round(share.value), "low": _round(share.low), "high": _round(share.high)}
    return {**numbers, "utterances": share.count}


def _round(value: float | None) -> float | None:
    # JSON has no NaN.
    return None if value is None or math.isnan(value) else round(float(value), _DIGITS)


def to_csv(analysis: Analysis, language: str = "en") -> str:
    """Write a row an utterance: what was said, the scores, the curve, and what happens there.

    :param analysis: of the dialogues.
    :param language: of the labels: en as the model has them, ru by their Russian names.
    :return: CSV with a header; lines end in a line feed. Labels are joined by `|`, or a JSON list
        where one holds it; what a spreadsheet would run as a formula is escaped.
    """
    names = {label: analysis.label_name(label, language) for label in analysis.labels}
    join = joined(list(names.values()), "|")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            *("source", "dialogue", "position", "row", "time", "speaker", "role", "text", "labels"),
            *map(escaped, names.values()),
            *("negativity", "smoothed", "low", "high", "running", "turning_point", "handover"),
        ]
    )
    for dialogue in analysis.dialogues:
        for row in _csv_rows(dialogue, lambda labels: join([names[label] for label in labels])):
            writer.writerow(map(spelt, row))
    return replace_surrogates(out.getvalue())


def _csv_rows(
    dialogue: DialogueAnalysis, join: Callable[[Sequence[str]], str]
) -> Iterator[list[Any]]:
    said_by: dict[int, tuple[SpeakerAnalysis, int]] = {}
    turns: dict[int, str] = {}
    for speaker in dialogue.speakers:
        said_by |= {position: (speaker, i) for i, position in enumerate(speaker.positions)}
        turns |= {p.position: "worse" if p.worse else "better" for p in speaker.turning_points}
    for position, one in enumerate(dialogue.utterances):
        said, (speaker, i) = one.utterance, said_by[position]
        curve = speaker.negativity
        levels = (curve.level[i], curve.low[i], curve.high[i], speaker.running.level[i])
        yield [
            *(dialogue.source, dialogue.name, position + 1, said.row, said.time),
            *(said.speaker, speaker.role, said.text, join(one.labels)),
            *(_round(value) for value in (*one.probabilities, one.negativity, *levels)),
            turns.get(position, ""),
            int(dialogue.handover is not None and dialogue.handover.position == position),
        ]
