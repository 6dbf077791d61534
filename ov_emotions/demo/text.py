"""One text: its emotions as bars with the thresholds marked, and the words that moved them.

Every word is left out once, and all of it is one batch. The effect of a word on a label is the
label's logit for the whole text minus its logit for the text without that word: leave-one-out
erasure (J. Li, W. Monroe, D. Jurafsky, *Understanding Neural Networks through Representation
Erasure*, arXiv:1612.08220). Logits, because probabilities near 0 or 1 hardly move however much a
word matters. What is drawn can be read without the drawing and the colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import failure
from ov_emotions.demo.words import (
    TEXTS,
    Words,
    count,
    decimal,
    escape,
    label_words,
    percent,
    say,
    stamp,
)
from ov_emotions.prediction import Prediction, decide
from ov_emotions.thresholds import sigmoid

MAX_CHARACTERS = 20_000
MAX_PIECES = 48
"""A longer text is cut into this many runs of words at most, each left out as a whole."""

MAX_WORDS = 400
"""A text of more words is classified, and not explained: it would no longer be instant."""

# Changes of a logit from which a word counts as having moved the result a little, well, strongly.
# INT8 models move by some hundredths when only the batch changes.
_STEPS = (0.2, 0.6, 1.5)
_NAMED = 4
# What the style sheet has a colour of its own for.
_COLOURED = frozenset({"anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"})


def empty() -> str:
    """Write what stands in place of a result before there is a text."""
    ghosts = "".join(f'<li style="--share:{share}%"></li>' for share in (86, 34, 18, 9, 5))
    return (
        f'<div class="empty"><ol class="ghosts" aria-hidden="true">{ghosts}</ol>'
        f"<p>{say('text.empty')}</p></div>"
    )


def analyse(classifier: EmotionClassifier, text: str) -> str:
    """Classify a text and explain the result.

    :param classifier: the model.
    :param text: what the reader wrote.
    :return: the markup of the result.
    :raises OvEmotionsError: if the classifier does.
    """
    if not text.strip():
        return empty()
    if len(text) > MAX_CHARACTERS:
        words_ = TEXTS["fail.long"].format(limit=count(MAX_CHARACTERS))
        return failure(TEXTS["fail.title"], words_)
    found = attribute(classifier, text)
    labels, thresholds = classifier.labels, classifier.thresholds
    russian = classifier.label_names_ru
    scores = sigmoid(found.logits[None, :])
    prediction = decide(labels, thresholds, scores, [False])[0]
    chosen = next(iter(prediction.scores))
    return (
        f'<section class="result" data-of="{stamp(text)}" aria-labelledby="result-title">'
        f'<h2 id="result-title" class="eyebrow">{say("result.title")}</h2>'
        f'<div class="announce">{summary(prediction, thresholds, russian)}</div>'
        f"{bars(prediction, thresholds, russian, chosen=chosen)}"
        f'<p class="hint">{say("bars.note")}</p>'
        f'<div class="moved">{words(found, labels, russian, chosen)}</div></section>'
    )


def bars(
    prediction: Prediction,
    thresholds: Mapping[str, float],
    russian: Mapping[str, str],
    *,
    chosen: str | None = None,
    order: Sequence[str] = (),
) -> str:
    """Draw a bar for every label, the most probable first.

    :param prediction: of one text.
    :param thresholds: by label.
    :param russian: the labels' Russian names.
    :param chosen: the label whose words are shown; None for bars that cannot be chosen.
    :param order: labels to put first, in that order.
    :return: the markup of a list.
    """
    rows = []
    for label in dict.fromkeys((*order, *prediction.scores)):
        if label not in prediction.scores:
            continue
        score = prediction.scores[label]
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


class GivesLogits(Protocol):
    """What an attribution asks of a classifier."""

    def predict_logits(self, texts: list[str]) -> NDArray[np.float32]:
        """Give float32 logits, shape (texts, labels)."""
        ...


@dataclass(frozen=True)
class Attribution:
    """A text, its logits, and what each of its pieces did to them.

    :param pieces: the text cut at blanks, in order; one word each, or runs of words. Empty if the
        text is too long to be explained.
    :param logits: float32, shape (labels,), of the whole text; -inf if there is nothing to read.
    :param effects: float32, shape (pieces, labels), in logits; above 0 where the piece spoke for
        the label. NaN where the text without the piece holds nothing to read.
    """

    pieces: tuple[str, ...]
    logits: NDArray[np.float32]
    effects: NDArray[np.float32]


def attribute(classifier: GivesLogits, text: str) -> Attribution:
    """Classify a text and explain the result, in one call of the classifier.

    :param classifier: gives logits.
    :param text: any.
    :return: the logits and the effects.
    :raises OvEmotionsError: if the classifier does.
    """
    pieces = cut(text)
    without = [" ".join((*pieces[:i], *pieces[i + 1 :])) for i in range(len(pieces))]
    logits = classifier.predict_logits([text, *without])
    whole, rest = logits[0], logits[1:]
    # A text with nothing to read has logits of -inf, which compare with nothing.
    known = np.isfinite(rest) & np.isfinite(whole)
    effects = np.full(rest.shape, np.nan, dtype=np.float32)
    np.subtract(np.broadcast_to(whole, rest.shape), rest, out=effects, where=known)
    return Attribution(tuple(pieces), whole, effects)


def cut(text: str) -> list[str]:
    """Cut a text at blanks into at most `MAX_PIECES` pieces of about equally many words.

    :param text: any.
    :return: the pieces; none if there are more than `MAX_WORDS` words.
    """
    words = text.split()
    if len(words) > MAX_WORDS:
        return []
    pieces = min(len(words), MAX_PIECES)
    ends = [round(i * len(words) / pieces) for i in range(pieces + 1)] if pieces else []
    return [" ".join(words[start:end]) for start, end in pairwise(ends)]


def words(
    found: Attribution, labels: Sequence[str], russian: Mapping[str, str], chosen: str
) -> str:
    """Mark the words of a text, once for every label; the page shows one of them.

    :param found: the text's attribution.
    :param labels: in the order of its effects.
    :param russian: the labels' Russian names.
    :param chosen: the label that is shown first.
    :return: the markup.
    """
    if not np.isfinite(found.logits).any():
        return ""
    if not found.pieces:
        return f'<p class="hint">{say("words.many", limit=MAX_WORDS)}</p>'
    if len(found.pieces) == 1 or np.isnan(found.effects).all():
        return f'<p class="hint">{say("words.one")}</p>'
    parts = []
    for column, label in enumerate(labels):
        effects = np.nan_to_num(found.effects[:, column]).tolist()
        hidden = "" if label == chosen else " hidden"
        title = say("words.title", name=label_words(label, russian))
        parts.append(
            f'<div class="words" data-for="{escape(label)}" data-emotion="{hue(label)}"{hidden}>'
            f"<h3>{title}</h3>{_text(found.pieces, effects)}{_lists(found.pieces, effects)}</div>"
        )
    return "".join(parts) + _method()


def strength(effect: float) -> int:
    """Tell how strongly a word moved the result: 0 (not noticeably) to 3."""
    return sum(abs(effect) >= step for step in _STEPS)


def _text(pieces: Sequence[str], effects: Sequence[float]) -> str:
    return f'<p class="quote" lang="ru">{" ".join(map(_word, pieces, effects))}</p>'


def _word(piece: str, effect: float) -> str:
    level = strength(effect)
    if not level:
        return escape(piece)
    side, sign = ("for", "+") if effect > 0 else ("against", "\N{MINUS SIGN}")
    return (
        f'<span class="word {side} level-{level}">{escape(piece)}'
        f'<sup aria-hidden="true">{sign * level}</sup></span>'
    )


def _lists(pieces: Sequence[str], effects: Sequence[float]) -> str:
    """Name the strongest words with their numbers, for and against."""
    moved = [(e, p) for e, p in zip(effects, pieces, strict=True) if strength(e)]
    lines = []
    for name, side in (
        ("words.for.list", sorted((m for m in moved if m[0] > 0), reverse=True)),
        ("words.against.list", sorted(m for m in moved if m[0] < 0)),
    ):
        if side:
            lines.append(f"<li>{say(name, words=_named(side[:_NAMED]))}</li>")
    if not lines:
        return f'<p class="hint">{say("words.even")}</p>'
    return f'<ul class="movers">{"".join(lines)}</ul>'


def _named(side: Sequence[tuple[float, str]]) -> Words:
    named = [(piece, decimal(effect, signed=True)) for effect, piece in side]
    return Words(
        ", ".join(f"«{piece}» {number.ru}" for piece, number in named),
        ", ".join(f"“{piece}” {number.en}" for piece, number in named),
    )


def _method() -> str:
    return (
        f"<details><summary>{say('words.method')}</summary>"
        f'<p class="hint">{say("words.method.text", pieces=MAX_PIECES)}</p></details>'
    )
