"""Where to write the names of points so that nothing covers anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_RADII = (13.0, 19.0, 27.0, 37.0, 49.0, 63.0, 79.0, 97.0, 120.0)
# Preferred directions first: right, left, above, below, then those between.
_DEGREES = (0, 180, -90, 90, -30, 30, -150, 150, -60, 60, -120, 120)
_LEADER_FROM = 16.0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Tell whether two rectangles share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def inside(self, other: Box) -> bool:
        """Tell whether this rectangle lies in another."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True)
class Label:
    """A placed label: its box, and the line that leads to it if it stands apart."""

    box: Box
    leader: tuple[float, float, float, float] | None


def around(x: float, y: float, radius: float) -> Box:
    """Return the square around a point."""
    return Box(x - radius, y - radius, x + radius, y + radius)


def place(
    anchors: Sequence[tuple[float, float]],
    widths: Sequence[float],
    height: float,
    bounds: Box,
    tiers: Sequence[Sequence[Box]],
) -> list[Label | None]:
    """Place a label beside each point, the first ones having the choice.

    :param anchors: the points.
    :param widths: of the labels.
    :param height: of each label.
    :param bounds: nothing is placed outside.
    :param tiers: what to keep clear of: the first always, the further ones where there is room.
    :return: a label a point; None for one that finds no room.
    """
    placed: list[Label | None] = []
    taken: list[Box] = []
    for (x, y), width in zip(anchors, widths, strict=True):
        label = None
        for kept in range(len(tiers), 0, -1):
            obstacles = [*taken, *(box for tier in tiers[:kept] for box in tier)]
            label = _first_free(x, y, width, height, bounds, obstacles)
            if label is not None:
                taken += [label.box, *_along(label.leader)]
                break
        placed.append(label)
    return placed


def _first_free(
    x: float, y: float, width: float, height: float, bounds: Box, taken: Sequence[Box]
) -> Label | None:
    for radius in _RADII:
        for degrees in _DEGREES:
            label = _candidate(x, y, width, height, radius, math.radians(degrees))
            parts = [label.box, *_along(label.leader)]
            if label.box.inside(bounds) and not any(p.meets(t) for p in parts for t in taken):
                return label
    return None


def _candidate(
    x: float, y: float, width: float, height: float, radius: float, angle: float
) -> Label:
    cos, sin = math.cos(angle), math.sin(angle)
    end_x, end_y = x + radius * cos, y + radius * sin
    left = end_x if cos > 0.1 else end_x - width if cos < -0.1 else end_x - width / 2
    top = end_y + (sin - 1) * height / 2
    leader = None
    if radius > _LEADER_FROM:
        # From the mark's edge to just before the text.
        leader = (x + 9 * cos, y + 9 * sin, end_x - 3 * cos, end_y - 3 * sin)
    return Label(Box(left, top, left + width, top + height), leader)


def _along(leader: tuple[float, float, float, float] | None) -> list[Box]:
    """Return small boxes along a leader, which stand for it in collision checks."""
    if leader is None:
        return []
    x1, y1, x2, y2 = leader
    steps = max(2, int(math.hypot(x2 - x1, y2 - y1) / 4))
    points = ((x1 + (x2 - x1) * i / steps, y1 + (y2 - y1) * i / steps) for i in range(steps))
    return [around(x, y, 0.8) for x, y in points]
