"""When to hand a client over to another operator.

Two rules, of which the one that is fulfilled first decides. Both look at the client's utterances
up to that moment alone, so that a desk that listens live would have been told at the same place:

- *level*: the running level of negativity is at or above `handover_level` in `handover_run`
  utterances in a row;
- *label*: the strength of `handover_label` is at or above `handover_strength` in
  `handover_repeats` utterances in a row.

Utterances of fewer words than `handover_words` neither count nor break a row.
"""

from __future__ import annotations

from collections.abc import Sequence

from ov_emotions.dialogues.curves import Array
from ov_emotions.dialogues.results import Handover, Rule
from ov_emotions.dialogues.settings import DialogueSettings


def find_handover(
    positions: Sequence[int],
    words: Sequence[int],
    levels: Array,
    strengths: Array | None,
    settings: DialogueSettings,
) -> Handover | None:
    """Apply the rules to one client.

    :param positions: of the client's utterances in the dialogue.
    :param words: of each.
    :param levels: running level after each, shape (utterances,).
    :param strengths: of the label that is looked for, same shape; None if the model lacks it.
    :param settings: the rules.
    :return: the moment; None if no rule is fulfilled.
    """
    counted = [i for i, count in enumerate(words) if count >= max(settings.handover_words, 1)]
    rules: list[tuple[Rule, Array | None, float, int]] = [
        ("label", strengths, settings.handover_strength, settings.handover_repeats),
        ("level", levels, settings.handover_level, settings.handover_run),
    ]
    found = []
    for rule, values, cut, length in rules:
        row = None if values is None else _first_row(counted, values, cut, length)
        if values is not None and row is not None:
            found.append(
                Handover(
                    positions[row[-1]],
                    rule,
                    tuple(positions[i] for i in row),
                    tuple(float(values[i]) for i in row),
                )
            )
    return min(found, key=lambda handover: handover.position, default=None)


def _first_row(counted: Sequence[int], values: Array, cut: float, length: int) -> list[int] | None:
    row: list[int] = []
    for i in counted:
        row = [*row, i] if values[i] >= cut else []
        if len(row) == length:
            return row
    return None
