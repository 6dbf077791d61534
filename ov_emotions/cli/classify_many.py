"""`ov-emotions classify-many`: folders of texts in, the same rows with emotions out."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ov_emotions.cli.classify import add_prediction_flags
from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import Subparsers, add_json_flag, positive_int, print_json

if TYPE_CHECKING:
    from ov_emotions.cluster.run import Summary

_EPILOG = """\
IN is searched for .parquet, .csv, .tsv and .jsonl files (.gz too, but for .parquet); names that
begin with a dot or an underscore are left out. The rows are cut into parts, and each is written to
OUT in the format of its file: all columns as they were, then labels, scores and truncated. Rows
without a usable text are set aside in OUT/_bad with file, row and reason; then the exit code is 1.

A run that was stopped or killed goes on when the same command is given again: parts that stand are
not done twice. OUT/_SUCCESS is there when all are. Other input or options are refused; --actors,
--threads and --address may differ.

On one machine, Ray is started for the length of the command. With --address, IN, OUT and a model
that is a folder must be where every node of the cluster sees them.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "classify-many",
        help="find the emotions of folders of texts, on all cores or a Ray cluster",
        description="Find the emotions of all rows of a folder of files, on Ray Data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("source", type=Path, metavar="IN", help="a folder of files, or one file")
    parser.add_argument("target", type=Path, metavar="OUT", help="a folder to write")
    parser.add_argument(
        "--text-column",
        default="text",
        metavar="NAME",
        help="column or field with the text (default: text)",
    )
    parser.add_argument(
        "--prefix",
        default="",
        metavar="TEXT",
        help="before the names of the columns that are added",
    )
    parser.add_argument("--restart", action="store_true", help="delete what OUT holds, begin anew")
    add_json_flag(parser, "print the summary as JSON")
    add_prediction_flags(parser, "a shipped name, a bundle's folder or a Hub id")
    parser.add_argument(
        "--actors", type=positive_int, metavar="N", help="processes (default: as cores allow)"
    )
    parser.add_argument(
        "--threads", type=positive_int, default=1, metavar="N", help="of each (default: 1)"
    )
    parser.add_argument(
        "--part-rows",
        type=positive_int,
        default=10_000,
        metavar="N",
        help="rows of a part at most; what a kill loses is the parts under way (default: 10000)",
    )
    parser.add_argument("--address", help="of a Ray cluster, `auto` or HOST:PORT (default: none)")


def run(args: argparse.Namespace) -> int:
    """Classify a folder.

    :param args: the parsed arguments.
    :return: 0, or 1 if rows were set aside or parts could not be done.
    """
    from ov_emotions.cluster.plan import resolve_settings
    from ov_emotions.cluster.run import Resources, classify_many

    with Progress("rows") as progress:
        settings = resolve_settings(
            args.model,
            thresholds=dict(args.threshold) or None,
            text_column=args.text_column,
            prefix=args.prefix,
            long_texts=args.long_texts,
            precision=args.precision,
            part_rows=args.part_rows,
        )
        summary = classify_many(
            args.source,
            args.target,
            settings,
            Resources(actors=args.actors, threads=args.threads, address=args.address),
            restart=args.restart,
            tell=lambda done, total, bad: progress.update(
                done, total, f"{bad:,} set aside" if bad else ""
            ),
        )
        for sentence in summary.failed:
            progress.message(f"not done: {sentence}")
        if summary.rows_bad:
            progress.message(f"{summary.rows_bad:,} rows were set aside: {args.target / '_bad'}")
    if args.json:
        print_json(asdict(summary))
    else:
        print(_sentence(summary))
    return 1 if summary.rows_bad or summary.failed else 0


def _sentence(summary: Summary) -> str:
    rows = f"{summary.rows_out:,} of {summary.rows_in:,} rows classified"
    if summary.rows_per_second is None:
        return f"{rows}; nothing was left to do"
    before = f", {summary.parts_before:,} of {summary.parts:,} parts before"
    return (
        f"{rows}{before if summary.parts_before else ''}; {summary.rows_per_second:,.0f} rows/s in "
        f"{summary.seconds:,.1f} s ({summary.actors} actors, {summary.threads} threads each)"
    )
