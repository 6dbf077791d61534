"""Plots for pages on disk: bars and curves as SVG files that hold their own style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmarks.common import three_digits
from ov_emotions.reports import svg

WIDTH = 760.0
# A picture in a Markdown page sees neither the page's colours nor its style sheet.
_STYLE = """
text { font: 12.5px system-ui, sans-serif; fill: #444; }
.title { font-weight: 600; fill: #222; }
.grid { stroke: #ddd; } .axis { stroke: #888; }
.ours { fill: #0b6bcb; } .limit { fill: #8a8a8a; } .peer { fill: #8fbce6; }
.earlier { fill: #d9822b; } .whisker { stroke: #222; }
.line0 { stroke: #0b6bcb; } .line1 { stroke: #d9822b; } .line2 { stroke: #2f9e5b; }
.line3 { stroke: #8a5bc7; } .curve { fill: none; stroke-width: 2; }
.dashed { stroke-dasharray: 5 4; }
.back { fill: #fff; }
"""


def _whole(body: Sequence[str], height: float, name: str, title: str, told: str) -> str:
    back = svg.tag("rect", width=WIDTH, height=height, class_="back")
    return svg.drawing(
        [svg.tag("style", _STYLE), back, svg.text(12, 20, title, "title"), *body],
        width=WIDTH,
        height=height,
        name=name,
        title=title,
        description=told,
    )


def bars(
    title: str,
    rows: Sequence[tuple[str, str, Mapping[str, float]]],
    *,
    name: str,
    unit: str,
) -> str:
    """Draw one bar a row, its value at the end, smallest to largest as a whisker.

    :param rows: label, class (`ours`, `limit`, `peer` or `earlier`), and median, min and max.
    :param name: unique; ids are made of it.
    """
    left, step, top = 225.0, 24.0, 36.0
    x = svg.Scale(0.0, max(row[2]["max"] for row in rows), left, WIDTH - 120)
    body: list[str] = []
    for i, (label, look, figure) in enumerate(rows):
        y = top + step * i
        end = x(figure["median"])
        body += [
            svg.text(left - 8, y + 14, label, "label", "end"),
            svg.tag("rect", x=left, y=y + 3, width=end - left, height=step - 8, class_=look),
            svg.line(x(figure["min"]), y + 11, x(figure["max"]), y + 11, "whisker"),
            svg.text(
                x(figure["max"]) + 8, y + 14, f"{three_digits(figure['median'])} {unit}", "value"
            ),
        ]
    told = "; ".join(f"{label}: {three_digits(f['median'])} {unit}" for label, _, f in rows)
    return _whole(body, top + step * len(rows) + 10, name, title, told)


def curves(
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    name: str,
    x_label: str,
    log_x: bool = False,
    dashed: Sequence[str] = (),
) -> str:
    """Draw lines through points, y from 0.

    :param lines: points by name.
    :param name: unique; ids are made of it.
    :param log_x: whether equal ratios of x take equal lengths.
    :param dashed: names of lines that are predictions.
    """
    points = [point for line in lines.values() for point in line]
    bottom = 270.0
    along = math.log if log_x else float
    low, high = along(min(points)[0]), along(max(points)[0])
    air = 0.06 * (high - low) or 0.05
    across = svg.Scale(low - air, high + air, 80.0, WIDTH - 30)
    y = svg.Scale(0.0, 1.08 * max(p[1] for p in points), bottom, 40.0)
    body: list[str] = []
    ticks = y.ticks(5)
    step = ticks[1] - ticks[0]
    digits = next((d for d in range(5) if abs(round(step, d) - step) < step * 1e-6), 5)
    for tick in ticks:
        body.append(svg.line(80, y(tick), WIDTH - 30, y(tick), "grid" if tick else "axis"))
        body.append(svg.text(72, y(tick) + 4, f"{tick:,.{digits}f}", "tick", "end"))
    places = sorted({p[0] for p in points})
    body += [svg.text(across(along(v)), bottom + 18, f"{v:g}", "tick", "middle") for v in places]
    body.append(svg.text(WIDTH / 2, bottom + 38, x_label, "tick", "middle"))
    for i, (label, line) in enumerate(lines.items()):
        look = f"curve line{i % 4}" + (" dashed" if label in dashed else "")
        drawn = " ".join(f"{across(along(a)):.1f},{y(b):.1f}" for a, b in line)
        body.append(svg.tag("polyline", points=drawn, class_=look))
        below = bottom + 60 + 18 * i
        body.append(svg.line(80, below - 4, 110, below - 4, look))
        body.append(svg.text(118, below, label, "legend"))
    told = "; ".join(
        f"{label}: " + ", ".join(f"{a:g}: {three_digits(b)}" for a, b in line)
        for label, line in lines.items()
    )
    return _whole(body, bottom + 66 + 18 * len(lines), name, title, told)
