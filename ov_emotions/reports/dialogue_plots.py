"""The plots of dialogues as SVG.

They are written by hand and not by Altair: a page draws two for each of two hundred dialogues, and
every dot must be found again by the script that shows what was said there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ov_emotions.dialogues.analysis import strength
from ov_emotions.dialogues.curves import Array
from ov_emotions.dialogues.results import Analysis, DialogueAnalysis, SpeakerAnalysis
from ov_emotions.reports import svg
from ov_emotions.reports.dialogue_sentences import role_name, thinned
from ov_emotions.reports.language import Language, clean
from ov_emotions.texts.transcripts import clock

WIDTH = 460.0
"""Of a drawing that serves both a column of a desk's screen and a telephone."""

MOST_DOTS = 300
"""Utterances up to which each is drawn."""

_MOST_POINTS = 300
_MOST_LOOKS = 5
_FONT = 13.5


def look_of(dialogue: DialogueAnalysis) -> dict[str, str]:
    """Choose a look, a class of the style sheet, for every speaker; clients come first."""
    return {s.name: f"who-{i % _MOST_LOOKS}" for i, s in enumerate(_ordered(dialogue))}


def _ordered(dialogue: DialogueAnalysis) -> list[SpeakerAnalysis]:
    return sorted(dialogue.speakers, key=lambda speaker: speaker.role != "client")


def negativity_figure(
    dialogue: DialogueAnalysis,
    *,
    width: float = WIDTH,
    name: str = "negativity",
    language: str = "en",
) -> str:
    """Draw every speaker's negativity over a dialogue, with turning points and the hand-over.

    :param dialogue: analysed.
    :param width: in pixels.
    :param name: unique in the page.
    :param language: of the words, en or ru.
    :return: an svg element; `data-first` and `data-last` tell where the first and the last
        utterance stand on its x axis. `styles` gives the style sheet that colours it.
    """
    say = Language(language)
    height = 232.0
    x = svg.Scale(0.5, len(dialogue.utterances) + 0.5, 42, width - 12)
    y = svg.Scale(0.0, 1.0, height, 46)
    body = [*_grid(x, y, say), *_positions(dialogue, x, y, say)]
    looks = look_of(dialogue)
    for speaker in reversed(_ordered(dialogue)):
        body += _course(speaker, looks[speaker.name], x, y)
    if len(dialogue.utterances) <= MOST_DOTS:
        body += _dots(dialogue, looks, x, y)
    if dialogue.handover is not None:
        body += _handover(dialogue.handover.position, x, y, say)
    for speaker in dialogue.speakers:
        body += _turns(speaker, looks[speaker.name], x, y)
    legend, below = _legend(dialogue, looks, height + 60, width, say)
    place = svg.line(x.start, y(0), x.start, y(1), "here")
    last = len(dialogue.utterances)
    return svg.drawing(
        [*body, place, *legend],
        width=width,
        height=below,
        name=name,
        title=say("Negativity of {}", "Негатив: {}", dialogue.name),
        description=" ".join(_described(dialogue, say)),
        data_first=x(1),
        data_last=x(last),
    )


def _grid(x: svg.Scale, y: svg.Scale, say: Language) -> Iterator[str]:
    for tick in (0.0, 0.25, 0.75, 1.0):
        yield svg.line(x.start, y(tick), x.end, y(tick), "grid" if tick else "axis")
    for tick in (0.0, 0.5, 1.0):
        shown = say.number(tick, 1 if tick == 0.5 else 0)
        yield svg.text(x.start - 8, y(tick) + 4.5, shown, "tick", "end")
    yield svg.line(x.start, y(0.5), x.end, y(0.5), "base")
    yield svg.text(4, 16, say("strength of negativity", "сила негатива"), "title")


def _positions(
    dialogue: DialogueAnalysis, x: svg.Scale, y: svg.Scale, say: Language
) -> Iterator[str]:
    count = len(dialogue.utterances)
    about = max(int((x.end - x.start) / 80), 2)
    ticks = sorted({1, count, *(int(t) for t in x.ticks(about) if 1 <= t <= count and t == int(t))})
    room = (x.end - x.start) / about * 0.55
    shown = [t for t in ticks if t in (1, count) or min(x(t) - x(1), x(count) - x(t)) > room]
    for tick in shown:
        # The last one would be cut off by the image's edge.
        place, anchor = (x.end, "end") if tick == count > 1 else (x(tick), "middle")
        yield svg.text(place, y(0) + 17, say.number(tick, 0), "tick", anchor)
        time = dialogue.utterances[tick - 1].utterance.time
        if time is not None and time >= 0:
            yield svg.text(place, y(0) + 33, clock(time), "tick", anchor)
    yield svg.text(x.end, 16, say("utterance and time →", "реплика и время →"), "tick", "end")


def _course(speaker: SpeakerAnalysis, look: str, x: svg.Scale, y: svg.Scale) -> Iterator[str]:
    curve = speaker.negativity
    table = np.column_stack([np.array(speaker.positions) + 1.0, curve.level, curve.low, curve.high])
    # A stretch without anything readable has no level.
    table = thinned(table[~np.isnan(curve.level)], _MOST_POINTS)
    if len(table) == 1:
        position, level, low, high = table[0]
        yield svg.line(x(position), y(low), x(position), y(high), f"course {look}")
        yield svg.tag("circle", cx=x(position), cy=y(level), r=4, class_=f"dot {look}")
    elif len(table):
        yield _area(table, x, y, f"band {look}")
        yield _line(table, x, y, f"course {look}")


def _line(table: Array, x: svg.Scale, y: svg.Scale, look: str) -> str:
    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b, *_ in table.tolist())
    return svg.tag("polyline", points=points, class_=look)


def _area(table: Array, x: svg.Scale, y: svg.Scale, look: str) -> str:
    there = [(a, high) for a, _, _, high in table.tolist()]
    back = [(a, low) for a, _, low, _ in table[::-1].tolist()]
    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in [*there, *back])
    return svg.tag("polygon", points=points, class_=look)


def _dots(
    dialogue: DialogueAnalysis, looks: dict[str, str], x: svg.Scale, y: svg.Scale
) -> Iterator[str]:
    for position, one in enumerate(dialogue.utterances):
        if one.weight:
            yield svg.tag(
                "circle",
                cx=x(position + 1),
                cy=y(one.negativity),
                r=1.8 + 1.8 * one.weight,
                class_=f"dot {looks[one.utterance.speaker]}",
            )


def _handover(position: int, x: svg.Scale, y: svg.Scale, say: Language) -> Iterator[str]:
    place = x(position + 1)
    yield svg.line(place, y(0), place, y(1) - 6, "limit")
    left = place > (x.start + x.end) / 2
    anchor, offset = ("end", -6) if left else ("start", 6)
    yield svg.text(place + offset, y(1) - 4, say("hand over", "передать"), "limit-name", anchor)


def _turns(speaker: SpeakerAnalysis, look: str, x: svg.Scale, y: svg.Scale) -> Iterator[str]:
    for point in speaker.turning_points:
        place = x(point.position + 1)
        level = float(speaker.negativity.level[speaker.positions.index(point.position)])
        top = y(level) - 16 if point.worse else y(level) + 16
        tip = -9 if point.worse else 9
        yield svg.line(place, y(level), place, top, f"stem {look}")
        mood = "worse" if point.worse else "better"
        yield svg.tag("path", d=f"M{place - 6:.1f} {top:.1f}h12l-6 {tip}z", class_=f"turn {mood}")


def _legend(
    dialogue: DialogueAnalysis, looks: dict[str, str], top: float, width: float, say: Language
) -> tuple[list[str], float]:
    marks: list[str] = []
    left, line = 4.0, top
    entries = []
    for speaker in _ordered(dialogue)[:12]:
        role, named = role_name(speaker, say), clean(speaker.name)
        shown = named if speaker.role and named.lower() == role else f"{named}, {role}"
        entries.append((f"course {looks[speaker.name]}", shown))
    for look, shown in [*entries, ("base", say("where the model decides", "порог модели"))]:
        room = len(shown) * _FONT * svg.SANS + 50
        if left + room > width and left > 4:
            left, line = 4.0, line + 21
        marks.append(svg.line(left, line - 5, left + 24, line - 5, look))
        marks.append(svg.text(left + 32, line, shown, "legend"))
        left += room
    return marks, line + 10


def _described(dialogue: DialogueAnalysis, say: Language) -> Iterator[str]:
    for speaker in dialogue.speakers:
        level = speaker.negativity.level
        known = np.flatnonzero(~np.isnan(level))
        if len(known):
            peak = int(known[np.argmax(level[known])])
            first, last, most = (say.number(level[i], 2) for i in (known[0], known[-1], peak))
            yield say(
                "{}: from {} to {}, highest {} at utterance {}.",
                "{}: от {} до {}, выше всего {} в реплике {}.",
                *(speaker.name, first, last, most, speaker.positions[peak] + 1),
            )


def drawn_labels(analysis: Analysis, speaker: SpeakerAnalysis) -> list[str]:
    """Name the labels that are drawn for a speaker: those that reach their threshold somewhere."""
    return [label for label in analysis.labels if speaker.shares[label].value]


def emotions_figure(
    analysis: Analysis,
    speaker: SpeakerAnalysis,
    *,
    width: float = WIDTH,
    name: str = "emotions",
    language: str = "en",
) -> str | None:
    """Draw a speaker's emotions over time, one under the other.

    :param analysis: that the speaker belongs to.
    :param speaker: of one of its dialogues.
    :param width: in pixels.
    :param name: unique in the page.
    :param language: of the words, en or ru.
    :return: an svg element; None if no emotion reaches its threshold, or there is one utterance.
    """
    say = Language(language)
    labels = drawn_labels(analysis, speaker)
    if not labels or len(speaker.positions) < 2:
        return None
    names = [clean(analysis.label_name(label, say.code)) for label in labels]
    left = max(map(len, names)) * _FONT * 0.6 + 16
    # A name that would take half of the width stands above its curve.
    above = left > 0.45 * width
    left, step, top = (8.0 if above else left), (72.0 if above else 54.0), 30.0
    x = svg.Scale(speaker.positions[0] + 1, speaker.positions[-1] + 1, left, width - 54)
    shares = [say.percent(speaker.shares[label].value) for label in labels]
    told = say("share of utterances", "доля реплик")
    body = [svg.text(width - 4, 16, told, "tick", "end")]
    for i, label in enumerate(labels):
        base = top + step * (i + 1) - 8
        y = svg.Scale(0.0, 1.0, base, base - 44)
        body += _emotion(analysis, speaker, label, x, y)
        place = (left, y(1), "start") if above else (left - 10, y(0), "end")
        body.append(svg.text(place[0], place[1] - 6, names[i], "value", place[2]))
        body.append(svg.text(width - 4, y(0) - 6, shares[i], "value", "end"))
    described = "; ".join(map("{}: {}".format, names, shares))
    return svg.drawing(
        body,
        width=width,
        height=top + step * len(labels),
        name=name,
        title=say("Emotions of {}", "Эмоции: {}", speaker.name),
        description=f"{described}.",
    )


def _emotion(
    analysis: Analysis, speaker: SpeakerAnalysis, label: str, x: svg.Scale, y: svg.Scale
) -> Iterator[str]:
    column = analysis.labels.index(label)
    threshold = np.array(analysis.thresholds[label])
    emotions = speaker.emotions
    curve = [part[:, column] for part in (emotions.level, emotions.low, emotions.high)]
    known = ~np.isnan(curve[0])
    positions = np.array(speaker.positions) + 1.0
    table = np.column_stack([positions, *(strength(part, threshold) for part in curve)])
    table = thinned(table[known], _MOST_POINTS)
    look = "bad" if label in analysis.negative_labels else "other"
    yield svg.line(x.start, y(0), x.end, y(0), "axis")
    yield svg.line(x.start, y(0.5), x.end, y(0.5), "base faint")
    yield _area(table, x, y, f"band emotion {look}")
    yield _line(table, x, y, f"course emotion {look}")
