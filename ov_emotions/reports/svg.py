"""Small parts that plots are drawn with: elements, a scale with its ticks, widths of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ov_emotions.reports.language import clean

SANS = 0.55
"""Width of a character over the font's size, on the mean."""


def tag(name: str, content: str | None = None, **attributes: str | float) -> str:
    """Write an element.

    :param content: what is inside, already escaped; None closes the element at once.
    :param attributes: underscores become hyphens, one at the end is dropped; values are escaped.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}/>" if content is None else f"<{name}{written}>{content}</{name}>"


def _value(value: str | float) -> str:
    return clean(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, class_: str, anchor: str = "start") -> str:
    """Write a text, not escaped yet, at its baseline; its anchor is start, middle or end."""
    return tag("text", escape(clean(content)), x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """Write a line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def drawing(
    body: Sequence[str],
    *,
    width: float,
    height: float,
    name: str,
    title: str,
    description: str,
    **data: float,
) -> str:
    """Wrap marks into an image that a screen reader can name and describe.

    :param body: the marks, in the order of painting.
    :param name: unique in the page; ids are made of it.
    :param description: what the image shows, in words.
    :param data: attributes for scripts.
    """
    head = [
        tag("title", escape(clean(title)), id=f"{name}-title"),
        tag("desc", escape(clean(description)), id=f"{name}-desc"),
    ]
    return tag(
        "svg",
        "\n".join([*head, *body]),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=round(width),
        height=round(height),
        role="img",
        class_="plot",
        aria_labelledby=f"{name}-title {name}-desc",
        **data,
    )


@dataclass(frozen=True)
class Scale:
    """Maps values to positions, linearly.

    :param low: value at `start`.
    :param high: value at `end`; greater than `low`.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value; those outside are put on the nearer end."""
        value = min(max(value, self.low), self.high)
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Return round values inside, roughly as many as asked for."""
        raw = (self.high - self.low) / max(about, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = power * next((m for m in (1, 2, 2.5, 5) if m * power >= raw * 0.999), 10)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]
