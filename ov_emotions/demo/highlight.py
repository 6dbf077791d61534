"""The words that moved a result, marked by sign and strength, with and without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ov_emotions.demo.attribution import MAX_PIECES, MAX_WORDS, Attribution
from ov_emotions.demo.bars import hue
from ov_emotions.demo.markup import Words, decimal, escape, label_words
from ov_emotions.demo.texts import say

# Changes of a logit from which a word counts as having moved the result a little, well, strongly.
# INT8 models move by some hundredths when only the batch changes.
_STEPS = (0.2, 0.6, 1.5)
_NAMED = 4


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
