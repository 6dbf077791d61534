"""`ov-emotions data augment`: a prepared folder with additional training rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ov_emotions.cli.flags import add_config_flags, config_values
from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    print_json,
    table,
    utf8_stdout,
)
from ov_emotions.data.augment.config import AugmentConfig

_EPILOG = """\
Methods, each of which makes rows of its own:
  back-translation  to English and back by two Marian models; a run that was stopped goes on when
                    the same command is given again
  synonyms          words replaced by synonyms in the same form; few, and none that tell of a label
  asr-noise         as a speech recogniser might have written the text, with its errors
  emoji             emoji in words
  oversample        rows of the labels that --oversample names, again

New rows that equal or nearly equal a text of another split or another training row are left out.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "augment",
        help="add training rows made from those that are there",
        description="Write a new prepared folder whose train split has additional rows, each "
        "marked with the method and the row it was made from. All other splits are copied.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_config_flags(parser, AugmentConfig, positional=("data",))
    add_json_flag(parser, "print the manifest as JSON")


def run(args: argparse.Namespace) -> int:
    """Augment the folder.

    :param args: the parsed arguments.
    :return: 0.
    """
    from ov_emotions.data.augment.run import augment
    from ov_emotions.data.prepare import MANIFEST_NAME

    config = AugmentConfig(**config_values(AugmentConfig, args))
    check_output_folder(config.output, MANIFEST_NAME)
    with Progress("rows") as progress:
        try:
            manifest = augment(config, progress.update)
        except KeyboardInterrupt:
            if "back-translation" in config.methods:
                progress.message("stopped; the same command goes on with what is translated")
            raise
    if args.json:
        print_json(manifest)
    else:
        print(_summary(manifest, config.output), file=utf8_stdout())
    return 0


def _summary(manifest: dict[str, Any], output: Path) -> str:
    latest = manifest["augmentation"][-1]
    counts: list[list[object]] = [["method", "made", "left out", "added"]]
    reasons: list[list[object]] = [["not made or left out", "rows"]]
    for method, facts in latest["methods"].items():
        counts.append([method, facts["made"], sum(facts["dropped"].values()), facts["rows"]])
        reasons += [
            [f"{method}: {reason.replace('_', ' ')}", rows]
            for reason, rows in (facts["not_made"] | facts["dropped"]).items()
            if rows
        ]
    tables = [table(counts)] + ([table(reasons)] if len(reasons) > 1 else [])
    rows = manifest["splits"]["train"]["rows"]
    return "\n\n".join([*tables, f"written to {output}: {rows:,} training rows"])
