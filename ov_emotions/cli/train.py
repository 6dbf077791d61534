"""`ov-emotions train`: a base encoder fine-tuned on a prepared folder."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, fields
from functools import partial
from typing import Any

from ov_emotions.cli.flags import config_values
from ov_emotions.cli.shared import Subparsers, print_json
from ov_emotions.cli.train_text_to_text import TASK, make_parser
from ov_emotions.cli.training import (
    add_training_flags,
    prepare_training,
    summary,
    train_with_bar,
)
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.settings import (
    load_settings,
    preset_description,
    preset_names,
    preset_values,
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="fine-tune a base encoder on a prepared folder",
        description="Fine-tune a base encoder on a prepared folder. A run that was stopped goes on "
        "when the same command is given again. Every setting is a flag, and a key of the same "
        "name, with underscores, of a configuration file: a flag wins over the file, the file "
        "over the preset. Several GPUs: torchrun --nproc-per-node N -m ov_emotions train ...",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--task",
        choices=("labels", TASK),
        default="labels",
        help=f"train a classifier, or with {TASK} a model that writes the labels, which has flags "
        f"of its own: --task {TASK} --help (default: labels)",
    )
    parser.add_argument("--preset", metavar="NAME", help="settings that come with the library")
    parser.add_argument("--presets", action="store_true", help="list the presets, and end")
    add_training_flags(parser)
    _hand_over_other_task(parser)


def _hand_over_other_task(parser: argparse.ArgumentParser) -> None:
    """Let the other task's own parser read the arguments, so that no flags of the two mix."""
    own = parser.parse_known_args
    tasks = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    tasks.add_argument("--task", nargs="?")

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        chosen, rest = tasks.parse_known_args(args)
        if chosen.task == TASK:
            return make_parser(parser.prog).parse_known_args(rest, namespace)
        return own(args, namespace)

    # What argparse calls for a verb; it offers no other way to choose a parser by a flag.
    vars(parser)["parse_known_args"] = parse_known_args


def run(args: argparse.Namespace) -> int:
    """Train.

    :param args: the parsed arguments.
    :return: 0.
    """
    if args.presets:
        return _list_presets(args.json)
    needed = [f.name for f in fields(TrainConfig) if f.default is MISSING]
    return fit(args, args.preset, needed)


def fit(args: argparse.Namespace, preset: str | None, needed: Sequence[str]) -> int:
    """Train by a preset, a file and flags, and say what came of it.

    :param args: the parsed arguments.
    :param preset: name of a preset.
    :param needed: fields that somebody must give; that is wrong usage where only flags could.
    :return: 0.
    """
    given = config_values(TrainConfig, args)
    if args.config is None:
        known = {*given, *(preset_values(preset) if preset else ())}
        if missing := [_flag(name) for name in needed if name not in known]:
            args.refuse(f"the following arguments are required: {', '.join(missing)}")
    config = load_settings(preset, args.config, given)
    prepare_training(config.output)
    from ov_emotions.training.run import BEST_NAME, train

    facts = train_with_bar(partial(train, config))
    if args.json:
        if _writes():
            print_json(facts)
    elif _writes():
        print(summary("best checkpoint", config.output / BEST_NAME, facts))
    return 0


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _writes() -> bool:
    """Say whether this is the one of several processes that answers."""
    return os.environ.get("RANK", "0") == "0"


def _list_presets(as_json: bool) -> int:
    presets = {name: preset_description(name) for name in preset_names()}
    if as_json:
        print_json(presets)
        return 0
    for name, text in presets.items():
        print(name)
        print(textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    "))
    return 0
