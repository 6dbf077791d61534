"""Dialogues on the page: the moment to step in, the curves, and what was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import InTurns, Job, ResultStore, failure
from ov_emotions.demo.tables import delete_upload
from ov_emotions.demo.words import TEXTS, bad_file, escape, in_russian, say, stamp
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
    """Analyses dialogues.

    :param classifier: the model.
    :param store: keeps what was found.
    """

    classifier: EmotionClassifier
    store: ResultStore

    def pasted(self, text: str, job: Job) -> str:
        """Analyse a transcript that was pasted.

        :param text: the transcript.
        :param job: that this is.
        :return: the markup.
        """
        try:
            reading = parse_transcript(text, TEXTS["dialogues.name"].ru)
        except DataError:
            return failure(TEXTS["dialogues.none"], TEXTS["dialogues.none.hint"])
        return self._show(reading, DialogueSettings(), stamp(text), job)

    def uploaded(self, file: str | None, job: Job) -> str:
        """Analyse a file of dialogues, and delete it.

        :param file: where it lies; None if there is none.
        :param job: that this is.
        :return: the markup.
        """
        if not file or not Path(file).exists():
            return failure(TEXTS["fail.gone"], TEXTS["fail.gone.hint"])
        path = Path(file)
        try:
            reading = read_dialogues([path])
        except DataError as error:
            return failure(TEXTS["fail.file"], bad_file(error, path))
        finally:
            delete_upload(path)
        return self._show(reading, DialogueSettings(), "", job)

    def again(self, chosen: str, job: Job) -> str:
        """Analyse dialogues again, now that a person said who somebody is.

        :param chosen: `token role name`, as the button that was pressed has it.
        :param job: that this is.
        :return: the markup.
        """
        token, role, name = (*chosen.split(" ", 2), "", "")[:3]
        kept = self.store.find(token)
        if kept is None or role not in ("client", "operator"):
            return failure(TEXTS["fail.gone"], TEXTS["fail.gone.hint"])
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
        token, _ = self.store.new()
        self.store.keep(token, value=Found(reading, analysis, mark))
        both = "".join(
            f'<div class="one-language report" lang="{code}">'
            f"{fragment(analysis, code, prefix=f'{code}-')}</div>"
            for code in ("ru", "en")
        )
        links = (
            ("dialogues.csv", "dialogues.csv", ""),
            ("dialogues.json", "dialogues.json", ""),
            ("dialogues.ru.html", "dialogues.page", ' lang="ru"'),
            ("dialogues.en.html", "dialogues.page", ' lang="en"'),
        )
        downloads = "".join(
            f'<a class="button"{language} download href="results/{token}/{name}">{say(label)}</a>'
            for name, label, language in links
        )
        of = f' data-of="{mark}"' if mark else ""
        return (
            f'<section class="dialogues" data-token="{token}"{of}>{_left_out(reading)}'
            f'{_who(analysis, token)}{both}<p class="downloads">{downloads}</p></section>'
        )


def download(found: Found, name: str) -> tuple[str, str] | None:
    """Write a part of what was found.

    :param found: as it is kept.
    :param name: of a file, or `LANGUAGE-dialogue-NUMBER` for one dialogue of many.
    :return: its text and media type; None where there is no such part.
    """
    analysis = found.analysis
    parts: dict[str, tuple[Callable[[], str], str]] = {
        "dialogues.csv": (lambda: to_csv(analysis), "text/csv; charset=utf-8"),
        "dialogues.json": (lambda: _json(analysis), "application/json"),
        "dialogues.ru.html": (lambda: page(analysis, "ru"), "text/html"),
        "dialogues.en.html": (lambda: page(analysis, "en"), "text/html"),
    }
    if name in parts:
        write, kind = parts[name]
        return write(), kind
    code, _, number = name.partition("-dialogue-")
    if code not in ("ru", "en") or not number.isdecimal():
        return None
    if not 1 <= int(number) <= len(analysis.dialogues):
        return None
    return fragment(analysis, code, int(number), prefix=f"{code}-"), "text/html"


def _json(analysis: Analysis) -> str:
    return json.dumps(to_json(analysis), ensure_ascii=False, indent=2) + "\n"


def _who(analysis: Analysis, token: str) -> str:
    """Ask who the client is, where names do not tell."""
    unknown = set(analysis.undecided)
    names = dict.fromkeys(
        speaker.name
        for dialogue in analysis.dialogues
        if dialogue.name in unknown
        for speaker in dialogue.speakers
        if speaker.role is None
    )
    if not names:
        return ""
    rows = "".join(
        f"<li><bdi>{escape(name)}</bdi>"
        + "".join(
            f'<button type="button" class="button" data-role="{token} {role} {escape(name)}">'
            f"{say(f'dialogues.{role}')}</button>"
            for role in ("client", "operator")
        )
        + "</li>"
        for name in list(names)[:_NAMES_SHOWN]
    )
    title = say("dialogues.who", count=len(unknown))
    hint = say("dialogues.who.hint")
    return (
        f'<div class="which who"><p class="verdict small">{title}</p><p class="hint">{hint}</p>'
        f"<ul>{rows}</ul></div>"
    )


def _left_out(reading: Reading) -> str:
    if not reading.left_out:
        return ""
    rows = "".join(
        f"<li>{say('files.bad.row', row=row.row)} {in_russian(row.reason).html()}</li>"
        for row in reading.left_out[:_BAD_SHOWN]
    )
    title = say("files.bad", bad=len(reading.left_out))
    return f'<details class="left-out" open><summary>{title}</summary><ul>{rows}</ul></details>'
