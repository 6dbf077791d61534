"""One text: its emotions as bars with the thresholds marked, and the words that moved them.

Every word is left out once, and all of it is one batch. The effect of a word on a label is the
label's logit for the whole text minus its logit for the text without that word: leave-one-out
erasure (J. Li, W. Monroe, D. Jurafsky, *Understanding Neural Networks through Representation
Erasure*, arXiv:1612.08220). Logits, because probabilities near 0 or 1 hardly move however much a
word matters. What is drawn can be read without the drawing and the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import failure
from ov_emotions.demo.words import Words, count, decimal, render, say, stamp
from ov_emotions.prediction import decide
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


def analyse(classifier: EmotionClassifier, text: str) -> str:
    """Classify a text and explain the result.

    :raises OvEmotionsError: if the classifier does.
    """
    if not text.strip():
        return render("empty", view="text")
    if (refused := too_long(text)) is not None:
        return refused
    pieces, logits, effects = attribute(classifier, text)
    labels, scores = classifier.labels, sigmoid(logits[None, :])
    hint, moved = None, []
    if not pieces:
        hint = say("words.many", limit=MAX_WORDS)
    elif len(pieces) == 1 or np.isnan(effects).all():
        hint = say("words.one")
    else:
        for label, column in zip(labels, np.nan_to_num(effects).T.tolist(), strict=True):
            marked = [(word, x, strength(x)) for word, x in zip(pieces, column, strict=True)]
            moved.append((label, marked, _movers(marked)))
    return render(
        "result",
        mark=stamp(text),
        prediction=decide(labels, classifier.thresholds, scores, [False])[0],
        model=classifier,
        hint=hint if np.isfinite(logits).any() else None,
        moved=moved,
        most=MAX_PIECES,
    )


def too_long(text: str) -> str | None:
    """Refuse a text of more than `MAX_CHARACTERS`."""
    if len(text) <= MAX_CHARACTERS:
        return None
    return failure("fail.title", say("fail.long", limit=count(MAX_CHARACTERS)))


def attribute(
    classifier: EmotionClassifier, text: str
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """Classify a text and explain the result, in one call of the classifier.

    :return: the text's pieces, see `cut`; float32, shape (labels,), logits of the whole text, -inf
        if there is nothing to read; and float32, shape (pieces, labels), effects in logits, above 0
        where the piece spoke for the label, NaN where the text without it holds nothing to read.
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
    return pieces, whole, effects


def cut(text: str) -> list[str]:
    """Cut a text at blanks into at most `MAX_PIECES` pieces of about equally many words.

    :return: the pieces; none if there are more than `MAX_WORDS` words.
    """
    words = text.split()
    if len(words) > MAX_WORDS:
        return []
    pieces = min(len(words), MAX_PIECES)
    ends = [round(i * len(words) / pieces) for i in range(pieces + 1)] if pieces else []
    return [" ".join(words[start:end]) for start, end in pairwise(ends)]


def strength(effect: float) -> int:
    """Tell how strongly a word moved the result: 0 (not noticeably) to 3."""
    return sum(abs(effect) >= step for step in _STEPS)


def _movers(marked: Sequence[tuple[str, float, int]]) -> list[tuple[str, Words]]:
    """Name the strongest words with their numbers, for and against."""
    strong = sorted((effect, word) for word, effect, level in marked if level)
    sides = {
        "for": [mover for mover in reversed(strong) if mover[0] > 0],
        "against": [mover for mover in strong if mover[0] < 0],
    }
    named = {
        side: [(word, decimal(effect, signed=True)) for effect, word in movers[:_NAMED]]
        for side, movers in sides.items()
    }
    return [
        (
            side,
            Words(
                ", ".join(f"«{word}» {number.ru}" for word, number in movers),
                ", ".join(f"“{word}” {number.en}" for word, number in movers),
            ),
        )
        for side, movers in named.items()
        if movers
    ]
