"""A curve as one line of text."""

from __future__ import annotations

import numpy as np

from ov_emotions.dialogues.curves import Array
from ov_emotions.dialogues.results import DialogueAnalysis, SpeakerAnalysis

_BLOCKS = "▁▂▃▄▅▆▇█"


def thinned(values: Array, most: int) -> Array:
    """Make a long course short by means of neighbours.

    :param values: float64, shape (n, ...).
    :param most: values in the result at most.
    :return: float64, shape (min(n, most), ...).
    """
    if len(values) <= most:
        return values
    edges = np.linspace(0, len(values), most + 1).astype(int)
    sums = np.add.reduceat(values, edges[:-1], axis=0)
    widths = np.diff(edges).reshape(-1, *(1 for _ in values.shape[1:]))
    means: Array = sums / widths
    return means


def sparkline(speaker: SpeakerAnalysis, width: int = 24) -> str:
    """Draw a speaker's smoothed negativity with block characters.

    :param speaker: analysed.
    :param width: characters at most.
    :return: the line; a space where nothing readable is near.
    """
    levels = thinned(speaker.negativity.level, width).tolist()
    top = len(_BLOCKS)
    return "".join(
        " " if level != level else _BLOCKS[min(int(level * top), top - 1)] for level in levels
    )


def main_speaker(dialogue: DialogueAnalysis) -> SpeakerAnalysis:
    """Return whom a dialogue is about: its first client, or else its most negative speaker."""
    if dialogue.clients:
        return dialogue.clients[0]
    return max(dialogue.speakers, key=lambda speaker: speaker.negative.value or 0.0)
