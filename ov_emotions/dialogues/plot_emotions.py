"""One speaker's emotions over time as SVG."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ov_emotions.dialogues.plot_parts import FONT, MOST_POINTS, area, line
from ov_emotions.dialogues.results import Analysis, SpeakerAnalysis
from ov_emotions.dialogues.spark import thinned
from ov_emotions.dialogues.words import Words
from ov_emotions.reports import svg
from ov_emotions.reports.format import clean


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
    left = min(max(map(len, names)) * FONT * svg.SANS + 18, 0.36 * width)
    step, top = 54.0, 30.0
    title = words("emotions_plot", name=speaker.name)
    body = [svg.text(8, 16, svg.shorten(clean(title), FONT, width - 16), "title")]
    x = svg.Scale(speaker.positions[0] + 1, speaker.positions[-1] + 1, left, width - 52)
    columns = [analysis.labels.index(label) for label in labels]
    highest = float(np.nanmax(speaker.emotions.high[:, columns]))
    highest = max(highest, *(analysis.thresholds[label] for label in labels), 0.1)
    for i, (label, column) in enumerate(zip(labels, columns, strict=True)):
        y = svg.Scale(0.0, highest, top + step * i + step - 8, top + step * i)
        body += _emotion(analysis, speaker, column, x, y)
        shown = svg.shorten(names[i], FONT, left - 10)
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
        title=title,
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
    table = thinned(table[~np.isnan(curve.level[:, column])], MOST_POINTS)
    look = "bad" if analysis.labels[column] in analysis.negative_labels else "other"
    yield svg.line(x.start, y(0), x.end, y(0), "axis")
    yield svg.line(x.start, y(threshold), x.end, y(threshold), "base faint")
    yield area(table[:, 0], table[:, 2], table[:, 3], x, y, f"band emotion {look}")
    yield line(table[:, 0], table[:, 1], x, y, f"course emotion {look}")
