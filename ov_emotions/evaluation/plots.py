"""Plots of an evaluation: F1 by label, matrices over labels, reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ov_emotions.reports import svg
from ov_emotions.reports.bars import bar, grid
from ov_emotions.reports.study import LabelF1
from ov_emotions.thresholds import Reliability

_FONT = 12.5


def f1_bars(scores: Mapping[str, LabelF1], *, width: float, name: str) -> str | None:
    """Draw F1 by label with intervals.

    :param scores: by label.
    :param width: in pixels; below 500 labels stand above their bars.
    :param name: unique in the page.
    :return: an svg element; None if there is nothing to show.
    """
    if not scores:
        return None
    stacked = width < 500
    longest = max(map(len, scores)) * _FONT * svg.SANS + 26
    left = 14.0 if stacked else min(longest, 240.0)
    x = svg.Scale(0.0, 1.0, left, width - (66 if stacked else 120))
    step, top = (44.0 if stacked else 26.0), 30.0
    bottom = top + step * len(scores)
    body = grid(x, top, bottom, "F1 with 95 % interval")
    for i, (label, score) in enumerate(scores.items()):
        y = top + step * i + (24 if stacked else 8)
        shown = svg.shorten(label, _FONT, width - 30 if stacked else left - 14)
        place = (left, y - 6) if stacked else (left - 12, y + 10)
        body.append(svg.text(*place, shown, "value", "start" if stacked else "end"))
        body += bar(score, x, y, "chosen")
    return svg.drawing(
        body,
        width=width,
        height=bottom + 30,
        name=name,
        title="F1 by label",
        description="; ".join(f"{label}: {score.f1:.3f}" for label, score in scores.items()) + ".",
    )


def matrix(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    width: float,
    name: str,
) -> str | None:
    """Draw a matrix of numbers in [-1, 1] as tinted cells, with numbers where they fit.

    :param values: shape (rows, columns); None leaves a cell empty.
    :param rows: names.
    :param columns: names.
    :param title: of the plot.
    :param width: in pixels.
    :param name: unique in the page.
    :return: an svg element; None if there is nothing to show.
    """
    if not any(value is not None for row in values for value in row):
        return None
    gutter = min(max(map(len, rows)) * _FONT * svg.MONO + 12, 0.3 * width)
    above = min(max(map(len, columns)) * _FONT * svg.MONO + 12, 130.0)
    cell = min((width - gutter - 4) / len(columns), 56.0)
    height = max(min(cell, 34.0), 15.0)
    top = 26 + above
    body = [svg.text(8, 16, title, "title")]
    # Where columns are narrower than letters are high, only every second or third is named.
    every = math.ceil(_FONT / cell)
    for j, column in list(enumerate(columns))[::every]:
        x, y = gutter + cell * (j + 0.5) + 4, top - 6
        shown = svg.text(x, y, svg.shorten(column, _FONT, above), "tick")
        body.append(svg.tag("g", shown, transform=f"rotate(-90 {x:.1f} {y:.1f})"))
    for i, row in enumerate(rows):
        y = top + height * i
        label = svg.shorten(row, _FONT, gutter - 8)
        body.append(svg.text(gutter - 8, y + height / 2 + 4, label, "tick", "end"))
        for j, value in enumerate(values[i]):
            body += _cell(value, gutter + cell * j, y, cell, height)
    return svg.drawing(
        body,
        width=width,
        height=top + height * len(rows) + 10,
        name=name,
        title=title,
        description="The numbers stand in the table below.",
    )


def _cell(value: float | None, x: float, y: float, width: float, height: float) -> list[str]:
    if value is None:
        return []
    look = "heat" if value >= 0 else "heat below"
    # Paler than the colour itself, so that a number on it can be read.
    depth = f"{0.04 + 0.5 * min(abs(value), 1):.2f}"
    marks = [
        svg.tag(
            "rect", x=x, y=y, width=width - 1, height=height - 1, class_=look, fill_opacity=depth
        )
    ]
    if width >= 34:
        number = f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
        marks.append(svg.text(x + width / 2, y + height / 2 + 4, number, "value", "middle"))
    return marks


def reliability_plot(
    diagrams: Mapping[str, Reliability], *, title: str, width: float, name: str
) -> str | None:
    """Draw how often labels are there against what the probabilities say.

    :param diagrams: `before`, and `after` if there is one.
    :param title: of the plot.
    :param width: in pixels.
    :param name: unique in the page.
    :return: an svg element; None if nothing is known.
    """
    if not any(diagram.rows for diagram in diagrams.values()):
        return None
    side = min(width - 70, 360.0)
    x, y = svg.Scale(0, 1, 52, 52 + side), svg.Scale(0, 1, 34 + side, 34)
    body = [svg.text(8, 16, title, "title"), svg.line(x(0), y(0), x(1), y(1), "base")]
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    for tick in ticks:
        look = "grid" if tick else "axis"
        body += [svg.line(x(tick), y(0), x(tick), y(1), look)]
        body += [svg.line(x(0), y(tick), x(1), y(tick), look)]
        shown = svg.tick_text(tick, ticks)
        body.append(svg.text(x(tick), y(0) + 17, shown, "tick", "middle"))
        body.append(svg.text(x(0) - 8, y(tick) + 4, shown, "tick", "end"))
    body.append(svg.text(x(0.5), y(0) + 36, "mean probability", "tick", "middle"))
    told = []
    for i, (when, diagram) in enumerate(diagrams.items()):
        look = "diagram" if i == len(diagrams) - 1 else "diagram reference"
        pairs = zip(diagram.confidence, diagram.frequency, strict=True)
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in pairs)
        body.append(svg.tag("polyline", points=points, class_=look))
        below = y(0) + 58 + 18 * i
        body.append(svg.line(x(0), below - 4, x(0) + 26, below - 4, look))
        ece = "unknown" if diagram.ece is None else f"{diagram.ece:.4f}"
        body.append(svg.text(x(0) + 34, below, f"{when}: ECE {ece}", "legend"))
        told.append(f"{when}: expected calibration error {ece}")
    return svg.drawing(
        body,
        width=width,
        height=y(0) + 66 + 18 * len(diagrams),
        name=name,
        title=title,
        description="; ".join(told) + ". The diagonal is perfect calibration.",
    )
