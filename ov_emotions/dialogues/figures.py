"""Plots of dialogues as SVG: negativity over time, emotions over time, clients side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from ov_emotions.dialogues.curves import Array
from ov_emotions.dialogues.results import (
    Analysis,
    Client,
    DialogueAnalysis,
    SpeakerAnalysis,
)
from ov_emotions.dialogues.spark import thinned
from ov_emotions.dialogues.times import clock
from ov_emotions.dialogues.words import Words
from ov_emotions.report import svg
from ov_emotions.report.format import clean

_FONT = 12.5
_STYLES = ("palette.css", "plot.css", "dialogue.css")
MOST_DOTS = 300
"""Utterances up to which each is drawn."""
_MOST_POINTS = 300
_MOST_LOOKS = 5
MOST_CLIENTS = 30
"""Clients that are drawn."""


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
    table = thinned(table[~np.isnan(curve.level)], _MOST_POINTS)
    if len(table) == 1:
        position, level, low, high = table[0]
        yield svg.line(x(position), y(low), x(position), y(high), f"course {look}")
        yield svg.tag("circle", cx=x(position), cy=y(level), r=4, class_=f"dot {look}")
    elif len(table):
        yield _area(table[:, 0], table[:, 2], table[:, 3], x, y, f"band {look}")
        yield _line(table[:, 0], table[:, 1], x, y, f"course {look}")


def _line(xs: Array, ys: Array, x: svg.Scale, y: svg.Scale, look: str) -> str:
    points = " ".join(
        f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs.tolist(), ys.tolist(), strict=True)
    )
    return svg.tag("polyline", points=points, class_=look)


def _area(xs: Array, lows: Array, highs: Array, x: svg.Scale, y: svg.Scale, look: str) -> str:
    there = zip(xs.tolist(), highs.tolist(), strict=True)
    back = zip(xs[::-1].tolist(), lows[::-1].tolist(), strict=True)
    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in [*there, *back])
    return svg.tag("polygon", points=points, class_=look)


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
        named = svg.shorten(clean(speaker.name), _FONT, width - 120)
        shown = named if speaker.role and speaker.name.lower() == role else f"{named} · {role}"
        entries.append((f"course {looks[speaker.name]}", shown))
    for look, shown in [*entries, ("base", words("decides"))]:
        room = len(shown) * _FONT * svg.SANS + 54
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


def drawn_labels(analysis: Analysis, speaker: SpeakerAnalysis) -> list[str]:
    """Name the labels that are drawn for a speaker: those that reach their threshold somewhere.

    :param analysis: that the speaker belongs to.
    :param speaker: of one of its dialogues.
    :return: in the order of the analysis.
    """
    return [label for label in analysis.labels if speaker.shares[label].value]


def emotions_figure(
    analysis: Analysis,
    speaker: SpeakerAnalysis,
    *,
    width: float = 780.0,
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
    words = Words(language)
    labels = drawn_labels(analysis, speaker)
    if not labels or len(speaker.positions) < 2:
        return None
    names = [analysis.label_name(label, language) for label in labels]
    left = min(max(map(len, names)) * _FONT * svg.SANS + 18, 0.36 * width)
    step, top = 54.0, 8.0
    body: list[str] = []
    x = svg.Scale(speaker.positions[0] + 1, speaker.positions[-1] + 1, left, width - 52)
    columns = [analysis.labels.index(label) for label in labels]
    highest = float(np.nanmax(speaker.emotions.high[:, columns]))
    highest = max(highest, *(analysis.thresholds[label] for label in labels), 0.1)
    for i, (label, column) in enumerate(zip(labels, columns, strict=True)):
        y = svg.Scale(0.0, highest, top + step * i + step - 8, top + step * i)
        body += _emotion(analysis, speaker, column, x, y)
        shown = svg.shorten(names[i], _FONT, left - 10)
        body.append(svg.text(left - 10, y(0) - 4, shown, "value", "end"))
        share = words.percent(speaker.shares[label].value)
        body.append(svg.text(width - 8, y(0) - 4, share, "value soft", "end"))
    described = "; ".join(
        f"{shown}: {words.percent(speaker.shares[label].value)}"
        for shown, label in zip(names, labels, strict=True)
    )
    return svg.drawing(
        body,
        width=width,
        height=top + step * len(labels),
        name=name,
        title=words("emotions_plot", name=speaker.name),
        description=f"{described}.",
    )


def _emotion(
    analysis: Analysis, speaker: SpeakerAnalysis, column: int, x: svg.Scale, y: svg.Scale
) -> Iterator[str]:
    curve = speaker.emotions
    threshold = analysis.thresholds[analysis.labels[column]]
    table = np.column_stack(
        [np.array(speaker.positions) + 1.0]
        + [part[:, column] for part in (curve.level, curve.low, curve.high)]
    )
    table = thinned(table[~np.isnan(curve.level[:, column])], _MOST_POINTS)
    look = "bad" if analysis.labels[column] in analysis.negative_labels else "other"
    yield svg.line(x.start, y(0), x.end, y(0), "axis")
    yield svg.line(x.start, y(threshold), x.end, y(threshold), "base faint")
    yield _area(table[:, 0], table[:, 2], table[:, 3], x, y, f"band emotion {look}")
    yield _line(table[:, 0], table[:, 1], x, y, f"course emotion {look}")


def clients_figure(
    analysis: Analysis,
    *,
    width: float = 780.0,
    name: str = "clients",
    language: str = "en",
) -> str | None:
    """Draw the clients' shares of negative utterances, with intervals and the segments' cuts.

    :param analysis: of the dialogues.
    :param width: in pixels.
    :param name: unique in the page.
    :param language: of the words, en or ru.
    :return: an svg element of the most negative clients; None if there is none.
    """
    words = Words(language)
    clients = [c for c in analysis.clients if c.negative.value is not None][:MOST_CLIENTS]
    if not clients:
        return None
    stacked = width < 500
    longest = max(len(clean(client.name)) for client in clients) * _FONT * svg.SANS + 18
    left = 14.0 if stacked else min(longest, 0.34 * width)
    x = svg.Scale(0.0, 1.0, left, width - 24)
    step, top = (40.0 if stacked else 24.0), 34.0
    bottom = top + step * len(clients)
    body = list(_segments(analysis, x, top, bottom, words))
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        body.append(svg.line(x(tick), top, x(tick), bottom, "grid" if tick else "axis"))
        body.append(svg.text(x(tick), bottom + 17, f"{tick:.0%}", "tick", "middle"))
    for i, client in enumerate(clients):
        body += _client(client, x, top + step * i, left, stacked)
    described = "; ".join(
        f"{c.name}: {words.percent(c.negative.value)}, {words(c.segment)}" for c in clients
    )
    return svg.drawing(
        body,
        width=width,
        height=bottom + 26,
        name=name,
        title=words("clients_plot"),
        description=f"{described}.",
    )


def _segments(
    analysis: Analysis, x: svg.Scale, top: float, bottom: float, words: Words
) -> Iterator[str]:
    calm, upset = analysis.cuts
    zones: Sequence[tuple[str, float, float]] = (
        ("calm", 0.0, calm),
        ("wavering", calm, upset),
        ("upset", upset, 1.0),
    )
    for segment, low, high in zones:
        start, end = x(low), x(high)
        if end - start > 0.5:
            yield svg.tag(
                "rect",
                x=start,
                y=top,
                width=end - start,
                height=bottom - top,
                class_=f"zone {segment}",
            )
        shown = words(segment)
        if end - start > len(shown) * _FONT * svg.SANS:
            yield svg.text((start + end) / 2, top - 8, shown, "tick", "middle")


def _client(client: Client, x: svg.Scale, top: float, left: float, stacked: bool) -> Iterator[str]:
    share = client.negative
    middle = top + (29 if stacked else 12)
    room = x.end - x.start if stacked else left - 14
    shown = svg.shorten(clean(client.name), _FONT, room)
    if stacked:
        yield svg.text(left, top + 16, shown, "value")
    else:
        yield svg.text(left - 12, middle + 4, shown, "value", "end")
    yield svg.line(x(share.low), middle, x(share.high), middle, "whisker over")
    yield svg.tag(
        "circle", cx=x(share.value or 0.0), cy=middle, r=5, class_=f"client {client.segment}"
    )
