"""`ov-emotions data import`: own labelled texts made into a prepared folder."""

from __future__ import annotations

import argparse

from ov_emotions.cli.data_summary import summary
from ov_emotions.cli.flags import add_config_flags, config_values
from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    print_json,
    utf8_stdout,
)
from ov_emotions.data.import_config import ImportConfig

_EPILOG = """\
The labels of a row are told in one of two ways. Either each label has a column of its own, with 1
where it is present, 0 where it is absent, and nothing where nobody looked (unknown: losses and
scores leave it out). Or one column lists the labels that are present, all others being absent.

Rows without a usable text or with labels that cannot be read are reported on standard error by
number and left out; all others are imported, and the exit code is 1.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "import",
        help="make a prepared folder of your own labelled texts",
        description="Read your own labelled texts, deduplicate and split them, take leaks out of "
        "the training and validation splits, and write one prepared folder with its own labels.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_config_flags(parser, ImportConfig, positional=("files",))
    add_json_flag(parser, "print the manifest as JSON")


def run(args: argparse.Namespace) -> int:
    """Import the files.

    :param args: the parsed arguments.
    :return: 0, or 1 if rows were left out.
    """
    from ov_emotions.data.importing import import_data
    from ov_emotions.data.prepare import MANIFEST_NAME

    config = ImportConfig(**config_values(ImportConfig, args))
    check_output_folder(config.output, MANIFEST_NAME)
    with Progress("rows") as progress:
        manifest = import_data(config, progress.update)
        source = manifest["sources"][0]
        for name, rows in source["bad_rows"].items():
            for row in rows:
                progress.message(f"{name}: row {row['row']}: {row['reason']}")
        bad = sum(len(rows) for rows in source["bad_rows"].values())
        good = sum(file["rows"] for file in source["files"].values())
        if bad:
            progress.message(f"{bad} of {good + bad} rows were left out")
        for split, facts in manifest["splits"].items():
            lacking = [label for label, n in facts["labels"].items() if not n["present"]]
            if lacking:
                progress.message(f"{split} has no row with {', '.join(lacking)}")
    if args.json:
        print_json(manifest)
    else:
        print(summary(manifest, config.output), file=utf8_stdout())
    return 1 if bad else 0
