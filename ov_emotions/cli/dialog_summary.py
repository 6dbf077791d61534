"""What `ov-emotions dialog` shows on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TextIO

from ov_emotions.cli.render import coloured, one_line
from ov_emotions.dialogues.page_tables import segment_name
from ov_emotions.dialogues.results import Analysis, DialogueAnalysis, Segment, SpeakerAnalysis
from ov_emotions.dialogues.spark import sparkline
from ov_emotions.dialogues.talk import handover_sentence, turn_sentences
from ov_emotions.dialogues.words import Words

MOST_DIALOGUES = 20
"""Dialogues that are told one by one."""

_NAME = 24
_RESET = "\x1b[0m"
_COLOURS = {
    "calm": "\x1b[32m",
    "wavering": "\x1b[33m",
    "upset": "\x1b[31m",
    "alarm": "\x1b[31m",
    "title": "\x1b[1m",
}


class Summary:
    """Writes an analysis for a person.

    :param analysis: of the dialogues.
    :param language: of the words, en or ru.
    :param out: where to; coloured if it is a terminal and NO_COLOR is not set.
    """

    def __init__(self, analysis: Analysis, language: str, out: TextIO) -> None:
        self.analysis = analysis
        self.words = Words(language)
        self.out = out
        self.coloured = coloured(out)

    def write(self) -> None:
        """Write all of it."""
        blocks = ["\n".join(lines) for lines in self._blocks()]
        self.out.write("\n\n".join(blocks) + "\n")

    def _blocks(self) -> Iterator[list[str]]:
        analysis, words = self.analysis, self.words
        shown = sorted(analysis.dialogues, key=lambda d: (d.handover is None, -d.negativity))
        for dialogue in shown[:MOST_DIALOGUES]:
            yield list(self._dialogue(dialogue))
        if len(shown) > MOST_DIALOGUES:
            yield [words("dialogues_shown", shown=MOST_DIALOGUES, all=len(shown))]
        if len(analysis.clients) > 1:
            yield list(self._clients())
        if analysis.undecided:
            names = ", ".join(one_line(name) for name in analysis.undecided[:3])
            yield [
                words(
                    "undecided",
                    count=len(analysis.undecided),
                    dialogues=len(analysis.dialogues),
                    names=names + ("…" if len(analysis.undecided) > 3 else ""),
                )
            ]

    def _dialogue(self, dialogue: DialogueAnalysis) -> Iterator[str]:
        yield self._paint("title", one_line(dialogue.name))
        width = max(min(max(len(one_line(s.name)) for s in dialogue.speakers), _NAME), 6)
        for speaker in dialogue.speakers:
            yield self._speaker(speaker, width)
        for sentence in turn_sentences(self.analysis, dialogue, self.words):
            yield f"  {one_line(sentence)}"
        told = one_line(handover_sentence(self.analysis, dialogue, self.words))
        yield f"  {self._paint('alarm', told) if dialogue.handover else told}"

    def _speaker(self, speaker: SpeakerAnalysis, width: int) -> str:
        words, share = self.words, speaker.negative
        name = _fit(one_line(speaker.name), width)
        told = words.interval(share.value, share.low, share.high)
        role = words(speaker.role or "no_role")
        facts = f"{words('negative')} {told}, {words('count')}: {share.count}, {role}"
        return f"  {name}  {sparkline(speaker):<24}  {facts}"

    def _clients(self) -> Iterator[str]:
        analysis, words = self.analysis, self.words
        yield self._paint("title", words("clients"))
        width = min(max(len(one_line(client.name)) for client in analysis.clients), 40)
        for client in analysis.clients[:MOST_DIALOGUES]:
            share = client.negative
            told = words.interval(share.value, share.low, share.high)
            segment = self._paint(client.segment, f"{segment_name(client, words):<12}")
            yield f"  {_fit(one_line(client.name), width)}  {segment}  {told}"
        rest = len(analysis.clients) - MOST_DIALOGUES
        if rest > 0:
            yield f"  … +{rest}"
        counts = Counter(client.segment for client in analysis.clients)
        names: tuple[Segment, ...] = ("calm", "wavering", "upset")
        yield "  " + ", ".join(f"{words(name)}: {counts[name]}" for name in names)

    def _paint(self, look: str, text: str) -> str:
        colour = _COLOURS.get(look, "")
        return f"{colour}{text}{_RESET}" if self.coloured and colour else text


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"
