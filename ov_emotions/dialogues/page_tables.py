"""Tables of the dialogues' page."""

from __future__ import annotations

from ov_emotions.dialogues.curves import Share
from ov_emotions.dialogues.results import Analysis, Client, DialogueAnalysis
from ov_emotions.dialogues.spark import main_speaker, sparkline
from ov_emotions.dialogues.words import Words
from ov_emotions.reports import format as fmt
from ov_emotions.reports.table import Cell, Row, Table


def _share(share: Share, words: Words) -> Cell:
    return Cell(words.interval(share.value, share.low, share.high), share.value)


def segment_name(client: Client, words: Words) -> str:
    """Name a client's segment, with a question mark where it is not sure."""
    name = words(client.segment)
    sure = client.sure or client.segment == "unknown"
    return name if sure else words("unsure", segment=name)


def clients_table(analysis: Analysis, words: Words) -> Table:
    """List the clients."""
    rows = tuple(
        Row(
            (
                Cell(client.name),
                Cell(segment_name(client, words)),
                _share(client.negative, words),
                Cell(fmt.count(client.negative.count), client.negative.count),
                Cell(fmt.count(len(client.dialogues)), len(client.dialogues)),
                Cell(fmt.count(client.handovers), client.handovers),
            )
        )
        for client in analysis.clients
    )
    keys = ("name", "segment", "negative", "count", "dialogue_count", "handovers")
    head = tuple(words(key) for key in keys)
    return Table(
        "clients", words("clients_table"), head, (False, False, True, True, True, True), rows
    )


def dialogues_table(analysis: Analysis, words: Words) -> Table:
    """List the dialogues, the most negative first."""
    rows = []
    for dialogue in sorted(analysis.dialogues, key=lambda found: -found.negativity):
        speaker = main_speaker(dialogue)
        turns = sum(len(one.turning_points) for one in dialogue.speakers)
        handover = dialogue.handover
        after = (
            Cell("–") if handover is None else Cell(f"{handover.position + 1:,}", handover.position)
        )
        count = len(dialogue.utterances)
        rows.append(
            Row(
                (
                    Cell(dialogue.name),
                    Cell(speaker.name),
                    Cell(fmt.count(count), count),
                    _share(speaker.negative, words),
                    Cell(sparkline(speaker, 16)),
                    Cell(fmt.count(turns), turns),
                    after,
                )
            )
        )
    keys = ("dialogue", "speaker", "count", "negative", "course", "turning_points", "handover")
    head = tuple(words(key) for key in keys)
    numeric = (False, False, True, True, False, True, True)
    return Table("dialogues", words("dialogues_table"), head, numeric, tuple(rows))


def shares_table(analysis: Analysis, dialogue: DialogueAnalysis, name: str, words: Words) -> Table:
    """List the speakers of a dialogue with the share of each emotion."""
    rows = tuple(
        Row(
            (
                Cell(speaker.name),
                Cell(words(speaker.role or "no_role")),
                Cell(fmt.count(speaker.negative.count), speaker.negative.count),
                _share(speaker.negative, words),
                *(_share(speaker.shares[label], words) for label in analysis.labels),
            )
        )
        for speaker in dialogue.speakers
    )
    labels = (analysis.label_name(label, words.language) for label in analysis.labels)
    head = (*(words(key) for key in ("speaker", "role", "count", "negative")), *labels)
    numeric = (False, False, *(True for _ in head[2:]))
    caption = words("shares_table", confidence=analysis.settings.confidence)
    return Table(name, caption, head, numeric, rows)
