"""`ov-emotions dialog`: how the mood of dialogues moves, who is upset, when to step in."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ov_emotions.cli.classify import add_model_flags, load_classifier
from ov_emotions.cli.flags import add_config_flags, config_values
from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import Subparsers, add_json_flag, open_output, print_json, utf8_stdout
from ov_emotions.dialogues.settings import DialogueSettings

if TYPE_CHECKING:
    from ov_emotions.dialogues import Analysis, Columns, Reading

_EPILOG = """\
Tables (.csv, .tsv, .jsonl, .parquet) have a row an utterance, with columns of text and speaker,
and if need be of dialogue and time. Transcripts (.txt) have lines such as

    [00:12] Клиент: у меня не работает интернет
    [00:20] Оператор: сейчас проверю

with or without times; a blank line begins another dialogue, and a line "# name" names the next.
Rows that cannot be used are reported by number and left out; the exit code is then 1.
"""
_NAMES = {
    "client": "a speaker who is the client; may be given several times",
    "operator": "a speaker who is the operator; may be given several times",
    "negative": "a label that counts as negative; may be given several times (default: those that "
    "are known to be, of the model's labels)",
}


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "dialog",
        help="follow the emotions of dialogues: curves, turning points, upset clients",
        description="Follow the emotions of dialogues: curves with intervals, turning points, the "
        "share of negative emotion, the moment to hand over, and segments of clients.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a file, or a folder of files"
    )
    add_json_flag(parser, "print everything that was found as JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row an utterance there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots there")
    parser.add_argument(
        "--language", choices=("en", "ru"), default="en", help="of page and summary (default: en)"
    )
    columns = parser.add_argument_group("columns of tables")
    columns.add_argument("--text-column", default="text", metavar="NAME", help="(default: text)")
    columns.add_argument(
        "--speaker-column", default="speaker", metavar="NAME", help="(default: speaker)"
    )
    columns.add_argument(
        "--dialogue-column",
        metavar="NAME",
        help="(default: dialogue if there is one; else a file is a dialogue)",
    )
    columns.add_argument("--time-column", metavar="NAME", help="(default: time if there is one)")
    rules = parser.add_argument_group("rules")
    for name, text in _NAMES.items():
        rules.add_argument(
            f"--{name}", action="append", default=argparse.SUPPRESS, metavar="NAME", help=text
        )
    add_config_flags(rules, DialogueSettings, leave_out=tuple(_NAMES))
    add_model_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Analyse what the arguments name.

    :param args: the parsed arguments.
    :return: 0, or 1 if rows were left out.
    """
    from ov_emotions.dialogues import analyse, page, read_dialogues, to_csv, to_json

    settings = DialogueSettings(**config_values(DialogueSettings, args))
    with (
        Progress("utterances") as progress,
        open_output(args.csv) as table,
        open_output(args.html) as document,
    ):
        reading = read_dialogues(args.files, _columns(args))
        analysis = analyse(
            reading.dialogues, load_classifier(args), settings, progress=progress.update
        )
        if args.csv is not None:
            table.write(to_csv(analysis))
        if args.html is not None:
            document.write(page(analysis, args.language))
    if args.json:
        print_json(to_json(analysis))
    else:
        _summarise(analysis, args)
    return _report(reading, progress)


def _columns(args: argparse.Namespace) -> Columns:
    from ov_emotions.dialogues import Columns

    return Columns(args.text_column, args.speaker_column, args.dialogue_column, args.time_column)


def _summarise(analysis: Analysis, args: argparse.Namespace) -> None:
    from ov_emotions.cli.dialog_summary import Summary

    out = utf8_stdout()
    Summary(analysis, args.language, out).write()
    written = [str(path) for path in (args.csv, args.html) if path is not None]
    if written:
        print(f"\nwrote {', '.join(written)}", file=out)


def _report(reading: Reading, progress: Progress) -> int:
    from ov_emotions.dialogues import complaints

    for line in complaints(reading):
        progress.message(line)
    left_out = len(reading.left_out)
    if left_out:
        progress.message(f"{left_out} of {left_out + reading.utterances} rows were left out")
    return 1 if left_out else 0
