"""Dialogues on the page: the moment to step in, the curves, and what was said."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import InTurns, Job, ResultStore, failure
from ov_emotions.demo.tables import delete_upload, unreadable
from ov_emotions.demo.words import TEXTS, render, stamp
from ov_emotions.dialogues import (
    Analysis,
    DialogueSettings,
    Reading,
    analyse,
    page,
    parse_transcript,
    read_dialogues,
    to_csv,
    to_json,
)
from ov_emotions.errors import DataError
from ov_emotions.reports.dialogues import fragment

_BAD_SHOWN = 5
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Found:
    """What is kept of dialogues.

    :param mark: of the transcript that was pasted; see `stamp`.
    """

    reading: Reading
    analysis: Analysis
    mark: str


@dataclass(frozen=True)
class Dialogues:
    """Analyses dialogues, and gives markup."""

    classifier: EmotionClassifier
    store: ResultStore

    def pasted(self, text: str, job: Job) -> str:
        """Analyse a transcript that was pasted."""
        try:
            reading = parse_transcript(text, TEXTS["dialogues.name"].ru)
        except DataError:
            return failure("dialogues.none")
        return self._show(reading, DialogueSettings(), stamp(text), job)

    def uploaded(self, file: str | None, job: Job) -> str:
        """Analyse a file of dialogues, and delete it.

        :param file: where it lies; None if there is none.
        """
        if not file or not Path(file).exists():
            return failure("fail.gone")
        path = Path(file)
        try:
            reading = read_dialogues([path])
        except DataError as error:
            return unreadable(error, path)
        finally:
            delete_upload(path)
        return self._show(reading, DialogueSettings(), "", job)

    def again(self, chosen: str, job: Job) -> str:
        """Analyse dialogues again, now that a person said who somebody is.

        :param chosen: `token role name`, as the button that was pressed has it.
        """
        token, role, name = (*chosen.split(" ", 2), "", "")[:3]
        kept = self.store.find(token)
        if kept is None or role not in ("client", "operator"):
            return failure("fail.gone")
        before = kept.value.analysis.settings
        others = "operator" if role == "client" else "client"
        roles = {
            role: (*getattr(before, role), name),
            others: tuple(one for one in getattr(before, others) if one != name),
        }
        settings = replace(before, **roles)
        return self._show(kept.value.reading, settings, kept.value.mark, job)

    def _show(self, reading: Reading, settings: DialogueSettings, mark: str, job: Job) -> str:
        model = cast("EmotionClassifier", InTurns(self.classifier, job))
        analysis = analyse(reading.dialogues, model, settings, progress=job.tell)
        job.check()
        token, kept = self.store.new()
        kept.value = Found(reading, analysis, mark)
        unclear = set(analysis.undecided)
        names = dict.fromkeys(
            speaker.name
            for dialogue in analysis.dialogues
            if dialogue.name in unclear
            for speaker in dialogue.speakers
            if speaker.role is None
        )
        return render(
            "dialogues",
            mark=mark,
            token=token,
            bad=reading.left_out,
            shown=_BAD_SHOWN,
            names=list(names)[:_NAMES_SHOWN],
            unclear=len(unclear),
            reports=[(code, fragment(analysis, code, prefix=f"{code}-")) for code in ("ru", "en")],
        )


def download(found: Found, name: str) -> tuple[str, str] | None:
    """Write a part of what was found.

    :param name: of a file, or `LANGUAGE-dialogue-NUMBER` for one dialogue of many.
    :return: its text and media type; None where there is no such part.
    """
    analysis = found.analysis
    match name.split("."):
        case ["dialogues", "csv"]:
            return to_csv(analysis), "text/csv; charset=utf-8"
        case ["dialogues", "json"]:
            text = json.dumps(to_json(analysis), ensure_ascii=False, indent=2)
            return f"{text}\n", "application/json"
        case ["dialogues", ("ru" | "en") as language, "html"]:
            return page(analysis, language), "text/html"
    code, _, number = name.partition("-dialogue-")
    if code not in ("ru", "en") or not number.isdecimal():
        return None
    if not 1 <= int(number) <= len(analysis.dialogues):
        return None
    return fragment(analysis, code, int(number), prefix=f"{code}-"), "text/html"
