"""Counts as bars and lengths as boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ov_emotions.data.statistics.facts import Lengths
from ov_emotions.reports import format as fmt
from ov_emotions.reports import svg

_FONT = 12.5


@dataclass(frozen=True)
class Bar:
    """A bar of a plot.

    :param name: what it counts.
    :param value: its length.
    :param text: what stands behind it.
    """

    name: str
    value: float
    text: str


def bars(items: Sequence[Bar], *, width: float, name: str, title: str, axis: str) -> str | None:
    """Draw horizontal bars.

    :param items: from top to bottom.
    :param width: in pixels; below 500 names stand above their bars.
    :param name: unique in the page.
    :param title: what the image is.
    :param axis: what is counted.
    :return: an svg element; None without bars.
    """
    if not items:
        return None
    stacked = width < 500
    names = [svg.shorten(item.name, _FONT, 250 if stacked else 230) for item in items]
    values_room = max(len(item.text) for item in items) * _FONT * svg.SANS + 14
    left = 14.0 if stacked else max(map(len, names)) * _FONT * svg.MONO + 20
    most = max(item.value for item in items) or 1.0
    x = svg.Scale(0.0, most, left, width - values_room)
    step, top = (38.0 if stacked else 22.0), 30.0
    bottom = top + step * len(items)
    body = [svg.text(left if not stacked else 8, 16, axis, "title")]
    body += svg.ruler(x, top, bottom, x.ticks(3 if stacked else 6))
    for i, (item, shown) in enumerate(zip(items, names, strict=True)):
        y = top + step * i + (21 if stacked else 4)
        if stacked:
            body.append(svg.text(left, y - 5, shown, "name"))
        else:
            body.append(svg.text(left - 10, y + 11, shown, "name", "end"))
        body.append(
            svg.tag(
                "rect",
                x=left,
                y=y,
                width=max(x(item.value) - left, 0.0),
                height=14,
                class_="bar chosen",
            )
        )
        body.append(svg.text(x(item.value) + 7, y + 11.5, item.text, "value"))
    described = "; ".join(f"{item.name}: {item.text}" for item in items)
    return svg.drawing(
        body, width=width, height=bottom + 26, name=name, title=title, description=described
    )


def boxes(
    items: Sequence[tuple[str, Lengths, bool]],
    *,
    width: float,
    name: str,
    title: str,
    axis: str,
    limit: int | None = None,
) -> str | None:
    """Draw distributions as boxes: quartiles and median, whiskers from 5 to 95 %, a dot at 99 %.

    :param items: names, distributions, and whether they are of a whole split.
    :param width: in pixels; below 500 names stand above their boxes.
    :param name: unique in the page.
    :param title: what the image is.
    :param axis: what the lengths are counted in.
    :param limit: length that is marked.
    :return: an svg element; None without distributions.
    """
    if not items:
        return None
    stacked = width < 500
    names = [svg.shorten(text, _FONT, 300 if stacked else 230) for text, _, _ in items]
    left = 14.0 if stacked else max(map(len, names)) * _FONT * svg.MONO + 20
    longest = max(value.quantiles["99"] for _, value, _ in items)
    reach = max(longest, limit or 0) * 1.04 or 1.0
    x = svg.Scale(0.0, reach, left, width - 16)
    step, top = (38.0 if stacked else 22.0), 30.0
    bottom = top + step * len(items)
    body = [svg.text(left if not stacked else 8, 16, axis, "title")]
    body += svg.ruler(x, top, bottom, x.ticks(4 if stacked else 8))
    if limit is not None:
        body.append(svg.line(x(limit), top, x(limit), bottom, "limit"))
        said = f"model reads {limit}"
        body.append(svg.text(x(limit), 16, said, "limit-name", "end"))
    for i, (shown, (_, value, whole)) in enumerate(zip(names, items, strict=True)):
        y = top + step * i + (27 if stacked else 11)
        if stacked:
            body.append(svg.text(left, y - 12, shown, "name" if whole else "name other"))
        else:
            look = "name" if whole else "name other"
            body.append(svg.text(left - 10, y + 4, shown, look, "end"))
        body += _box(value, x, y, "bar chosen" if whole else "bar")
    described = "; ".join(
        f"{text}: median {value.quantiles['50']:g}, 95 % at {value.quantiles['95']:g}"
        for text, value, _ in items
    )
    return svg.drawing(
        body, width=width, height=bottom + 26, name=name, title=title, description=described
    )


def _box(value: Lengths, x: svg.Scale, y: float, look: str) -> list[str]:
    at = {percent: x(length) for percent, length in value.quantiles.items()}
    return [
        svg.line(at["5"], y, at["95"], y, "whisker"),
        svg.tag(
            "rect",
            x=at["25"],
            y=y - 6,
            width=max(at["75"] - at["25"], 1.0),
            height=12,
            class_=look,
        ),
        svg.line(at["50"], y - 6, at["50"], y + 6, "whisker under"),
        svg.tag("circle", cx=at["99"], cy=y, r=2.5, class_="mark"),
    ]


def share(value: float | None) -> str:
    """Write a share, or that there is none."""
    if value is None:
        return fmt.NONE
    return "<0.1 %" if 0 < value < 0.0005 else fmt.percent(value)
