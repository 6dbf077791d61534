"""Which words moved the result: every word is left out once, and all of it is one batch.

The effect of a word on a label is the label's logit for the whole text minus its logit for the text
without that word: leave-one-out erasure (J. Li, W. Monroe, D. Jurafsky, *Understanding Neural
Networks through Representation Erasure*, arXiv:1612.08220). Logits, because probabilities near 0 or
1 hardly move however much a word matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_PIECES = 48
"""A longer text is cut into this many runs of words at most, each left out as a whole."""

MAX_WORDS = 400
"""A text of more words is classified, and not explained: it would no longer be instant."""


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
