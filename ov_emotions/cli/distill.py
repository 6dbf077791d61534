"""`ov-emotions distill`: a small student that learns from larger or several teachers."""

from __future__ import annotations

import argparse
from pathlib import Path

from ov_emotions.cli.flags import add_config_flags
from ov_emotions.cli.shared import Subparsers, add_json_flag
from ov_emotions.cli.train import fit
from ov_emotions.training.config import TrainConfig

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
    parser.set_defaults(run=run, refuse=parser.error)
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    add_config_flags(parser, TrainConfig, required=False)
    add_json_flag(parser, "print the facts of the best checkpoint as JSON")


def run(args: argparse.Namespace) -> int:
    """Distill.

    :param args: the parsed arguments.
    :return: 0.
    """
    return fit(args, PRESET, ("base", "teachers", "data", "output"))
