"""Numbers of a matrix as shades, with the numbers inside where they fit."""

from __future__ import annotations

from collections.abc import Sequence

from ov_emotions.reports import svg

_FONT = 12.5
_ROW = 25.0
_SMALLEST_SHADE = 0.04


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float | None]],
    *,
    width: float,
    name: str,
    title: str,
) -> str | None:
    """Draw shares as shades of the accent colour.

    :param rows: names, to the left.
    :param columns: names, slanted on top.
    :param shares: in [0, 1], shape (rows, columns); None is drawn as unknown.
    :param width: in pixels.
    :param name: unique in the page.
    :param title: what the image is.
    :return: an svg element; None if there is no cell.
    """
    if not rows or not columns:
        return None
    narrow = width < 500
    room = 118.0 if narrow else 220.0
    row_names = [svg.shorten(text, _FONT, room - 10) for text in rows]
    left = min(room, max(map(len, row_names)) * _FONT * svg.MONO + 10)
    column_names = [svg.shorten(text, _FONT, 190) for text in columns]
    longest = max(map(len, column_names)) * _FONT * svg.MONO
    # Cells grow with the room there is, up to a width that still reads as a matrix; the last
    # column's slanted name needs room to its right.
    cell = min(64.0, (width - left - 6) / (len(columns) + 0.35))
    upright = cell < 40
    top = longest + 14
    highest = max((value for row in shares for value in row if value is not None), default=0.0)
    body = []
    for j, text in enumerate(column_names):
        x = left + cell * (j + 0.5) + _FONT * 0.32
        body.append(_turned(text, x, top - 8, small=cell < 13))
    height = min(_ROW, max(cell, 12.0)) if upright else _ROW
    for i, (text, values) in enumerate(zip(row_names, shares, strict=True)):
        y = top + height * i
        baseline = y + height / 2 + 4.3
        body.append(svg.text(left - 10, baseline, text, "name heat", "end"))
        for j, value in enumerate(values):
            body += _cell(value, highest, left + cell * j, y, (cell, height))
    return svg.drawing(
        body,
        width=width,
        height=top + height * len(rows) + 6,
        name=name,
        title=title,
        description="The table below holds the same numbers.",
    )


def _turned(text: str, x: float, y: float, *, small: bool) -> str:
    return svg.tag(
        "g",
        svg.text(0, 0, text, "name heat small" if small else "name heat"),
        transform=f"translate({x:.1f} {y:.1f}) rotate(-90)",
    )


def _cell(
    value: float | None, highest: float, x: float, y: float, size: tuple[float, float]
) -> list[str]:
    wide, high = size
    gap = 1.0 if wide < 20 else 2.0
    w, h = wide - gap, high - gap
    if value is None:
        marks = [svg.tag("rect", x=x, y=y, width=w, height=h, class_="cell none")]
        return [*marks, *_inside("–", x, y, size, "cell-value soft")]
    shade = value / highest if highest else 0.0
    marks = [svg.tag("rect", x=x, y=y, width=w, height=h, class_="cell empty")]
    if shade:
        opacity = f"{_SMALLEST_SHADE + (1 - _SMALLEST_SHADE) * shade:.3f}"
        marks.append(
            svg.tag("rect", x=x, y=y, width=w, height=h, class_="cell", fill_opacity=opacity)
        )
    look = "cell-value over" if shade > 0.55 else "cell-value"
    return [*marks, *_inside(_percent(value), x, y, size, look)]


def _inside(text: str, x: float, y: float, size: tuple[float, float], look: str) -> list[str]:
    wide, high = size
    if wide < 27 or high < 15:
        return []
    return [svg.text(x + (wide - 2) / 2, y + (high - 2) / 2 + 4, text, look, "middle")]


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.05:
        return "<0.1"
    return f"{percent:.1f}" if 0 < percent < 9.95 else f"{percent:.0f}"
