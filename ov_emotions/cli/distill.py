"""`ov-emotions distill`: a small student that learns from larger or several teachers."""

from __future__ import annotations

import argparse

from ov_emotions.cli.shared import Subparsers
from ov_emotions.cli.train import fit
from ov_emotions.cli.training import add_training_flags

PRESET = "distill"


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "distill",
        help="train a small student on what larger or several teachers say",
        description="Train a student (--base) on the mean of what its teachers say: of the "
        "training texts, of texts without labels (--unlabelled, --unlabelled-rows) and of texts "
        "recombined from training texts (--recombined-rows). Teachers are checkpoints or bundles; "
        "an INT8 bundle says nearly the same several times as fast. Texts that nearly equal a "
        f"held-out one are left out. The defaults are those of `train --preset {PRESET}`.",
    )
    parser.set_defaults(run=run)
    add_training_flags(parser, PRESET)


def run(args: argparse.Namespace) -> int:
    """Distill.

    :param args: the parsed arguments.
    :return: 0.
    """
    return fit(args, PRESET, ("base", "teachers", "data", "output"))
