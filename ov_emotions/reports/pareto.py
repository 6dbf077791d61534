"""The Pareto plot: accuracy against latency, with what each interval says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ov_emotions.reports import format as fmt
from ov_emotions.reports import svg
from ov_emotions.reports.chart import Chart, Point, build_chart
from ov_emotions.reports.labels import Box, around, place
from ov_emotions.reports.reading import parse_study
from ov_emotions.reports.study import Study
from ov_emotions.reports.verdict import Verdict, judge

_FONT = 12.5
_LINE = 18.0


def render_pareto_svg(study: Mapping[str, Any]) -> str:
    """Draw the Pareto plot as a file of its own, for light and dark surroundings.

    :param study: study JSON.
    :return: an SVG document; it says so where there is nothing to plot.
    :raises DataError: if it is no study.
    """
    parsed = parse_study(study)
    image = pareto_plot(parsed, judge(parsed), width=820, name="pareto")
    if image is None:
        body = [svg.text(16, 34, "Nothing was measured that could be plotted.", "value")]
        image = svg.drawing(
            body, width=820, height=56, name="pareto", title="Pareto plot", description="Empty."
        )
    style = svg.tag("style", "\n" + svg.stylesheet("palette.css", "plot.css") + "\n")
    opening, rest = image.split(">", 1)
    ground = svg.tag("rect", width="100%", height="100%", class_="ground")
    return f"{opening}>\n{style}\n{ground}{rest}\n"


def pareto_plot(study: Study, verdict: Verdict, *, width: float, name: str) -> str | None:
    """Draw accuracy against latency; without accuracy throughput, without latency size.

    :param study: the study.
    :param verdict: its verdict.
    :param width: in pixels; below 500 points carry numbers, and a key names them.
    :param name: unique in the page.
    :return: an svg element; None if no candidate can be placed.
    """
    chart = build_chart(study, verdict)
    if chart is None:
        return None
    height = width * (0.5 if width >= 500 else 1.05)
    left, right, top, bottom = 58.0, 16.0, 40.0, 50.0
    log = chart.log_x
    x_values = [v for p in chart.points for v in (p.x.low, p.x.high)]
    x = svg.scale_around(x_values, left, width - right, log=log, margin=0.07)
    y = svg.scale_around(chart.y_values(), height - bottom, top, margin=0.1)
    frontier, region = _frontier(study, chart, x, y), _region(chart, x, y)
    bounds = Box(left, top - 14, width, height - bottom)
    names = _names(chart, x, y, bounds, frontier, region, numbers=width < 500)
    if names is None:
        names = _names(chart, x, y, bounds, frontier, region, numbers=True)
    marks, numbered = names or ([], True)
    foot, total = _foot(chart, width, height, numbered=numbered)
    body = [
        *_axes(chart, x, y, log=log),
        *_lost(chart, region),
        *_path(frontier),
        *(mark for p in reversed(chart.points) for mark in _whiskers(p, x, y)),
        *(
            _marker(p.role, x(p.x.value), y(p.y.value), below=p.below)
            for p in reversed(chart.points)  # the weightiest on top
        ),
        *marks,
        *foot,
    ]
    described = "; ".join(
        f"{p.id} ({chart.legend[p.role]}): {chart.x_label} {fmt.number(p.x.value)}, "
        f"{chart.y_label} {chart.y_text(p.y.value)}"
        for p in chart.points
    )
    return svg.drawing(
        body, width=width, height=total, name=name, title=chart.title, description=described + "."
    )


def _axes(chart: Chart, x: svg.Scale, y: svg.Scale, *, log: bool) -> list[str]:
    marks = []
    if chart.floor is not None:
        top, bottom = y(chart.floor), y.start
        long = x.end - x.start
        marks.append(
            svg.tag("rect", class_="lost", x=x.start, y=top, width=long, height=bottom - top)
        )
    y_ticks = y.ticks(5)
    for tick in y_ticks:
        marks.append(svg.line(x.start, y(tick), x.end, y(tick), "grid"))
        marks.append(
            svg.text(x.start - 8, y(tick) + 4, svg.tick_text(tick, y_ticks), "tick", "end")
        )
    x_ticks = x.ticks(7 if x.end > 500 else 4)
    for tick in x_ticks:
        marks.append(svg.line(x(tick), y.start, x(tick), y.start + 5, "axis"))
        marks.append(
            svg.text(x(tick), y.start + 20, svg.tick_text(tick, x_ticks), "tick", "middle")
        )
    marks.append(svg.line(x.start, y.start, x.end, y.start, "axis"))
    if chart.floor is not None and chart.base is not None:
        marks.append(svg.line(x.start, y(chart.base), x.end, y(chart.base), "base"))
    scale = " (log scale)" if log else ""
    marks.append(svg.text(8, 20, "↑ " + chart.y_label, "title"))
    marks.append(svg.text(x.end, y.start + 40, f"{chart.x_label}{scale} →", "title", "end"))
    return marks


def _region(chart: Chart, x: svg.Scale, y: svg.Scale) -> Box | None:
    """Find room for the words that explain the shaded region: a corner of it that is free."""
    if chart.floor is None:
        return None
    top, bottom, width = y(chart.floor) + 4, y.start - 4, 150.0
    corners = [
        Box(left, edge, left + width, edge + 18)
        for edge in (bottom - 18, top)
        for left in (x.end - width, x.start + 4)
    ]
    taken = [around(x(p.x.value), y(p.y.value), 9) for p in chart.points]
    taken += [box for point in chart.points for box in _whisker_boxes(point, x, y)]
    free = (c for c in corners if not any(c.meets(t) for t in taken))
    return next(free, None) if bottom - top > 18 else None


def _lost(chart: Chart, region: Box | None) -> list[str]:
    if region is None or chart.base is None or chart.floor is None:
        return []
    words = f"loses more than {chart.base - chart.floor:g}"
    return [svg.text(region.right - 6, region.bottom - 5, words, "region", "end")]


def _frontier(study: Study, chart: Chart, x: svg.Scale, y: svg.Scale) -> list[tuple[float, float]]:
    """Return the corners of the line that no OpenVINO model lies above and to the left of."""
    points = [p for p in chart.points if study.candidate(p.id).shippable and not p.below]
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x.value, -p.y.value)):
        if not best or point.y.value > best[-1].y.value:
            best.append(point)
    corners = [(x(p.x.value), y(p.y.value)) for p in best]
    steps = [(after[0], before[1]) for before, after in pairwise(corners)]
    return sorted([*corners, *steps], key=lambda corner: (corner[0], -corner[1]))


def _path(corners: Sequence[tuple[float, float]]) -> list[str]:
    if len(corners) < 2:
        return []
    joined = "L".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return [svg.tag("path", d=f"M{joined}", class_="frontier")]


def _whiskers(point: Point, x: svg.Scale, y: svg.Scale) -> list[str]:
    class_ = f"whisker {point.role}"
    here = y(point.y.value)
    marks = [svg.line(x(point.x.low), here, x(point.x.high), here, class_)]
    if not point.below:
        there = x(point.x.value)
        marks.append(svg.line(there, y(point.y.low), there, y(point.y.high), class_))
    return marks


def _whisker_boxes(point: Point, x: svg.Scale, y: svg.Scale) -> list[Box]:
    here, there = y(point.y.value), x(point.x.value)
    boxes = [Box(x(point.x.low), here - 1, x(point.x.high), here + 1)]
    if not point.below:
        boxes.append(Box(there - 1, y(point.y.high), there + 1, y(point.y.low)))
    return boxes


def _marker(role: str, x: float, y: float, *, below: bool = False) -> str:
    class_ = f"mark {role}"
    if below:
        return svg.tag("path", d=f"M{x - 6:.1f},{y - 10:.1f}h12l-6,10z", class_=class_)
    if role == "reference":
        return svg.tag("path", d=f"M{x:.1f},{y - 7:.1f}l7,7l-7,7l-7,-7z", class_=class_)
    if role == "other":
        return svg.tag("rect", x=x - 4.5, y=y - 4.5, width=9, height=9, class_=class_)
    if role == "refused":
        return svg.tag("path", d=f"M{x - 5:.1f},{y - 5:.1f}l10,10m-10,0l10,-10", class_=class_)
    return svg.tag("circle", cx=x, cy=y, r=7.5 if role == "chosen" else 5, class_=class_)


def _names(
    chart: Chart,
    x: svg.Scale,
    y: svg.Scale,
    bounds: Box,
    frontier: Sequence[tuple[float, float]],
    region: Box | None,
    *,
    numbers: bool,
) -> tuple[list[str], bool] | None:
    """Write the points' names, or numbers; None if they find no room."""
    points = chart.points
    texts = [_name(chart, i, p, numbers=numbers) for i, p in enumerate(points, 1)]
    anchors = [(x(p.x.value), y(p.y.value)) for p in points]
    # From what no name may cover to what it may, if need be, as its halo keeps it legible.
    hard = [around(*anchor, 7.5) for anchor in anchors]
    medium = [box for point in points for box in _whisker_boxes(point, x, y)]
    if region is not None:
        medium.append(region)
    soft = [
        Box(min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1)
        for (x1, y1), (x2, y2) in pairwise(frontier)
    ]
    if chart.base is not None:
        soft.append(Box(x.start, y(chart.base) - 1, x.end, y(chart.base) + 1))
    widths = [len(text) * _FONT * svg.MONO + 2 for text in texts]
    placed = place(anchors, widths, _FONT + 2, bounds, (hard, medium, soft))
    if None in placed and not numbers:
        return None
    marks = []
    for point, text, label in zip(points, texts, placed, strict=True):
        if label is None:
            continue  # a number without room: the key and the description still have the point
        if label.leader is not None:
            marks.append(svg.line(*label.leader, "leader"))
        marks.append(svg.text(label.box.left + 1, label.box.bottom - 4, text, f"name {point.role}"))
    return marks, numbers


def _name(chart: Chart, i: int, point: Point, *, numbers: bool) -> str:
    name = str(i) if numbers else svg.shorten(point.id, _FONT, 260)
    return f"{name} ↓{chart.y_text(point.y.value)}" if point.below else name


def _foot(chart: Chart, width: float, height: float, *, numbered: bool) -> tuple[list[str], float]:
    """Draw the legend and, where points carry numbers, the key under it."""
    marks, x, y = [], 16.0, height + 14
    present = {p.role for p in chart.points}
    for role, meaning in chart.legend.items():
        if role not in present:
            continue
        long = 24 + len(meaning) * _FONT * svg.SANS
        if x + long > width and x > 16:
            x, y = 16.0, y + _LINE + 2
        marks.append(_marker(role, x, y - 4.5))
        marks.append(svg.text(x + 14, y, meaning, "legend"))
        x += long + 14
    if numbered:
        columns = 1 if width < 500 else 2
        y += 6
        column = width / columns
        for i, point in enumerate(chart.points):
            if i % columns == 0:
                y += _LINE
            left = 8 + (i % columns) * column
            marks.append(svg.text(left + 18, y, str(i + 1), f"name {point.role}", "end"))
            name = svg.shorten(point.id, _FONT, column - 40)
            marks.append(svg.text(left + 28, y, name, f"name {point.role}"))
    return marks, y + 14
