"""Small parts that plots are drawn with: elements, scales, ticks and widths of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from ov_emotions.reports.language import clean

SANS = 0.55
"""Width of a character over the font's size, on the mean."""


def tag(name: str, content: str | None = None, **attributes: str | float) -> str:
    """Write an element.

    :param name: of the element.
    :param content: what is inside, already escaped; None closes the element at once.
    :param attributes: underscores become hyphens, one at the end is dropped; values are escaped.
    :return: the markup.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}/>" if content is None else f"<{name}{written}>{content}</{name}>"


def _value(value: str | float) -> str:
    return clean(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, class_: str, anchor: str = "start") -> str:
    """Write a text at its baseline.

    :param content: not escaped yet.
    :param anchor: start, middle or end.
    :return: the markup.
    """
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
    :param title: what the image is.
    :param description: what it shows, in words.
    :param data: attributes for scripts.
    :return: the svg element.
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
    """Maps values to positions, linearly or by logarithm.

    :param low: value at `start`.
    :param high: value at `end`; greater than `low`.
    :param log: whether equal ratios take equal lengths; values are then positive.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value; those outside are put on the nearer end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Return round values inside, roughly as many as asked for."""
        return self._log_ticks(about) if self.log else self._linear_ticks(about)

    def _linear_ticks(self, about: int) -> list[float]:
        raw = (self.high - self.low) / max(about, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = power * next((m for m in (1, 2, 2.5, 5) if m * power >= raw * 0.999), 10)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]

    def _log_ticks(self, about: int) -> list[float]:
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for multiples in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
            ticks = [m * 10.0**e for e in range(low, high + 1) for m in multiples]
            ticks = [t for t in ticks if self.low * 0.999 <= t <= self.high * 1.001]
            if len(ticks) <= about:
                break
        return ticks if len(ticks) > 1 else self._linear_ticks(about)


def scale_around(
    values: Sequence[float], start: float, end: float, *, log: bool = False, margin: float = 0.06
) -> Scale:
    """Make a scale that shows all values and some air.

    :param values: at least one.
    :param log: whether equal ratios take equal lengths.
    :param margin: air at each end, as a share of the length.
    :return: the scale.
    """
    low, high = min(values), max(values)
    if log:
        factor = max(high / low, 1.05) ** margin
        return Scale(low / factor, high * factor, start, end, log=True)
    air = margin * (high - low) or abs(high) * 0.05 or 1.0
    return Scale(low - air, high + air, start, end)


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """Write a tick with as many decimals as tell it from its neighbours."""
    steps = [b - a for a, b in pairwise(ticks)]
    step = min(steps, default=abs(value) or 1.0)
    digits = next((d for d in range(5) if abs(round(step, d) - step) < step * 1e-6), 5)
    digits = max(digits, next((d for d in range(5) if abs(round(value, d) - value) < 1e-9), 5))
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
