"""`ov-emotions train --task text-to-text`: a T5-style model that writes the labels."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ov_emotions.cli.flags import add_config_flags, config_values
from ov_emotions.cli.shared import add_json_flag, print_json
from ov_emotions.cli.training import prepare_training, summary, train_with_bar
from ov_emotions.training.text_to_text.config import Text2TextConfig

if TYPE_CHECKING:
    from ov_emotions.training.text_to_text.manifest import Text2TextManifest

TASK = "text-to-text"


def make_parser(prog: str) -> argparse.ArgumentParser:
    """Make the parser of this task's flags.

    :param prog: the command so far.
    :return: the parser; its result has `run`.
    """
    parser = argparse.ArgumentParser(
        prog=f"{prog} --task {TASK}",
        description="Fine-tune a T5-style model on a prepared folder to write the names of the "
        "emotions. A run that was stopped goes on when the same command is given again.",
    )
    parser.set_defaults(run=run)
    add_config_flags(parser, Text2TextConfig)
    add_json_flag(parser, "print the manifest of the best weights as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS)
    return parser


def run(args: argparse.Namespace) -> int:
    """Train.

    :param args: the parsed arguments.
    :return: 0.
    """
    config = Text2TextConfig(**config_values(Text2TextConfig, args))
    prepare_training(config.output)
    from ov_emotions.training.text_to_text.run import BEST_NAME, train

    manifest = train_with_bar(partial(train, config))
    if args.json:
        print_json(manifest.to_dict())
    else:
        print(_summary(manifest, config.output / BEST_NAME))
    return 0


def _summary(manifest: Text2TextManifest, best: Path) -> str:
    outputs = manifest.outputs
    lines = [
        summary("best weights", best, manifest.to_dict()),
        f"outputs that name no label: {outputs['unparseable']} of {outputs['outputs']} "
        f"({outputs['unparseable_share']:.1%})",
    ]
    if manifest.left_out:
        lines.append(
            "not trained on, some label of theirs is not annotated: "
            + ", ".join(f"{count:,} rows of {name}" for name, count in manifest.left_out.items())
        )
    return "\n".join(lines)
