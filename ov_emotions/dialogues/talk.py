"""A dialogue in words: its events as sentences, and what was said with the emotions beside it."""

from __future__ import annotations

from collections.abc import Mapping

from ov_emotions.dialogues.plot_negativity import look_of
from ov_emotions.dialogues.results import (
    Analysis,
    DialogueAnalysis,
    ScoredUtterance,
    SpeakerAnalysis,
    TurningPoint,
)
from ov_emotions.dialogues.times import clock
from ov_emotions.dialogues.words import Words
from ov_emotions.reports import page as html

MOST_UTTERANCES = 1000
"""Utterances of a dialogue that the page writes out."""

Events = Mapping[int, list[tuple[str, str]]]


def _time(dialogue: DialogueAnalysis, position: int) -> str:
    time = dialogue.utterances[position].utterance.time
    return "" if time is None else f" [{clock(time)}]"


def handover_sentence(analysis: Analysis, dialogue: DialogueAnalysis, words: Words) -> str:
    """Say when to hand over and why, or that there is no need.

    :param analysis: that the dialogue belongs to.
    :param dialogue: one of its dialogues.
    :param words: of the language.
    :return: a sentence, not escaped.
    """
    handover = dialogue.handover
    if handover is None:
        return words("no_handover" if dialogue.clients else "no_client")
    settings = analysis.settings
    level = handover.rule == "level"
    return words(
        "handover_level" if level else "handover_label",
        position=handover.position + 1,
        time=_time(dialogue, handover.position),
        name=dialogue.utterances[handover.position].utterance.speaker,
        label=analysis.label_name(settings.handover_label, words.language),
        cut=settings.handover_level if level else settings.handover_strength,
        count=len(handover.positions),
        values=", ".join(f"{value:.2f}" for value in handover.values),
    )


def turn_sentences(analysis: Analysis, dialogue: DialogueAnalysis, words: Words) -> list[str]:
    """Say where moods change, in the order of the dialogue.

    :param analysis: that the dialogue belongs to.
    :param dialogue: one of its dialogues.
    :param words: of the language.
    :return: a sentence a turning point, not escaped.
    """
    points = [(point, speaker) for speaker in dialogue.speakers for point in speaker.turning_points]
    points.sort(key=lambda pair: pair[0].position)
    return [_turn(analysis, dialogue, speaker, point, words) for point, speaker in points]


def _turn(
    analysis: Analysis,
    dialogue: DialogueAnalysis,
    speaker: SpeakerAnalysis,
    point: TurningPoint,
    words: Words,
) -> str:
    return words(
        "turn",
        name=speaker.name,
        position=point.position + 1,
        time=_time(dialogue, point.position),
        before=f"{point.before:.2f}",
        after=f"{point.after:.2f}",
        label=analysis.label_name(point.label, words.language),
        shift=f"{point.label_shift:+.2f}".replace("-", "\N{MINUS SIGN}"),
        p=f"{point.p_value:.3f}",
    )


def events(analysis: Analysis, dialogue: DialogueAnalysis, words: Words) -> Events:
    """Collect what stands beside utterances.

    :param analysis: that the dialogue belongs to.
    :param dialogue: one of its dialogues.
    :param words: of the language.
    :return: by position, class of the style sheet and text.
    """
    found: dict[int, list[tuple[str, str]]] = {}
    for speaker in dialogue.speakers:
        for point in speaker.turning_points:
            kind = "worse" if point.worse else "better"
            found.setdefault(point.position, []).append((kind, words(kind)))
    if dialogue.handover is not None:
        told = handover_sentence(analysis, dialogue, words)
        found.setdefault(dialogue.handover.position, []).append(("worse", told))
    return found


def talk(analysis: Analysis, dialogue: DialogueAnalysis, marked: Events, words: Words) -> str:
    """Write out what was said.

    :param analysis: that the dialogue belongs to.
    :param dialogue: one of its dialogues.
    :param marked: what stands beside utterances, as `events` gives it.
    :param words: of the language.
    :return: the markup.
    """
    looks = look_of(dialogue)
    shown = dialogue.utterances[:MOST_UTTERANCES]
    items = []
    for position, one in enumerate(shown):
        said = one.utterance
        time = "" if said.time is None else f" · {clock(said.time)}"
        notes = "".join(
            f'<span class="event {kind}">{html.text(told)}</span>'
            for kind, told in marked.get(position, [])
        )
        items.append(
            f'<li class="{looks[said.speaker]}"><span class="by">{position + 1} · '
            f"<b><bdi>{html.text(said.speaker)}</bdi></b>{time} · "
            f"{_felt(analysis, one, words)}</span><br><bdi>{html.text(said.text)}</bdi>{notes}</li>"
        )
    told = ""
    if len(shown) < len(dialogue.utterances):
        told = words("transcript_cut", shown=len(shown), all=len(dialogue.utterances))
        told = f"<p>{html.text(told)}</p>"
    return told + '<ol class="talk">\n' + "\n".join(items) + "\n</ol>"


def _felt(analysis: Analysis, one: ScoredUtterance, words: Words) -> str:
    if not one.weight:
        return f'<span class="felt">{html.text(words("unread"))}</span>'
    if not one.labels:
        return f'<span class="felt">{html.text(words("found_none"))}</span>'
    parts = []
    for label in one.labels:
        bad = " bad" if label in analysis.negative_labels else ""
        share = words.percent(one.probabilities[analysis.labels.index(label)])
        named = f"{analysis.label_name(label, words.language)} {share}"
        parts.append(f'<span class="felt{bad}">{html.text(named)}</span>')
    return ", ".join(parts)
