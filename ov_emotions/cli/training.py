"""What the verbs that train share: their flags, the run with its bar, what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ov_emotions.cli.flags import add_config_flags
from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import add_json_flag, make_output_folder
from ov_emotions.system import require
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.settings import preset_values

Answer = TypeVar("Answer")


def add_training_flags(parser: argparse.ArgumentParser, preset: str | None = None) -> None:
    """Add a flag for every setting of a run, the file of them, and `--json`.

    :param parser: the verb's.
    :param preset: whose values the verb takes where none are given.
    """
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    defaults = preset_values(preset) if preset else {}
    add_config_flags(parser, TrainConfig, required=False, defaults=defaults)
    add_json_flag(parser, "print the facts of the best checkpoint as JSON")


def prepare_training(output: Path) -> None:
    """Make the run's folder, and see that what trains is installed.

    :param output: the folder.
    :raises DataError: if it cannot be one.
    :raises MissingExtraError: if a package is not installed.
    """
    make_output_folder(output)
    for module in ("torch", "transformers", "safetensors"):
        require(module, extra="train")


def train_with_bar(train: Callable[[Callable[[int, int, str], None]], Answer]) -> Answer:
    """Train, drawing how far the run is.

    :param train: given what to call after each step.
    :return: what it returned.
    """
    with Progress("steps") as progress:
        try:
            return train(progress.update)
        except KeyboardInterrupt:
            progress.message("stopped; the same command goes on from the last saved state")
            raise


def summary(what: str, best: Path, facts: Mapping[str, Any]) -> str:
    """Say in two lines what came of a run.

    :param what: it wrote.
    :param best: where.
    :param facts: step, precision, device and selection (scores), as the best folder has them.
    :return: the lines.
    """
    scores = facts["selection"]
    return (
        f"{what}: {best} (step {facts['step']}, {facts['precision']}, {facts['device']})\n"
        f"on the selection part of validation: weighted F1 {scores['weighted_f1']:.3f}, "
        f"macro F1 {scores['macro_f1']:.3f}"
    )
