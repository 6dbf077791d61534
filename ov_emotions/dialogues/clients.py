"""Who the clients are, when to hand one over to another operator, and how they are grouped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ov_emotions.dialogues.curves import Array, Share, share_of
from ov_emotions.dialogues.dialogue import folded
from ov_emotions.dialogues.results import Client, DialogueAnalysis, Handover, Role, Rule, Segment
from ov_emotions.dialogues.settings import DialogueSettings
from ov_emotions.errors import InputError

# Beginnings of words: Russian endings and numbers may follow.
_STEMS: dict[Role, tuple[str, ...]] = {
    "client": (
        "клиент", "абонент", "заказчи", "покупател", "покупательниц", "пользовател", "пациент",
        "посетител", "звонящ", "заявител", "client", "customer", "caller", "user", "buyer",
        "patient", "subscriber", "visitor",
    ),
    "operator": (
        "оператор", "менеджер", "агент", "поддержк", "сотрудни", "специалист", "консультант",
        "администратор", "диспетчер", "руководител", "супервайзер", "бот", "робот", "operator",
        "agent", "support", "manager", "supervisor", "employee", "consultant", "assistant",
        "bot", "robot", "dispatcher",
    ),
}  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")


def named_role(name: str) -> Role | None:
    """Read the role out of a speaker's name; None if it tells none, or both."""
    words = _WORD.findall(folded(name))
    told = {
        role
        for role, stems in _STEMS.items()
        for word in words
        if any(_begins(word, stem) for stem in stems)
    }
    return told.pop() if len(told) == 1 else None


def _begins(word: str, stem: str) -> bool:
    # «клиентка» and «Боткин» differ: an ending is no longer than half of the stem.
    return word.startswith(stem) and len(word) - len(stem) <= len(stem) // 2


def find_roles(speakers: Sequence[str], settings: DialogueSettings) -> dict[str, Role | None]:
    """Tell the roles in one dialogue, in this order.

    Names that the settings give; names that say it themselves, such as «Клиент 2» or `agent_7`; in
    a dialogue of two speakers, one known role gives the other's; a speaker alone who is no operator
    is the client. Anything else stays undecided, and is asked for.

    :return: by speaker; None where it cannot be told.
    """
    given: dict[str, Role] = {folded(name): "client" for name in settings.client}
    given |= {folded(name): "operator" for name in settings.operator}
    roles = {name: given.get(folded(name)) or named_role(name) for name in speakers}
    known = [role for role in roles.values() if role]
    if len(speakers) <= 2 and len(known) == len(speakers) - 1 and known != ["client"]:
        return {name: role or "client" for name, role in roles.items()}
    if len(speakers) == 2 and known == ["client"]:
        return {name: role or "operator" for name, role in roles.items()}
    return roles


def check_names(speakers: Sequence[str], settings: DialogueSettings) -> None:
    """Refuse names of roles that no speaker of any dialogue has.

    :raises InputError: for a name that is no speaker's, or has both roles.
    """
    known = {folded(name) for name in speakers}
    both = {folded(n) for n in settings.client} & {folded(n) for n in settings.operator}
    if both:
        raise InputError(f"{min(both)!r} is given as client and as operator")
    for name in (*settings.client, *settings.operator):
        if folded(name) not in known:
            shown = ", ".join(list(dict.fromkeys(speakers))[:8])
            raise InputError(f"no speaker is called {name!r}; there are {shown}")


def find_handover(
    positions: Sequence[int],
    words: Sequence[int],
    levels: Array,
    strengths: Array | None,
    settings: DialogueSettings,
) -> Handover | None:
    """Tell when to hand one client over to another operator.

    Two rules, of which the one that is fulfilled first decides. Both look at the client's
    utterances up to that moment alone, so that a desk that listens live would have been told at the
    same place:

    - *level*: the running level of negativity is at or above `handover_level` in `handover_run`
      utterances in a row;
    - *label*: the strength of `handover_label` is at or above `handover_strength` in
      `handover_repeats` utterances in a row.

    Utterances of fewer words than `handover_words` neither count nor break a row.

    :param positions: of the client's utterances in the dialogue.
    :param words: of each.
    :param levels: running level after each, shape (utterances,).
    :param strengths: of the label that is looked for, same shape; None if the model lacks it.
    :return: the moment; None if no rule is fulfilled.
    """
    counted = [i for i, count in enumerate(words) if count >= max(settings.handover_words, 1)]
    rules: list[tuple[Rule, Array, float, int]] = [
        ("level", levels, settings.handover_level, settings.handover_run)
    ]
    if strengths is not None:
        cut, repeats = settings.handover_strength, settings.handover_repeats
        rules.insert(0, ("label", strengths, cut, repeats))
    found = []
    for rule, values, cut, length in rules:
        row: list[int] = []
        for i in counted:
            row = [*row, i] if values[i] >= cut else []
            if len(row) == length:
                there = tuple(positions[i] for i in row)
                found.append(Handover(there[-1], rule, there, tuple(float(values[i]) for i in row)))
                break
    return min(found, key=lambda handover: handover.position, default=None)


@dataclass
class _Said:
    """A client's utterances in all their dialogues."""

    name: str
    dialogues: list[str] = field(default_factory=list)
    negative: list[bool] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    handovers: int = 0


def find_clients(
    dialogues: Sequence[DialogueAnalysis],
    negative_labels: Sequence[str],
    settings: DialogueSettings,
) -> tuple[tuple[Client, ...], tuple[float, float]]:
    """Group the clients.

    A client of one name in several dialogues is one client, unless the name is a role only, such
    as «Клиент»: then each dialogue has a client of its own.

    :return: the clients, the most negative first, and the two cuts as shares.
    """
    said: dict[str, _Said] = {}
    for dialogue in dialogues:
        for key, name, positions in _clients_of(dialogue):
            client = said.setdefault(key, _Said(name))
            client.dialogues.append(dialogue.name)
            for position in positions:
                utterance = dialogue.utterances[position]
                client.negative.append(any(x in negative_labels for x in utterance.labels))
                client.weights.append(utterance.weight)
            handover = dialogue.handover
            client.handovers += handover is not None and handover.position in positions
    shares = {
        key: share_of(np.array(c.negative), np.array(c.weights), settings.confidence)
        for key, c in said.items()
    }
    cuts = _cuts([s.value for s in shares.values() if s.value is not None], settings)
    clients = [
        Client(c.name, tuple(c.dialogues), shares[key], *_segment(shares[key], cuts), c.handovers)
        for key, c in said.items()
    ]
    clients.sort(key=lambda c: -1.0 if c.negative.value is None else c.negative.value, reverse=True)
    return tuple(clients), cuts


def _clients_of(dialogue: DialogueAnalysis) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for speaker in dialogue.clients:
        if named_role(speaker.name) is None:
            yield folded(speaker.name), speaker.name, speaker.positions
        else:
            name = f"{speaker.name}, {dialogue.name}"
            yield f"{dialogue.name}\n{speaker.name}", name, speaker.positions


def _cuts(shares: Sequence[float], settings: DialogueSettings) -> tuple[float, float]:
    if settings.segment_by == "share" or not shares:
        return settings.calm, settings.upset
    low, high = np.quantile(shares, (settings.calm, settings.upset))
    return float(low), float(high)


def _segment(share: Share, cuts: tuple[float, float]) -> tuple[Segment, bool]:
    if share.value is None:
        return "unknown", False
    segment = _segment_at(share.value, cuts)
    return segment, _segment_at(share.low, cuts) == _segment_at(share.high, cuts) == segment


def _segment_at(share: float, cuts: tuple[float, float]) -> Segment:
    calm, upset = cuts
    # Who never says anything negative is not upset, wherever the quantiles lie.
    if share <= calm or share == 0:
        return "calm"
    return "upset" if share >= upset else "wavering"
