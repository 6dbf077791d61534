"""What the plots of dialogues are drawn with."""

from __future__ import annotations

from ov_emotions.dialogues.curves import Array
from ov_emotions.reports import svg

FONT = 12.5
MOST_POINTS = 300
"""Points of a curve; longer ones are thinned."""


def line(xs: Array, ys: Array, x: svg.Scale, y: svg.Scale, look: str) -> str:
    """Draw a curve.

    :param xs: float64, shape (n,).
    :param ys: same shape.
    :param x: scale of the former.
    :param y: scale of the latter.
    :param look: class of the style sheet.
    :return: the markup.
    """
    points = " ".join(
        f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs.tolist(), ys.tolist(), strict=True)
    )
    return svg.tag("polyline", points=points, class_=look)


def area(xs: Array, lows: Array, highs: Array, x: svg.Scale, y: svg.Scale, look: str) -> str:
    """Draw what lies between two curves.

    :param xs: float64, shape (n,).
    :param lows: same shape.
    :param highs: same shape.
    :param x: scale of the first.
    :param y: scale of the others.
    :param look: class of the style sheet.
    :return: the markup.
    """
    there = zip(xs.tolist(), highs.tolist(), strict=True)
    back = zip(xs[::-1].tolist(), lows[::-1].tolist(), strict=True)
    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in [*there, *back])
    return svg.tag("polygon", points=points, class_=look)
