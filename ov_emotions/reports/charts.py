"""Charts: Altair's, drawn once into the page, with the page's own colours and language.

Colours are custom properties of the style sheet (`palette.css`), so that a chart follows the
reader's light or dark scheme; what a mark says when it is pointed at is its `aria-label`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ov_emotions.reports.language import Language, clean
from ov_emotions.reports.page import asset
from ov_emotions.system import require

if TYPE_CHECKING:
    import altair

_WIDE, _NARROW = 760, 330
_FONT = 12.5
_LETTER = 0.6  # width of a letter over the font's size, on the mean
_DEAD = re.compile(r'<path class="(?:background|foreground)"[^>]*/>')
_WHITE = re.compile(r'<rect width="[\d.]+" height="[\d.]+" fill="white"/>')
_FRACTION = re.compile(r"(\d\.\d)\d{4,}")

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Chart:
    """One chart, drawn for wide and for narrow screens: svg elements."""

    wide: str
    narrow: str


def draw(
    make: Callable[[float, bool], altair.Chart | altair.LayerChart | altair.FacetChart],
    say: Language,
    described: str,
) -> Chart:
    """Draw a chart at both widths.

    :param make: takes a width in pixels and whether that is the narrow one.
    :param described: what the chart shows, in words.
    :raises MissingExtraError: if altair or vl-convert is not installed.
    """
    return Chart(*(_svg(make(w, w == _NARROW), say, described) for w in (_WIDE, _NARROW)))


def _svg(chart: Any, say: Language, described: str) -> str:
    converter = require("vl_convert", extra="reports")
    locale = {"format_locale": "ru-RU"} if say.code == "ru" else {}
    found = converter.vegalite_to_svg(_cleaned(_styled(chart).to_dict()), **locale)
    found = _FRACTION.sub(r"\1", _WHITE.sub("", _DEAD.sub("", found)))
    told = escape(clean(described))
    return str(found).replace(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'version="1.1" class="marks"',
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{told}"',
    )


def alone(drawing: str) -> str:
    """Make a file of an svg element, which holds its colours for light and dark surroundings."""
    opening, rest = drawing.split(">", 1)
    ground = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    return f"{opening}><style>\n{asset('palette.css')}\n</style>{ground}{rest}\n"


def _styled(chart: Any) -> Any:
    return (
        chart.configure(background="transparent", font="Golos Text, system-ui, sans-serif")
        .configure_view(stroke=None)
        # Vega writes descriptions of its own from titles and names; only ours are wanted.
        .configure_mark(aria=False)
        .configure_axis(
            aria=False,
            gridColor="var(--rule)",
            domainColor="var(--strong)",
            tickColor="var(--strong)",
            labelColor="var(--soft)",
            titleColor="var(--soft)",
            labelFontSize=_FONT,
            titleFontSize=_FONT,
            titleFontWeight="normal",
            labelLimit=400,
            titleLimit=500,
        )
        .configure_legend(
            aria=False,
            labelColor="var(--soft)",
            labelFontSize=_FONT,
            title=None,
            orient="bottom",
            labelLimit=400,
            symbolStrokeWidth=2,
        )
        .configure_header(labelColor="var(--ink)", labelFontSize=_FONT + 0.5, title=None)
    )


def _chart(rows: Rows) -> Any:
    alt = require("altair", extra="reports")
    return alt, alt.Chart(alt.Data(values=list(rows)))


def _cleaned(value: Any) -> Any:
    """Clean every text of a specification, line by line."""
    if isinstance(value, str):
        return "\n".join(map(clean, value.split("\n")))
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


_LOOKS = {
    # colour, shape, size, filled
    "chosen": ("var(--accent)", "circle", 190, True),
    "reference": ("var(--ink)", "diamond", 150, True),
    "frontier": ("var(--soft)", "circle", 75, True),
    "eligible": ("var(--soft)", "circle", 55, False),
    "refused": ("var(--alarm)", "cross", 55, False),
    "other": ("var(--soft)", "square", 55, False),
    "edge": ("var(--soft)", "triangle-down", 60, True),
}
_RANK = {"chosen": 0, "reference": 1, "frontier": 2}
"""Roles whose points are named, those for whose names room is found first."""


def scatter(
    points: Rows,
    say: Language,
    *,
    titles: tuple[str, str],
    roles: Mapping[str, str],
    limits: tuple[tuple[float, float], tuple[float, float]],
    floor: tuple[float, float] | None,
    frontier: Sequence[tuple[float, float]],
    described: str,
) -> Chart:
    """Draw candidates: frontier, reference and the chosen one are named, the rest on pointing.

    :param points: name, role (a key of `roles`), told, and x, x1, x2, y, y1, y2: values with the
        ends of their intervals; those outside `limits` are put at the edge.
    :param titles: of the axes.
    :param roles: what each is called in the legend.
    :param limits: of x and y.
    :param floor: y under which too much is lost, and y of the reference; None without accuracy.
    :param frontier: its corners.
    """
    (x_low, x_high), (y_low, y_high) = limits
    rows = []
    for point in points:
        row = dict(point)
        for axis, (low, high) in zip("xy", limits, strict=True):
            for key in (axis, f"{axis}1", f"{axis}2"):
                row[key] = min(max(point[key], low), high)
        if (row["x"], row["y"]) != (point["x"], point["y"]):
            row["role"] = "edge"
        rows.append({**row, "kind": roles[row["role"]]})
    present = [role for role in roles if any(row["role"] == role for row in rows)]
    colours, shapes, sizes, filled = zip(*(_LOOKS[role] for role in present), strict=True)
    grounds = [a if full else "var(--paper)" for a, full in zip(colours, filled, strict=True)]

    def make(width: float, narrow: bool) -> Any:
        plot = width - 70, 300.0 if narrow else 360.0
        alt, shown = _chart(rows)
        x_scale = alt.Scale(domain=[x_low, x_high], nice=False, zero=False)
        y_scale = alt.Scale(domain=[y_low, y_high], nice=False, zero=False)
        x = alt.X("x:Q", title=titles[0], scale=x_scale, axis=alt.Axis(grid=False, tickCount=6))
        y = alt.Y("y:Q", title=titles[1], scale=y_scale, axis=alt.Axis(tickCount=5))
        legend = alt.Legend(columns=2 if narrow else 0, symbolSize=90)

        def by_role(channel: Any, values: Sequence[Any], legend: Any = legend) -> Any:
            scale = alt.Scale(domain=[roles[role] for role in present], range=list(values))
            return channel("kind:N", scale=scale, legend=legend)

        layers = []
        if floor is not None:
            lost = _chart([{"a": y_low, "b": max(floor[0], y_low)}])[1]
            area = lost.mark_rect(color="var(--wash)")
            layers.append(area.encode(y=alt.Y("a:Q", scale=y_scale), y2="b:Q"))
            line = _chart([{"a": floor[1]}])[1].mark_rule(color="var(--ink)", strokeDash=[2, 3])
            layers.append(line.encode(y=alt.Y("a:Q", scale=y_scale)))
        if len(frontier) > 1:
            path = _chart([{"x": a, "y": b, "i": i} for i, (a, b) in enumerate(frontier)])[1]
            line = path.mark_line(color="var(--frontier)", strokeWidth=4)
            layers.append(line.encode(x=x, y=y, order="i:O"))
        # Of those that are named alone: nineteen crosses would hide what they cross.
        whiskers = shown.transform_filter(
            " || ".join(f"datum.role == '{role}'" for role in _RANK)
        ).mark_rule(opacity=0.35, strokeWidth=1.25, color="var(--ink)")
        layers += [
            whiskers.encode(x=x, y=alt.Y("y1:Q", scale=y_scale), y2="y2:Q"),
            whiskers.encode(x=alt.X("x1:Q", scale=x_scale), x2="x2:Q", y=y),
            shown.mark_point(strokeWidth=2, opacity=1, aria=True).encode(
                x=x,
                y=y,
                color=by_role(alt.Color, colours),
                shape=by_role(alt.Shape, shapes),
                size=by_role(alt.Size, sizes, None),
                fill=by_role(alt.Fill, grounds),
                description="told:N",
            ),
        ]
        for label in _place(rows, limits, plot):
            _, text = _chart([label])
            if label["far"]:
                leader = text.mark_rule(color="var(--strong)", strokeWidth=1)
                layers.insert(-1, leader.encode(x=x, y=y, x2="from:Q", y2="under:Q"))
            look = {"align": label["align"], "baseline": "middle", "fontSize": _FONT}
            halo = {"color": "var(--paper)", "stroke": "var(--paper)", "strokeWidth": 5}
            for colour in (halo, {"color": "var(--ink)"}):
                layers.append(text.mark_text(**look, **colour).encode(x=x, y=y, text="name:N"))
        return alt.layer(*layers).properties(width=plot[0], height=plot[1])

    return draw(make, say, described)


def _place(
    rows: Rows, limits: tuple[tuple[float, float], tuple[float, float]], plot: tuple[float, float]
) -> Iterator[dict[str, Any]]:
    """Find room for the names of the chosen, the reference and the frontier.

    A name for which there is none is left out: pointing tells it.

    :return: name, x and y in units of the axes, align, whether it stands far from its point, and
        where that is.
    """
    (x_low, x_high), (y_low, y_high) = limits
    x_unit, y_unit = plot[0] / (x_high - x_low), plot[1] / (y_high - y_low)
    pixels = [((row["x"] - x_low) * x_unit, (y_high - row["y"]) * y_unit) for row in rows]
    taken = [(a - 8, b - 8, a + 8, b + 8) for a, b in pixels]
    named = [pair for pair in zip(rows, pixels, strict=True) if pair[0]["role"] in _RANK]
    for row, (a, b) in sorted(named, key=lambda pair: _RANK[pair[0]["role"]]):
        name = clean(row["name"])
        width = len(name) * _FONT * _LETTER
        for left, top, align in _positions(a, b):
            start = left - {"left": 0.0, "right": width, "center": width / 2}[align]
            box = (start, top - 8, start + width, top + 8)
            inside = box[0] >= 0 and box[2] <= plot[0] and box[1] >= 0 and box[3] <= plot[1]
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                yield {
                    "name": name,
                    "x": x_low + left / x_unit,
                    "y": y_high - top / y_unit,
                    "align": align,
                    "far": abs(top - b) > 24,
                    "from": row["x"],
                    "under": row["y"],
                }
                break


def _positions(x: float, y: float) -> Iterator[tuple[float, float, str]]:
    """Yield places for a name, the nearest to its point first."""
    yield x + 13, y, "left"
    yield x - 13, y, "right"
    for far in (18, 32, 46, 60, 76, 92):
        for top in (y - far, y + far):
            yield x, top, "center"
            yield x + 6, top, "left"
            yield x - 6, top, "right"


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    apart = one[2] < other[0] or one[0] > other[2] or one[3] < other[1] or one[1] > other[3]
    return not apart


def _by_name(
    rows: Rows,
    key: str,
    say: Language,
    layers: Callable[[Any, Any, Any, bool], list[Any]],
    *,
    steps: tuple[float, float],
    above: int = -16,
    grouped: bool = False,
    told: Callable[[Mapping[str, Any]], str] = lambda row: row["told"].replace("\n", ": "),
) -> Chart | None:
    """Draw rows one under the other, with their names; None if there is none.

    :param key: of the name.
    :param layers: takes altair, the rows' chart, the axis of names and whether it is narrow.
    :param steps: height of a row on a narrow screen and on a wide one.
    :param above: where the names stand on a narrow screen, where there is no room beside the marks.
    :param grouped: whether a row has several marks, one under the other.
    :param told: puts a row in words, of which the chart's description is made.
    """
    if not rows:
        return None
    names = list(dict.fromkeys(row[key] for row in rows))
    longest = max(len(clean(name)) for name in names) * _FONT * _LETTER + 22

    def make(width: float, narrow: bool) -> Any:
        alt, base = _chart(rows)
        left = 8.0 if narrow else min(longest, 0.45 * width)
        place = {"labelAlign": "left", "labelPadding": -2, "labelOffset": above, "labelLimit": 310}
        if not narrow:
            # The converter measures letters of another font: the room is told, not measured.
            place = {"labelPadding": 10, "labelLimit": left, "minExtent": left, "maxExtent": left}
        look = {"domain": False, "ticks": False, "grid": False, "labelColor": "var(--ink)"}
        axis = alt.Axis(**look, **place, zindex=1)  # in front of shaded ground
        y = alt.Y(f"{key}:N", sort=names, title=None, axis=axis)
        return alt.layer(*layers(alt, base, y, narrow)).properties(
            width=width - left - 16,
            height=alt.Step(steps[not narrow], **{"for": "position"} if grouped else {}),
        )

    return draw(make, say, "; ".join(map(told, rows)) + ".")


def forest(
    rows: Rows,
    say: Language,
    *,
    title: str,
    zero: float,
    floor: float | None,
    limits: tuple[float, float],
    log: bool = False,
    format_: str = "",
) -> Chart | None:
    """Draw values with their intervals, one under the other.

    :param rows: name, value, low, high, role, kind (a second measure is drawn hollow) and told.
    :param title: of the axis.
    :param zero: where nothing changes; a dotted line.
    :param floor: left of it too much is lost; None for nowhere.
    :param limits: of the axis; what lies further out is put at its edge.
    :param log: whether equal ratios take equal lengths.
    :param format_: of the axis, by d3.
    """
    low, high = limits
    colours = {"chosen": "var(--accent)", "reference": "var(--ink)", "refused": "var(--alarm)"}
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    several = len(kinds) > 1
    shown = [
        {
            **row,
            **{key: min(max(row[key], low), high) for key in ("value", "low", "high")},
            "colour": colours.get(row["role"], "var(--soft)"),
        }
        for row in rows
    ]

    def layers(alt: Any, base: Any, y: Any, narrow: bool) -> list[Any]:
        scale = alt.Scale(domain=[low, high], nice=False, type="log" if log else "linear")
        axis = alt.Axis(format=format_, tickCount=4 if narrow else 7, grid=True)
        x = alt.X("value:Q", title=title, scale=scale, axis=axis)
        offset = alt.YOffset("kind:N", sort=kinds) if several else alt.Undefined
        colour = alt.Color("colour:N", scale=None)
        fill = alt.Fill("colour:N", scale=None)
        if several:
            fill = alt.condition(f"datum.kind == {kinds[-1]!r}", alt.value("var(--paper)"), fill)
        found = []
        if floor is not None:
            _, lost = _chart([{"a": low, "b": floor}])
            found.append(lost.mark_rect(color="var(--wash)").encode(x=alt.X("a:Q"), x2="b:Q"))
        _, line = _chart([{"a": zero}])
        return [
            *found,
            line.mark_rule(color="var(--ink)", strokeDash=[2, 3]).encode(x="a:Q"),
            base.mark_rule(strokeWidth=1.75).encode(
                y=y, yOffset=offset, x=alt.X("low:Q"), x2="high:Q", color=colour
            ),
            base.mark_point(size=60, strokeWidth=1.75, opacity=1, aria=True).encode(
                y=y, yOffset=offset, x=x, color=colour, fill=fill, description="told:N"
            ),
        ]

    steps, above = ((56, 30), -24) if several else ((44, 24), -16)
    return _by_name(shown, "name", say, layers, steps=steps, above=above, grouped=True)


def f1_bars(rows: Rows, say: Language, *, title: str, top: float = 1.0) -> Chart | None:
    """Draw F1 by label, or another share, as bars with intervals.

    :param rows: label, series, value, low, high, shown, told; the first series is the reference.
    :param title: of the axis.
    :param top: end of the axis: beyond 1 where what stands behind a whole bar needs room.
    """
    series = list(dict.fromkeys(row["series"] for row in rows))
    colours = ["var(--bar)", "var(--accent)"] if len(series) > 1 else ["var(--accent)"]

    def layers(alt: Any, base: Any, y: Any, narrow: bool) -> list[Any]:
        offset = alt.YOffset("series:N", sort=series)
        scale = alt.Scale(domain=[0, top], nice=False)
        axis = alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f")
        legend = alt.Legend(columns=1 if narrow else 0) if len(series) > 1 else None
        hues = alt.Scale(domain=series, range=colours)
        whiskers = base.mark_rule(color="var(--ink)", strokeWidth=1.5)
        texts = base.mark_text(align="left", dx=6, fontSize=_FONT, color="var(--ink)")
        end = "datum.high == null ? datum.value : datum.high"
        return [
            base.mark_bar(height=11, aria=True).encode(
                y=y,
                yOffset=offset,
                description="told:N",
                x=alt.X("value:Q", title=title, scale=scale, axis=axis),
                color=alt.Color("series:N", scale=hues, legend=legend),
            ),
            whiskers.transform_filter("isValid(datum.low)").encode(
                y=y, yOffset=offset, x=alt.X("low:Q"), x2="high:Q"
            ),
            texts.transform_calculate(end=end).encode(
                y=y, yOffset=offset, x=alt.X("end:Q"), text="shown:N"
            ),
        ]

    room = 13 * len(series)
    steps, above = (room + 24, room + 10), -7 * len(series) - 6
    return _by_name(rows, "label", say, layers, steps=steps, above=above, grouped=True)


def bars(rows: Rows, say: Language, *, title: str) -> Chart | None:
    """Draw counts as bars.

    :param rows: label, value, shown.
    :param title: of the axis.
    """
    most = max((row["value"] for row in rows), default=1) or 1

    def layers(alt: Any, base: Any, y: Any, narrow: bool) -> list[Any]:
        # Room for the number behind the longest bar.
        scale = alt.Scale(domain=[0, most * (1.6 if narrow else 1.22)], nice=False)
        axis = alt.Axis(tickCount=3 if narrow else 6, format=",d")
        x = alt.X("value:Q", title=title, scale=scale, axis=axis)
        bar = base.mark_bar(height=14, color="var(--accent)", aria=True)
        text = base.mark_text(align="left", dx=6, fontSize=_FONT, color="var(--ink)")
        return [
            bar.encode(x=x, y=y, description="shown:N"),
            text.encode(x=x, y=y, text="shown:N"),
        ]

    def told(row: Mapping[str, Any]) -> str:
        return f"{row['label']}: {row['shown']}"

    return _by_name(rows, "label", say, layers, steps=(36, 23), told=told)


def boxes(rows: Rows, say: Language, *, title: str, limit: int | None) -> Chart | None:
    """Draw distributions: quartiles and median, whiskers from 5 to 95 %, a dot at 99 %.

    :param rows: label, p5, p25, p50, p75, p95, p99, look (a colour) and told.
    :param title: of the axis.
    :param limit: length that is marked; None for none.
    """

    def layers(alt: Any, base: Any, y: Any, narrow: bool) -> list[Any]:
        x = alt.X("p5:Q", title=title, axis=alt.Axis(tickCount=4 if narrow else 8))
        colour = alt.Color("look:N", scale=None)
        box = base.mark_bar(height=12, aria=True)
        found = [
            base.mark_rule(color="var(--strong)", strokeWidth=1.5).encode(x=x, x2="p95:Q", y=y),
            box.encode(x=alt.X("p25:Q"), x2="p75:Q", y=y, description="told:N", color=colour),
            base.mark_tick(color="var(--paper)", thickness=3, height=12).encode(x="p50:Q", y=y),
            base.mark_circle(color="var(--soft)", size=22, opacity=1).encode(x="p99:Q", y=y),
        ]
        if limit is not None:
            _, line = _chart([{"a": limit}])
            found.append(line.mark_rule(color="var(--alarm)", strokeDash=[6, 3]).encode(x="a:Q"))
        return found

    return _by_name(rows, "label", say, layers, steps=(36, 22))


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    say: Language,
    *,
    write: Callable[[float | None], str],
    described: str,
) -> Chart:
    """Draw a matrix as shades, with the numbers inside where they fit.

    :param rows: names, to the left.
    :param columns: names, on top.
    :param values: shape (rows, columns), in [-1, 1]; None is left empty.
    :param write: a value as text.
    """
    highest = max((abs(v) for line in values for v in line if v is not None), default=0) or 1
    cells = [
        {
            "row": row, "column": column, "shade": 0.04 + 0.7 * abs(value) / highest,
            "colour": "var(--accent)" if value >= 0 else "var(--alarm)",
            "shown": write(value), "told": f"{row} · {column}: {write(value)}",
        }
        for row, line in zip(rows, values, strict=True)
        for column, value in zip(columns, line, strict=True)
        if value is not None
    ]  # fmt: skip

    def make(width: float, _narrow: bool) -> Any:
        alt, base = _chart(cells)
        longest = max((len(clean(name)) for name in rows), default=0)
        left = min(longest * _FONT * _LETTER + 18, 0.42 * width)
        cell = min(58.0, (width - left - 8) / max(len(columns), 1))
        high = min(26.0, max(cell, 13.0))
        axis = alt.Axis(orient="top", labelAngle=-90, domain=False, ticks=False, labelLimit=190)
        x = alt.X("column:N", sort=list(columns), title=None, axis=axis)
        look = alt.Axis(domain=False, ticks=False, labelLimit=left, labelColor="var(--ink)")
        y = alt.Y("row:N", sort=list(rows), title=None, axis=look)
        shades = base.mark_rect(stroke="var(--paper)", aria=True).encode(
            x=x, y=y, description="told:N", color=alt.Color("colour:N", scale=None),
            opacity=alt.Opacity("shade:Q", scale=None, legend=None),
        )  # fmt: skip
        layers = [shades]
        if cell >= 34:
            texts = base.mark_text(fontSize=11.5, color="var(--ink)")
            layers.append(texts.encode(x=x, y=y, text="shown:N"))
        return alt.layer(*layers).properties(width=cell * len(columns), height=high * len(rows))

    return draw(make, say, described)


def reliability(
    rows: Rows, say: Language, *, titles: tuple[str, str], described: str
) -> Chart | None:
    """Draw how often labels are there against what the probabilities say, a panel a label.

    :param rows: panel, when (before first), confidence, frequency and told.
    :param titles: of the axes.
    """
    if not rows:
        return None
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    times = list(dict.fromkeys(row["when"] for row in rows))

    def make(width: float, narrow: bool) -> Any:
        alt, base = _chart(rows)
        columns = 2 if narrow else 4
        side = (width - 50 - 24 * columns) / columns
        scale = alt.Scale(domain=[0, 1])
        axis = alt.Axis(tickCount=2, format=".1f")
        x = alt.X("confidence:Q", title=titles[0], scale=scale, axis=axis)
        y = alt.Y("frequency:Q", title=titles[1], scale=scale, axis=axis)
        look = ["var(--soft)", "var(--accent)"] if len(times) > 1 else ["var(--accent)"]
        colour = alt.Color("when:N", scale=alt.Scale(domain=times, range=look))
        dash = alt.StrokeDash(
            "when:N", scale=alt.Scale(domain=times, range=[[4, 3], [1, 0]][-len(times) :])
        )
        diagonal = base.transform_calculate(a="0", b="1").mark_rule(
            color="var(--ink)", strokeDash=[2, 3], opacity=0.6
        )
        return (
            alt.layer(
                diagonal.encode(x=alt.X("a:Q"), y=alt.Y("a:Q"), x2="b:Q", y2="b:Q"),
                base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash),
                base.mark_circle(size=26, opacity=1, aria=True).encode(
                    x=x, y=y, color=colour, description="told:N"
                ),
            )
            .properties(width=side, height=side)
            .facet(facet=alt.Facet("panel:N", sort=panels), columns=columns)
        )

    return draw(make, say, described)
