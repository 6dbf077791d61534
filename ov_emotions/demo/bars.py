"""A prediction as bars with the thresholds marked, readable without the drawing and the colours."""

from __future__ import annotations

from collections.abc import Mapping

from ov_emotions.demo.markup import Words, escape, label_words, percent
from ov_emotions.demo.texts import TEXTS, say
from ov_emotions.prediction import Prediction

# What the style sheet has a colour of its own for.
_COLOURED = frozenset({"anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"})


def bars(
    prediction: Prediction,
    thresholds: Mapping[str, float],
    russian: Mapping[str, str],
    *,
    chosen: str | None = None,
) -> str:
    """Draw a bar for every label, the most probable first.

    :param prediction: of one text.
    :param thresholds: by label.
    :param russian: the labels' Russian names.
    :param chosen: the label whose words are shown; None for bars that cannot be chosen.
    :return: the markup of a list.
    """
    rows = []
    for label, score in prediction.scores.items():
        found = label in prediction.labels
        row = _row(label_words(label, russian), score, thresholds[label], found=found)
        classes = f'class="bar{" found" if found else ""}" data-emotion="{hue(label)}"'
        if chosen is not None:
            pressed = "true" if label == chosen else "false"
            attributes = f'data-label="{escape(label)}" aria-pressed="{pressed}"'
            row = f'<button type="button" {attributes}>{row}</button>'
        rows.append(f"<li {classes}>{row}</li>")
    return f'<ol class="bars">{"".join(rows)}</ol>'


def _row(name: Words, score: float, cut: float, *, found: bool) -> str:
    # The drawing says what the words beside it say.
    return (
        f'<span class="bar-name">{name.html()}</span>'
        '<span class="track" aria-hidden="true">'
        f'<span class="fill" style="width:{score * 100:.1f}%"></span>'
        f'<span class="cut" style="left:{cut * 100:.1f}%"></span></span>'
        f'<span class="bar-value">{percent(score).html()}</span>'
        f'<span class="bar-note"><span class="mark">{say("bars.above" if found else "bars.below")}'
        f"</span> <span>{say('bars.threshold', cut=percent(cut))}</span></span>"
    )


def hue(label: str) -> str:
    """Name the colour of a label in the style sheet."""
    return label if label in _COLOURED else "other"


def summary(
    prediction: Prediction, thresholds: Mapping[str, float], russian: Mapping[str, str]
) -> str:
    """Say the result in a sentence.

    :param prediction: of one text.
    :param thresholds: by label.
    :param russian: the labels' Russian names.
    :return: the markup of a heading, and of an explanation where no label was found.
    """
    best, score = next(iter(prediction.scores.items()))
    if score == 0:
        return f'<p class="verdict none">{say("result.unread")}</p>'
    if not prediction.labels:
        hint = say(
            "result.none.hint",
            name=label_words(best, russian),
            value=percent(score),
            cut=percent(thresholds[best]),
        )
        return f'<p class="verdict none">{say("result.none")}</p><p class="hint">{hint}</p>'
    names = " ".join(
        f'<span class="tag" data-emotion="{hue(label)}">{label_words(label, russian).html()}</span>'
        for label in prediction.labels
    )
    return f'<p class="verdict">{names}</p>'


def legend() -> str:
    """Explain what the bars show."""
    return f'<p class="hint">{TEXTS["bars.note"].html()}</p>'
