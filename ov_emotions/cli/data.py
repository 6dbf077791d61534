"""`ov-emotions data prepare`: the raw sets joined into one folder to train on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ov_emotions.cli import data_augment, data_import, data_stats
from ov_emotions.cli.data_summary import summary
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    print_json,
    utf8_stdout,
)

_SHARED = "OV_EMOTIONS_SHARED"


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    data: argparse.ArgumentParser = subparsers.add_parser(
        "data",
        help="prepare data sets, import your own, describe them",
        description="Prepare data sets, import your own, describe them.",
    )
    verbs = data.add_subparsers(metavar="WHAT", required=True)
    data_import.add_parser(verbs)
    data_stats.add_parser(verbs)
    data_augment.add_parser(verbs)
    parser = verbs.add_parser(
        "prepare",
        help="join the raw sets into one prepared folder",
        description="Read the raw sets, deduplicate them, take leaks out of the training and "
        "validation splits, and write one prepared folder: Parquet files and a manifest.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--raw",
        type=Path,
        metavar="DIR",
        help=f"folder of the raw sets (default: data in the folder ${_SHARED}, or in ../shared)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write as a whole"
    )
    parser.add_argument(
        "--labels",
        metavar="SET",
        help="ekman-7 of all four sets, or goemotions-28 of GoEmotions-ru alone (default: ekman-7)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of the held-out rows and the parts of validation"
    )
    add_json_flag(parser, "print the manifest as JSON")


def run(args: argparse.Namespace) -> int:
    """Prepare the folder.

    :param args: the parsed arguments.
    :return: 0.
    """
    from ov_emotions.data.prepare import MANIFEST_NAME, PrepareConfig, prepare

    raw = args.raw or Path(os.environ.get(_SHARED) or "../shared") / "data"
    check_output_folder(args.output, MANIFEST_NAME)
    given = {name: getattr(args, name) for name in ("labels", "seed")}
    given = {name: value for name, value in given.items() if value is not None}
    manifest = prepare(PrepareConfig(raw, args.output, **given))
    if args.json:
        print_json(manifest)
    else:
        print(summary(manifest, args.output), file=utf8_stdout())
    return 0
