"""Words as a cloud: laid out by `wordcloud`, drawn as text that follows the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ov_emotions.reports import svg
from ov_emotions.reports.format import clean
from ov_emotions.system import require

_WIDTH, _HEIGHT = 360, 210
_LARGEST, _SMALLEST = 34, 9
_LONGEST = 24


def word_cloud(weights: Sequence[tuple[str, float]], *, name: str, title: str, seed: int) -> str:
    """Draw a word cloud.

    :param weights: words and how large they shall be, above 0, the largest first.
    :param name: unique in the page.
    :param title: what the words are.
    :param seed: of the layout.
    :return: an svg element; empty if there are no words.
    :raises MissingExtraError: if wordcloud is not installed.
    """
    # What cannot be shown cannot be measured; the weight of the first of equal words stays.
    shown: dict[str, float] = {}
    for word, weight in weights:
        shown.setdefault(svg.shorten(clean(word), 1.0, _LONGEST * svg.MONO), weight)
    if not shown:
        return ""
    wordcloud = require("wordcloud", extra="data")
    fonts = require("PIL.ImageFont", extra="data")
    cloud = wordcloud.WordCloud(
        width=_WIDTH,
        height=_HEIGHT,
        margin=8,
        prefer_horizontal=1.0,
        max_font_size=_LARGEST,
        min_font_size=_SMALLEST,
        relative_scaling=0.6,
        random_state=seed,
    ).generate_from_frequencies(shown)
    body = []
    for rank, ((word, _), size, (row, column), _, _) in enumerate(cloud.layout_):
        # Placed by the corner of its ink; drawn from the baseline, as wide as it was measured.
        font = fonts.truetype(cloud.font_path, size)
        left, top, right, _ = font.getbbox(word, anchor="ls")
        body.append(
            svg.tag(
                "text",
                escape(word),
                x=column - left,
                y=row - top,
                font_size=size,
                textLength=float(right - left),
                lengthAdjust="spacingAndGlyphs",
                class_="cloud-word top" if rank < 5 else "cloud-word",
            )
        )
    listed = ", ".join(word for word, _ in weights)
    return svg.drawing(
        body, width=_WIDTH, height=_HEIGHT, name=name, title=title, description=listed
    )
