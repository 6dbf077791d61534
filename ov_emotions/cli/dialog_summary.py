"""What `ov-emotions dialog` shows on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from ov_emotions.cli.classify import coloured, one_line
from ov_emotions.dialogues.results import Analysis, DialogueAnalysis, SpeakerAnalysis
from ov_emotions.reports.dialogue_sentences import (
    handover_sentence,
    headline,
    role_name,
    segment_name,
    sparkline,
    turn_sentences,
)
from ov_emotions.reports.language import Language

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
    """Writes an analysis for a person."""

    def __init__(self, analysis: Analysis, language: str, out: TextIO) -> None:
        self.analysis = analysis
        self.say = Language(language)
        self.out = out
        self.coloured = coloured(out)

    def write(self) -> None:
        """Write all of it."""
        blocks = ["\n".join(lines) for lines in self._blocks()]
        self.out.write("\n\n".join(blocks) + "\n")

    def _blocks(self) -> Iterator[list[str]]:
        analysis, say = self.analysis, self.say
        shown = analysis.by_urgency()
        for dialogue in shown[:MOST_DIALOGUES]:
            yield list(self._dialogue(dialogue))
        if len(shown) > MOST_DIALOGUES:
            yield [
                say(
                    "Told are the {} most urgent of {}; JSON and CSV have all.",
                    "Описаны {} самых срочных из {}; в JSON и CSV есть все.",
                ).format(MOST_DIALOGUES, len(shown))
            ]
        if len(analysis.clients) > 1:
            yield list(self._clients())
        if analysis.undecided:
            names = ", ".join(one_line(name) for name in analysis.undecided[:3])
            yield [
                say(
                    "Who is the client cannot be told in {} of {} ({}); name clients or operators "
                    "by --client NAME or --operator NAME.",
                    "Неясно, кто клиент, в {} из {} ({}); назовите клиентов или операторов: "
                    "--client ИМЯ или --operator ИМЯ.",
                ).format(
                    len(analysis.undecided),
                    say.count(len(shown), "dialogue|dialogues", "диалога|диалогов|диалогов"),
                    names + ("…" if len(analysis.undecided) > 3 else ""),
                )
            ]

    def _dialogue(self, dialogue: DialogueAnalysis) -> Iterator[str]:
        yield self._paint("title", one_line(dialogue.name))
        width = max(min(max(len(one_line(s.name)) for s in dialogue.speakers), _NAME), 6)
        for speaker in dialogue.speakers:
            yield self._speaker(speaker, width)
        for sentence in turn_sentences(self.analysis, dialogue, self.say):
            yield f"  {one_line(sentence)}"
        told = one_line(handover_sentence(self.analysis, dialogue, self.say))
        yield f"  {self._paint('alarm', told) if dialogue.handover else told}"

    def _speaker(self, speaker: SpeakerAnalysis, width: int) -> str:
        say, share = self.say, speaker.negative
        name = _fit(one_line(speaker.name), width)
        told = say("negative {}", "негатив {}").format(
            say.share(share.value, share.low, share.high)
        )
        count = say.count(share.count, "utterance|utterances", "реплика|реплики|реплик")
        facts = f"{told}, {count}, {role_name(speaker, say)}"
        return f"  {name}  {sparkline(speaker):<24}  {facts}"

    def _clients(self) -> Iterator[str]:
        analysis, say = self.analysis, self.say
        title, lead = headline(analysis, say)
        yield self._paint("title", title)
        yield f"  {lead}"
        width = min(max(len(one_line(client.name)) for client in analysis.clients), 40)
        for client in analysis.clients[:MOST_DIALOGUES]:
            share = client.negative
            told = say.share(share.value, share.low, share.high)
            segment = self._paint(client.segment, f"{segment_name(client, say):<20}")
            yield f"  {_fit(one_line(client.name), width)}  {segment}  {told}"
        rest = len(analysis.clients) - MOST_DIALOGUES
        if rest > 0:
            yield f"  … +{rest}"

    def _paint(self, look: str, text: str) -> str:
        colour = _COLOURS.get(look, "")
        return f"{colour}{text}{_RESET}" if self.coloured and colour else text


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"
