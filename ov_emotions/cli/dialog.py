"""`ov-emotions dialog`: how the mood of dialogues moves, who is upset, when to step in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.classify import ModelOptions, load_classifier
from ov_emotions.cli.frame import UsageError, verb
from ov_emotions.cli.output import open_output, print_json, utf8_stdout
from ov_emotions.dialogues.settings import DialogueSettings
from ov_emotions.reports.language import LanguageCode
from ov_emotions.schema import Flag
from ov_emotions.texts.table import ReadSettings


@dataclass(frozen=True)
class DialogOptions:
    """Which dialogues are analysed, and where the answers go.

    :param files: a file, or a folder of files.
    :param json: print everything that was found as JSON.
    :param csv: write a row an utterance there.
    :param html: write a page with plots there.
    :param language: of page, summary and labels.
    :param roles: which speakers are clients and which operators, such as
        SPEAKER_00=client,SPEAKER_01=operator.
    :param speaker_column: of tables.
    :param dialogue_column: of tables (default: dialogue if there is one; else a file is a
        dialogue).
    :param time_column: of tables (default: time or start if there is one).
    """

    files: Annotated[tuple[Path, ...], Flag("FILE", positional=True)]
    json: bool = False
    csv: Annotated[Path | None, Flag("FILE")] = None
    html: Annotated[Path | None, Flag("FILE")] = None
    language: LanguageCode = "en"
    roles: Annotated[str, Flag("NAME=ROLE,...")] = ""
    speaker_column: Annotated[str, Flag("NAME")] = "speaker"
    dialogue_column: Annotated[str | None, Flag("NAME")] = None
    time_column: Annotated[str | None, Flag("NAME")] = None


@verb(
    texts={
        "client": "a speaker who is the client; may be given several times",
        "operator": "a speaker who is the operator; may be given several times",
        "negative": "a label that counts as negative; may be given several times (default: those "
        "that are known to be, of the model's labels)",
    },
    config=True,
)
def dialog(
    options: DialogOptions,
    reading: ReadSettings,
    settings: DialogueSettings,
    model: ModelOptions,
) -> int:
    """Follow the emotions of dialogues, who is upset, and when to step in.

    Curves with intervals, turning points, the share of negative emotion, the moment to hand over,
    and segments of clients.

    Tables (.csv, .tsv, .xlsx, .jsonl, .parquet) have a row an utterance, with columns of text and
    speaker, and if need be of dialogue and time. Recognisers' transcripts (.srt, .vtt, the JSON of
    Whisper, WhisperX and Vosk, lines of time, speaker and text) are read as they are. Others (.txt)
    have lines such as

        [00:12] Клиент: у меня не работает интернет
        [00:20] Оператор: сейчас проверю

    with or without times; a blank line begins another dialogue, and a line "# name" names the next.
    Rows that cannot be used are reported by number and left out; the exit code is then 1.
    """
    from ov_emotions.cli.dialog_summary import Summary
    from ov_emotions.dialogues import (
        Columns,
        analyse,
        complaints,
        page,
        read_dialogues,
        to_csv,
        to_json,
    )

    with (
        Bar("utterances") as bar,
        open_output(options.csv) as table,
        open_output(options.html) as document,
    ):
        columns = Columns(
            reading.text_column,
            options.speaker_column,
            options.dialogue_column,
            options.time_column,
        )
        found = read_dialogues(options.files, columns, reading)
        for note in found.notes:
            bar.message(note)
        classifier = load_classifier(model)
        if settings.handover_label not in classifier.labels:
            bar.message(
                f"the model has no label {settings.handover_label!r}, which one of the two rules "
                "for handing over looks for; only the level of negativity decides "
                f"(--handover-label: {', '.join(classifier.labels)})"
            )
        settings = with_roles(settings, options.roles)
        analysis = analyse(found.dialogues, classifier, settings, progress=bar.update)
        if options.csv is not None:
            table.write(to_csv(analysis, options.language))
        if options.html is not None:
            document.write(page(analysis, options.language))
    if options.json:
        print_json(to_json(analysis))
    else:
        out = utf8_stdout()
        Summary(analysis, options.language, out).write()
        if written := [str(path) for path in (options.csv, options.html) if path is not None]:
            print(f"\nwrote {', '.join(written)}", file=out)
    for line in complaints(found):
        bar.message(line)
    if left_out := len(found.left_out):
        bar.message(f"{left_out} of {left_out + found.utterances} rows were left out")
    return 1 if left_out else 0


_ROLES = {"client": "client", "operator": "operator", "клиент": "client", "оператор": "operator"}


def with_roles(settings: DialogueSettings, roles: str) -> DialogueSettings:
    """Add the speakers whose roles one flag tells.

    :raises UsageError: if there is no such role.
    """
    names: dict[str, tuple[str, ...]] = {
        "client": settings.client,
        "operator": settings.operator,
    }
    for pair in filter(None, (part.strip() for part in roles.split(","))):
        name, _, role = pair.rpartition("=")
        found = _ROLES.get(role.strip().lower())
        if not name.strip() or found is None:
            raise UsageError(f"{pair!r} is not of the form NAME=client or NAME=operator")
        names[found] += (name.strip(),)
    return replace(settings, client=names["client"], operator=names["operator"])
