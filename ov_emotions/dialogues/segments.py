"""Clients grouped by how much of what they say is negative."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ov_emotions.dialogues.curves import Share, share_of
from ov_emotions.dialogues.results import Client, DialogueAnalysis, Segment
from ov_emotions.dialogues.roles import folded, named_role
from ov_emotions.dialogues.settings import DialogueSettings


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

    :param dialogues: analysed.
    :param negative_labels: labels that count as negative.
    :param settings: the cuts.
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
