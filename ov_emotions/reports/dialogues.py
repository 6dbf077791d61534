"""Dialogues as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import ov_emotions
from ov_emotions.dialogues.curves import Share
from ov_emotions.dialogues.results import Analysis, DialogueAnalysis
from ov_emotions.reports.dialogue_plots import (
    MOST_DOTS,
    drawn_labels,
    emotions_figure,
    look_of,
    negativity_figure,
)
from ov_emotions.reports.dialogue_sentences import (
    handover_sentence,
    headline,
    label_strengths,
    main_speaker,
    role_name,
    segment_name,
    share_sentence,
    sparkline,
    tipping,
    turn_sentences,
    verdict,
)
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import Cell, asset, figure, render
from ov_emotions.texts.transcripts import clock

MOST_DIALOGUES = 300
"""Dialogues that a page can open; the table has all."""

MOST_UTTERANCES = 1000
"""Utterances of a dialogue that the page writes out."""

_FIRST = 5  # dialogues to look at before all others


class _Shown:
    """A dialogue as the templates show it.

    :param number: in the order of urgency, from 1; ids are made of it.
    :param prefix: of ids, where a page holds it twice.
    """

    def __init__(
        self,
        analysis: Analysis,
        dialogue: DialogueAnalysis,
        number: int,
        say: Language,
        prefix: str,
    ) -> None:
        self.analysis, self.dialogue, self.number, self.say = analysis, dialogue, number, say
        self.id = f"{prefix}dialogue-{number}"
        self.mood, self.verdict = verdict(analysis, dialogue, say)
        self.speaker = main_speaker(dialogue)
        self.looks = look_of(dialogue)
        # Whether all of it is written out, and each utterance drawn.
        self.cut = len(dialogue.utterances) > MOST_UTTERANCES
        self.dotted = len(dialogue.utterances) <= MOST_DOTS

    def tipped(self) -> dict[str, Any] | None:
        """Give the utterance that tipped it."""
        position = tipping(self.dialogue)
        return None if position is None else self._said(position)

    def turning_points(self) -> int:
        """Count them, of all speakers."""
        return sum(len(speaker.turning_points) for speaker in self.dialogue.speakers)

    def sentences(self) -> list[str]:
        """Say when to hand over and where moods change."""
        found = turn_sentences(self.analysis, self.dialogue, self.say)
        none = self.say("No lasting change of mood.", "Устойчивых перемен настроения нет.")
        return [handover_sentence(self.analysis, self.dialogue, self.say), *(found or [none])]

    def share(self) -> str:
        """Say how much is negative."""
        return share_sentence(self.analysis, self.speaker, self.say)

    def curve(self) -> str:
        """Draw the negativity of everybody."""
        name = f"{self.id}-negativity"
        return negativity_figure(self.dialogue, name=name, language=self.say.code)

    def emotions(self) -> Iterator[tuple[str, str]]:
        """Draw the emotions of each speaker that has some: name and image."""
        clients_first = sorted(self.dialogue.speakers, key=lambda one: one.role != "client")
        for i, speaker in enumerate(clients_first):
            name = f"{self.id}-emotions-{i}"
            drawn = emotions_figure(self.analysis, speaker, name=name, language=self.say.code)
            if drawn:
                yield speaker.name, drawn

    def hidden(self) -> str:
        """Name the labels that nobody reaches."""
        drawn = {x for s in self.dialogue.speakers for x in drawn_labels(self.analysis, s)}
        rest = [x for x in self.analysis.labels if x not in drawn]
        return ", ".join(self.analysis.label_name(label, self.say.code) for label in rest)

    def talk(self) -> Iterator[dict[str, Any]]:
        """Give what was said, as far as it is written out, and what happened there."""
        events = self._events()
        for position in range(min(len(self.dialogue.utterances), MOST_UTTERANCES)):
            yield {**self._said(position), "events": events.get(position, ())}

    def _events(self) -> dict[int, list[tuple[str, str]]]:
        """Give looks and words of what happens, by position."""
        say = self.say
        found: dict[int, list[tuple[str, str]]] = {}
        for speaker in self.dialogue.speakers:
            for point in speaker.turning_points:
                event = "better", say("the mood turns for the better", "перелом к лучшему")
                if point.worse:
                    event = "worse", say("the mood turns for the worse", "перелом к худшему")
                found.setdefault(point.position, []).append(event)
        if self.dialogue.handover is not None:
            event = "worse", say("hand over to another operator", "передать другому оператору")
            found.setdefault(self.dialogue.handover.position, []).append(event)
        return found

    def _said(self, position: int) -> dict[str, Any]:
        """Give an utterance; chips say what was felt, and whether that is negative."""
        one, say, analysis = self.dialogue.utterances[position], self.say, self.analysis
        said = one.utterance
        chips = [(say("nothing to read", "нечего читать"), False)]
        if one.weight:
            chips = [
                (
                    f"{analysis.label_name(label, say.code)}\N{NO-BREAK SPACE}"
                    f"{say.number(level, 2)}",
                    label in analysis.negative_labels,
                )
                for label, level in label_strengths(analysis, one)
            ]
        return {
            "number": position + 1,
            "speaker": said.speaker,
            "look": self.looks[said.speaker],
            "time": "" if said.time is None or said.time < 0 else clock(said.time),
            "text": said.text,
            "chips": chips,
        }

    def shares(self) -> Iterator[tuple[str | Cell, ...]]:
        """Give the speakers with the share of each emotion."""
        say = self.say

        def cell(share: Share) -> Cell:
            return Cell(say.share(share.value, share.low, share.high), share.value)

        for one in self.dialogue.speakers:
            shares = [one.negative, *(one.shares[label] for label in self.analysis.labels)]
            count = figure(say.count, one.negative.count)
            yield (one.name, role_name(one, say), count, *map(cell, shares))


def page(analysis: Analysis, language: str = "en") -> str:
    """Write the page.

    :param analysis: of the dialogues.
    :param language: en or ru.
    :return: an HTML document that asks for nothing outside itself; whatever the dialogues hold
        stays text.
    :raises InputError: if the language is neither.
    :raises MissingExtraError: if jinja2 is not installed.
    """
    say = Language(language)
    title, lead = headline(analysis, say)
    values = _values(analysis, say, "")
    return render(
        "dialogues.html.j2",
        say,
        **values,
        title=title,
        lead=lead,
        opened=values["dialogues"][:MOST_DIALOGUES],
        negative=[analysis.label_name(x, language) for x in analysis.negative_labels],
        facts=[
            (say("model", "модель"), analysis.model or NONE),
            (say("version", "версия"), f"ov-emotions {ov_emotions.__version__}"),
            *((key, _setting(value)) for key, value in asdict(analysis.settings).items()),
        ],
    )


def fragment(analysis: Analysis, language: str, number: int | None = None, prefix: str = "") -> str:
    """Write dialogues as a part of another page.

    :param number: the dialogue to write, the most urgent is 1; None writes the one that there is,
        or what leads to each where there are several: links to `#PREFIXdialogue-NUMBER`.
    :param prefix: of ids, where the page holds them twice.
    :return: markup; `styles` and `dialogues.css` colour it, `page.js` and `dialogues.js` move it.
    """
    say = Language(language)
    values = _values(analysis, say, prefix)
    shown = values["dialogues"]
    if number is None and len(shown) == 1:
        number = 1
    only = None if number is None else shown[number - 1]
    return render("dialogues_fragment.html.j2", say, **values, only=only, opened=shown)


def _values(analysis: Analysis, say: Language, prefix: str) -> dict[str, Any]:
    """Give what a page and a part of one show."""
    ordered = enumerate(analysis.by_urgency(), start=1)
    shown = [_Shown(analysis, dialogue, number, say, prefix) for number, dialogue in ordered]
    return {
        "analysis": analysis,
        "labels": [analysis.label_name(label, say.code) for label in analysis.labels],
        "dialogues": shown,
        "prefix": prefix,
        "first": shown[:_FIRST],
        "segment_name": segment_name,
        "sparkline": sparkline,
    }


def styles() -> str:
    """Return the style sheet of the plots, for pages other than `page`'s.

    :return: CSS; colours are custom properties of `:root`, such as `--ink` and `--who-0`, and
        follow the reader's light or dark scheme.
    """
    return "\n".join(map(asset, ("palette.css", "plots.css")))


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or NONE
    return NONE if value is None else str(value)
