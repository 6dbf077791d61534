"""Everybody's negativity over a dialogue as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from ov_emotions.dialogues.plot_parts import FONT, MOST_POINTS, area, line
from ov_emotions.dialogues.results import (
    DialogueAnalysis,
    SpeakerAnalysis,
)
from ov_emotions.dialogues.spark import thinned
from ov_emotions.dialogues.times import clock
from ov_emotions.dialogues.words import Words
from ov_emotions.reports import svg
from ov_emotions.reports.format import clean

_STYLES = ("palette.css", "plot.css", "dialogue.css")
MOST_DOTS = 300
"""Utterances up to which each is drawn."""
_MOST_LOOKS = 5


def negativity_figure(
    dialogue: DialogueAnalysis,
    *,
    width: float = 780.0,
    name: str = "negativity",
    language: str = "en",
) -> str:
    """Draw every speaker's negativity over a dialogue, with turning points and the hand-over.

    :param dialogue: analysed.
    :param width: in pixels.
    :param name: unique in the page.
    :param language: of the words, en or ru.
    :return: an svg element; `styles` gives the style sheet that colours it.
    """
    words = Words(language)
    height = 250.0
    x = svg.Scale(0.5, len(dialogue.utterances) + 0.5, 34, width - 10)
    y = svg.Scale(0.0, 1.0, height, 44)
    body = [svg.text(8, 16, words("curve_title"), "title"), *_grid(x, y)]
    body += _positions(dialogue, x, y(0), words)
    looks = look_of(dialogue)
    for speaker in reversed(_ordered(dialogue)):
        body += _course(speaker, looks[speaker.name], x, y)
    if len(dialogue.utterances) <= MOST_DOTS:
        body += _dots(dialogue, looks, x, y)
    if dialogue.handover is not None:
        body += _handover(dialogue.handover.position, x, y, words)
    for speaker in dialogue.speakers:
        body += _turns(speaker, looks[speaker.name], x, y, words)
    legend, below = _legend(dialogue, looks, height + 52, width, words)
    title = words("curve", name=dialogue.name)
    described = ". ".join(_described(dialogue, words))
    return svg.drawing(
        [*body, *legend],
        width=width,
        height=below,
        name=name,
        title=title,
        description=described,
    )


def styles() -> str:
    """Return the style sheet of the plots, for pages other than `page`'s.

    :return: CSS; colours are custom properties of `:root`, such as `--ink` and `--who-0`, and
        follow the reader's light or dark scheme.
    """
    return svg.stylesheet(*_STYLES)


def look_of(dialogue: DialogueAnalysis) -> dict[str, str]:
    """Choose a look for every speaker; clients come first.

    :param dialogue: analysed.
    :return: class of the style sheet by speaker.
    """
    return {s.name: f"who-{i % _MOST_LOOKS}" for i, s in enumerate(_ordered(dialogue))}


def _ordered(dialogue: DialogueAnalysis) -> list[SpeakerAnalysis]:
    return sorted(dialogue.speakers, key=lambda speaker: speaker.role != "client")


def _grid(x: svg.Scale, y: svg.Scale) -> Iterator[str]:
    for tick in (0.0, 0.25, 0.75, 1.0):
        yield svg.line(x.start, y(tick), x.end, y(tick), "grid" if tick else "axis")
    for tick, shown in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        yield svg.text(x.start - 8, y(tick) + 4, shown, "tick", "end")
    yield svg.line(x.start, y(0.5), x.end, y(0.5), "base")


def _positions(
    dialogue: DialogueAnalysis, x: svg.Scale, bottom: float, words: Words
) -> Iterator[str]:
    count = len(dialogue.utterances)
    about = max(int((x.end - x.start) / 70), 2)
    ticks = sorted({1, count, *(int(t) for t in x.ticks(about) if 1 <= t <= count and t == int(t))})
    room = (x.end - x.start) / about * 0.55
    shown = [t for t in ticks if t in (1, count) or min(x(t) - x(1), x(count) - x(t)) > room]
    for tick in shown:
        # The last one would be cut off by the image's edge.
        place, anchor = (x.end, "end") if tick == count > 1 else (x(tick), "middle")
        yield svg.text(place, bottom + 17, f"{tick:,}", "tick", anchor)
        time = dialogue.utterances[tick - 1].utterance.time
        if time is not None and time >= 0:
            yield svg.text(place, bottom + 32, clock(time), "tick", anchor)
    yield svg.text(x.end, 16, words("utterance_axis") + " →", "tick", "end")


def _course(speaker: SpeakerAnalysis, look: str, x: svg.Scale, y: svg.Scale) -> Iterator[str]:
    curve = speaker.negativity
    table = np.column_stack([np.array(speaker.positions) + 1.0, curve.level, curve.low, curve.high])
    # A stretch without anything readable has no level.
    table = thinned(table[~np.isnan(curve.level)], MOST_POINTS)
    if len(table) == 1:
        position, level, low, high = table[0]
        yield svg.line(x(position), y(low), x(position), y(high), f"course {look}")
        yield svg.tag("circle", cx=x(position), cy=y(level), r=4, class_=f"dot {look}")
    elif len(table):
        yield area(table[:, 0], table[:, 2], table[:, 3], x, y, f"band {look}")
        yield line(table[:, 0], table[:, 1], x, y, f"course {look}")


def _dots(
    dialogue: DialogueAnalysis, looks: dict[str, str], x: svg.Scale, y: svg.Scale
) -> Iterator[str]:
    for position, one in enumerate(dialogue.utterances):
        if not one.weight:
            continue
        said = one.utterance
        told = f"{position + 1}. {said.speaker}: {said.text[:200]} ({one.negativity:.2f})"
        yield svg.tag(
            "circle",
            svg.tag("title", escape(clean(told))),
            cx=x(position + 1),
            cy=y(one.negativity),
            r=1.6 + 1.6 * one.weight,
            class_=f"dot {looks[said.speaker]}",
        )


def _handover(position: int, x: svg.Scale, y: svg.Scale, words: Words) -> Iterator[str]:
    place = x(position + 1)
    yield svg.line(place, y(0), place, y(1) - 8, "limit")
    left = place > (x.start + x.end) / 2
    anchor = "end" if left else "start"
    yield svg.text(
        place + (-6 if left else 6), y(1) - 10, words("handover_mark"), "limit-name", anchor
    )


def _turns(
    speaker: SpeakerAnalysis, look: str, x: svg.Scale, y: svg.Scale, words: Words
) -> Iterator[str]:
    for point in speaker.turning_points:
        place = x(point.position + 1)
        level = float(speaker.negativity.level[speaker.positions.index(point.position)])
        top = y(level) - 16 if point.worse else y(level) + 16
        tip = -9 if point.worse else 9
        yield svg.line(place, y(level), place, top, f"stem {look}")
        yield svg.tag(
            "path",
            svg.tag("title", escape(words("worse" if point.worse else "better"))),
            d=f"M{place - 6:.1f} {top:.1f}h12l-6 {tip}z",
            class_=f"turn {'worse' if point.worse else 'better'}",
        )


def _legend(
    dialogue: DialogueAnalysis, looks: dict[str, str], top: float, width: float, words: Words
) -> tuple[list[str], float]:
    marks: list[str] = []
    left, line = 8.0, top
    entries = []
    for speaker in _ordered(dialogue)[:12]:
        role = words(speaker.role or "no_role")
        named = svg.shorten(clean(speaker.name), FONT, width - 120)
        shown = named if speaker.role and speaker.name.lower() == role else f"{named} · {role}"
        entries.append((f"course {looks[speaker.name]}", shown))
    for look, shown in [*entries, ("base", words("decides"))]:
        room = len(shown) * FONT * svg.SANS + 54
        if left + room > width and left > 8:
            left, line = 8.0, line + 20
        marks.append(svg.line(left, line - 4, left + 24, line - 4, look))
        marks.append(svg.text(left + 32, line, shown, "legend"))
        left += room
    return marks, line + 10


def _described(dialogue: DialogueAnalysis, words: Words) -> Iterator[str]:
    for speaker in dialogue.speakers:
        level = speaker.negativity.level
        known = np.flatnonzero(~np.isnan(level))
        if len(known):
            peak = int(known[np.argmax(level[known])])
            yield words(
                "curve_described",
                name=speaker.name,
                first=f"{level[known[0]]:.2f}",
                last=f"{level[known[-1]]:.2f}",
                highest=f"{level[peak]:.2f}",
                where=speaker.positions[peak] + 1,
            )
