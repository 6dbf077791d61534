"""Forest plots: a row a candidate, a point with its interval for each of two measures."""

from __future__ import annotations

from dataclasses import dataclass

from ov_emotions.reports import format as fmt
from ov_emotions.reports import svg
from ov_emotions.reports.study import Interval, Spread, Study
from ov_emotions.reports.verdict import Verdict

_FONT = 12.5
# Differences further out than so many times what is allowed are drawn at the edge.
_FURTHEST = 6.0


@dataclass(frozen=True)
class _Row:
    """A candidate's intervals: the first drawn filled, the second hollow."""

    id: str
    role: str
    intervals: tuple[Interval | None, Interval | None]
    values: tuple[str, str]


@dataclass(frozen=True)
class _Forest:
    """What is drawn.

    :param base: value that means no change.
    :param base_name: what stands over that value.
    :param limit: value that must not be passed, and its name.
    :param value_head: what stands over the numbers.
    :param edges: least and greatest value that is shown.
    """

    title: str
    x_label: str
    measures: tuple[str, str]
    rows: tuple[_Row, ...]
    base: float
    base_name: str
    value_head: str
    limit: tuple[float, str] | None
    edges: tuple[float, float]
    log: bool


def difference_plot(
    study: Study, verdict: Verdict, split: str, *, width: float, name: str
) -> str | None:
    """Draw each candidate's paired difference in weighted F1 to the reference.

    :param study: the study.
    :param verdict: its verdict.
    :param split: the rows that were scored.
    :param width: in pixels; below 500 names stand above their rows.
    :param name: unique in the page.
    :return: an svg element; None if nothing was scored there.
    """
    rows = []
    for candidate in study.candidates:
        quality = candidate.quality.get(split) if candidate.ok else None
        if study.model.random_weights or quality is None or candidate.id == study.reference:
            continue
        both = (quality.refitted.difference, quality.frozen.difference)
        values = (fmt.signed_interval(both[0]), fmt.signed(both[0].value))
        rows.append(_Row(candidate.id, _role(verdict, candidate.id), both, values))
    if not rows:
        return None
    drop = max(study.max_drop, 0.001)  # only for the plot's extent
    reach = [v for row in rows for i in row.intervals if i for v in (i.low, i.high)]
    low = max(min(*reach, -1.5 * drop), -_FURTHEST * drop)
    high = min(max(*reach, drop), _FURTHEST * drop)
    forest = _Forest(
        title=f"Change of weighted F1 on {split}",
        x_label="change of weighted F1",
        measures=("thresholds refitted", "thresholds of the reference"),
        rows=tuple(rows),
        base=0.0,
        base_name="reference",
        value_head="refitted (95 %)",
        limit=(-study.max_drop, "allowed loss"),
        edges=(low, high),
        log=False,
    )
    return _draw(forest, width, name)


def ratio_plot(study: Study, verdict: Verdict, *, width: float, name: str) -> str | None:
    """Draw how many times as fast as the reference each candidate is.

    :param study: the study.
    :param verdict: its verdict.
    :param width: in pixels; below 500 names stand above their rows.
    :param name: unique in the page.
    :return: an svg element; None if nothing was timed.
    """
    rows = []
    for candidate in study.candidates:
        many, one = candidate.throughput_ratio, candidate.p50_ratio
        if candidate.ok and candidate.id != study.reference and (many or one):
            values = (f"{_times(many)} · {_times(one)}", f"{_times(many)} · {_times(one)}")
            both = (_interval(many), _interval(one))
            rows.append(_Row(candidate.id, _role(verdict, candidate.id), both, values))
    if not rows:
        return None
    reach = [v for row in rows for i in row.intervals if i for v in (i.low, i.high)]
    forest = _Forest(
        title=f"Speed beside {study.reference}",
        x_label=f"times as fast as {study.reference}",
        measures=("many texts (throughput)", "one text (p50)"),
        rows=tuple(rows),
        base=1.0,
        base_name="reference",
        value_head="many · one",
        limit=None,
        edges=(min(*reach, 0.8), max(*reach, 1.25)),
        log=True,
    )
    return _draw(forest, width, name)


def _times(spread: Spread | None) -> str:
    return fmt.times(spread) if spread else fmt.NONE


def _interval(spread: Spread | None) -> Interval | None:
    return Interval(spread.median, spread.min, spread.max) if spread else None


def _role(verdict: Verdict, id_: str) -> str:
    if id_ == verdict.ship:
        return "chosen"
    return "refused" if id_ in verdict.choice.refused else "kept"


def _draw(forest: _Forest, width: float, name: str) -> str:
    stacked = width < 500
    size = _FONT * svg.MONO
    longest = max(len(row.id) for row in forest.rows) * size
    left = 14.0 if stacked else min(longest, 250.0) + 22
    right = 14.0 if stacked else max(len(r.values[0]) for r in forest.rows) * _FONT * 0.54 + 22
    top, step = 46.0, 54.0 if stacked else 36.0
    bottom = top + step * len(forest.rows)
    x = svg.scale_around(forest.edges, left, width - right, log=forest.log, margin=0.04)
    body = _frame(forest, x, top, bottom, width)
    for i, row in enumerate(forest.rows):
        y = top + step * i
        body += _row(row, x, y, width, stacked=stacked)
    body += _legend(forest, width, bottom + 44)
    tall = bottom + 58 + (20 if stacked else 0)
    described = "; ".join(
        f"{row.id}: "
        + ", ".join(
            f"{measure} {interval.value:.4g} ({interval.low:.4g} to {interval.high:.4g})"
            for measure, interval in zip(forest.measures, row.intervals, strict=True)
            if interval
        )
        for row in forest.rows
    )
    return svg.drawing(
        body, width=width, height=tall, name=name, title=forest.title, description=described + "."
    )


def _frame(forest: _Forest, x: svg.Scale, top: float, bottom: float, width: float) -> list[str]:
    marks = []
    ticks = x.ticks(7 if width >= 500 else 4)
    for tick in ticks:
        marks.append(svg.line(x(tick), top, x(tick), bottom, "grid"))
        marks.append(svg.text(x(tick), bottom + 18, svg.tick_text(tick, ticks), "tick", "middle"))
    marks.append(svg.line(x(forest.base), top - 6, x(forest.base), bottom, "base"))
    if forest.limit is not None:
        value, label = forest.limit
        marks.append(svg.line(x(value), top - 6, x(value), bottom, "limit"))
        marks.append(svg.text(x(value) + 2, top - 10, label, "limit-name", "end"))
    marks.append(svg.text(x(forest.base) - 2, top - 10, forest.base_name, "tick"))
    if width >= 500:
        marks.append(svg.text(width - 4, top - 10, forest.value_head, "tick", "end"))
    marks.append(svg.text(8, 16, forest.x_label, "title"))
    return marks


def _row(row: _Row, x: svg.Scale, y: float, width: float, *, stacked: bool) -> list[str]:
    if stacked:
        value = row.values[1]
        room = width - 28 - len(value) * _FONT * 0.56
        marks = [
            svg.text(8, y + 15, svg.shorten(row.id, _FONT, room), f"id {row.role}"),
            svg.text(width - 8, y + 15, value, "value", "end"),
        ]
        middle = y + 35
    else:
        name = svg.shorten(row.id, _FONT, 250)
        marks = [
            svg.text(x.start - 14, y + 22, name, f"id {row.role}", "end"),
            svg.text(width - 4, y + 22, row.values[0], "value", "end"),
        ]
        middle = y + 18
    for interval, offset, hollow in zip(row.intervals, (-5.0, 6.0), (False, True), strict=True):
        if interval is not None:
            marks += _point(interval, x, middle + offset, row.role, hollow=hollow)
    return marks


def _point(interval: Interval, x: svg.Scale, y: float, role: str, *, hollow: bool) -> list[str]:
    look = "chosen" if role == "chosen" else "plain"
    marks = [svg.line(x(interval.low), y, x(interval.high), y, f"whisker {look}")]
    at = x(interval.value)
    kind = f"mark {look}" + (" hollow" if hollow else "")
    if interval.value < x.low:  # an arrow at the edge for what lies beyond it
        marks.append(svg.tag("path", d=f"M{at + 8:.1f},{y - 5:.1f}v10l-9,-5z", class_=kind))
    elif interval.value > x.high:
        marks.append(svg.tag("path", d=f"M{at - 8:.1f},{y - 5:.1f}v10l9,-5z", class_=kind))
    else:
        marks.append(svg.tag("circle", cx=at, cy=y, r=4 if hollow else 4.75, class_=kind))
    return marks


def _legend(forest: _Forest, width: float, y: float) -> list[str]:
    marks, x = [], 14.0
    for measure, kind in zip(forest.measures, ("mark plain", "mark plain hollow"), strict=True):
        long = len(measure) * _FONT * svg.SANS + 30
        if x + long > width:
            x, y = 14.0, y + 20
        marks.append(svg.tag("circle", cx=x, cy=y - 4.5, r=4.5, class_=kind))
        marks.append(svg.text(x + 12, y, measure, "legend"))
        x += long + 10
    return marks
