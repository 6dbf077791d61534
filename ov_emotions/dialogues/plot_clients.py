"""Clients side by side as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ov_emotions.dialogues.plot_parts import FONT
from ov_emotions.dialogues.results import Analysis, Client
from ov_emotions.dialogues.words import Words
from ov_emotions.reports import svg
from ov_emotions.reports.format import clean

MOST_CLIENTS = 30
"""Clients that are drawn."""


def clients_figure(
    analysis: Analysis,
    *,
    width: float = 780.0,
    name: str = "clients",
    language: str = "en",
) -> str | None:
    """Draw the clients' shares of negative utterances, with intervals and the segments' cuts.

    :param analysis: of the dialogues.
    :param width: in pixels.
    :param name: unique in the page.
    :param language: of the words, en or ru.
    :return: an svg element of the most negative clients; None if there is none.
    """
    words = Words(language)
    clients = [c for c in analysis.clients if c.negative.value is not None][:MOST_CLIENTS]
    if not clients:
        return None
    stacked = width < 500
    longest = max(len(clean(client.name)) for client in clients) * FONT * svg.SANS + 18
    left = 14.0 if stacked else min(longest, 0.34 * width)
    x = svg.Scale(0.0, 1.0, left, width - 24)
    step, top = (40.0 if stacked else 24.0), 34.0
    bottom = top + step * len(clients)
    body = list(_segments(analysis, x, top, bottom, words))
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        body.append(svg.line(x(tick), top, x(tick), bottom, "grid" if tick else "axis"))
        body.append(svg.text(x(tick), bottom + 17, f"{tick:.0%}", "tick", "middle"))
    for i, client in enumerate(clients):
        body += _client(client, x, top + step * i, left, stacked)
    described = "; ".join(
        f"{c.name}: {words.percent(c.negative.value)}, {words(c.segment)}" for c in clients
    )
    return svg.drawing(
        body,
        width=width,
        height=bottom + 26,
        name=name,
        title=words("clients_plot"),
        description=f"{described}.",
    )


def _segments(
    analysis: Analysis, x: svg.Scale, top: float, bottom: float, words: Words
) -> Iterator[str]:
    calm, upset = analysis.cuts
    zones: Sequence[tuple[str, float, float]] = (
        ("calm", 0.0, calm),
        ("wavering", calm, upset),
        ("upset", upset, 1.0),
    )
    for segment, low, high in zones:
        start, end = x(low), x(high)
        if end - start > 0.5:
            yield svg.tag(
                "rect",
                x=start,
                y=top,
                width=end - start,
                height=bottom - top,
                class_=f"zone {segment}",
            )
        shown = words(segment)
        if end - start > len(shown) * FONT * svg.SANS:
            yield svg.text((start + end) / 2, top - 8, shown, "tick", "middle")


def _client(client: Client, x: svg.Scale, top: float, left: float, stacked: bool) -> Iterator[str]:
    share = client.negative
    middle = top + (29 if stacked else 12)
    room = x.end - x.start if stacked else left - 14
    shown = svg.shorten(clean(client.name), FONT, room)
    if stacked:
        yield svg.text(left, top + 16, shown, "value")
    else:
        yield svg.text(left - 12, middle + 4, shown, "value", "end")
    yield svg.line(x(share.low), middle, x(share.high), middle, "whisker over")
    yield svg.tag(
        "circle", cx=x(share.value or 0.0), cy=middle, r=5, class_=f"client {client.segment}"
    )
