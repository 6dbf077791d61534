"""`ov-emotions data stats`: what a prepared folder holds, as JSON and as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    make_output_folder,
    positive_int,
    print_json,
    table,
    utf8_stdout,
)
from ov_emotions.data.statistics.facts import Statistics
from ov_emotions.system import require

JSON_NAME = "stats.json"
PAGE_NAME = "stats.html"


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "stats",
        help="describe a prepared folder: labels, lengths, words, repeated texts",
        description="Count labels, lengths, telling words and repeated texts of a prepared folder, "
        f"by split and set, and write {JSON_NAME} and {PAGE_NAME}.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("prepared", type=Path, metavar="PREPARED", help="prepared folder")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"folder to write {JSON_NAME} and {PAGE_NAME} to (default: print only)",
    )
    parser.add_argument(
        "--model",
        help="bundle whose tokeniser counts tokens: shipped name, folder or Hub id "
        "(default: the shipped default)",
    )
    parser.add_argument(
        "--split",
        default="train",
        metavar="NAME",
        help="split whose telling words are sought, and which the plots show (default: train)",
    )
    parser.add_argument(
        "--words", type=positive_int, default=40, metavar="N", help="of a label (default: 40)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the word clouds' layout")
    add_json_flag(parser, "print the statistics as JSON")


def run(args: argparse.Namespace) -> int:
    """Describe the folder.

    :param args: the parsed arguments.
    :return: 0.
    """
    from ov_emotions.bundle import DEFAULT_MODEL
    from ov_emotions.data.statistics.run import StatsConfig, describe
    from ov_emotions.files import write_json, write_text
    from ov_emotions.reports.data_page import render_data_page

    seed = {} if args.seed is None else {"seed": args.seed}
    config = StatsConfig(
        model=args.model or DEFAULT_MODEL, words_split=args.split, words=args.words, **seed
    )
    if args.output is not None:
        require("wordcloud", extra="data")  # now, and not after a minute of counting
        make_output_folder(args.output)
    with Progress("texts") as progress:
        stats = describe(args.prepared, config, progress.update)
        if args.output is not None:
            written = render_data_page(stats)
            write_json(args.output / JSON_NAME, stats.to_json())
            write_text(args.output / PAGE_NAME, written)
    if args.json:
        print_json(stats.to_json())
        return 0
    print(_summary(stats), file=utf8_stdout())
    if args.output is not None:
        print(f"\nwrote {args.output / JSON_NAME}, {args.output / PAGE_NAME}", file=utf8_stdout())
    return 0


def _summary(stats: Statistics) -> str:
    counts = [
        [name, group.rows, *(group.labels[label].present for label in stats.labels)]
        for name, group in stats.splits.items()
    ]
    repeated = [
        [name, group.duplicates, group.near_duplicates, group.contradictions]
        for name, group in stats.splits.items()
    ]
    shared = [
        [f"{found.split} in {found.other}", found.equal, found.near]
        for found in stats.overlaps
        if found.equal or found.near
    ]
    words = [
        f"{label}: {', '.join(w.word for w in stats.words[label][:8])}" for label in stats.labels
    ]
    parts = [
        table([["split", "rows", *stats.labels], *counts]),
        table([["split", "repeated", "nearly", "contradicting"], *repeated]),
        *([table([["overlap", "equal", "nearly"], *shared])] if shared else []),
        "\n".join(words),
    ]
    return "\n\n".join(parts)
