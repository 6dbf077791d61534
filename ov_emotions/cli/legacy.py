"""Verbs that do not stand on the frame yet."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Any

from ov_emotions import __version__

VERBS = (
    "serve",
    "demo",
    "bench",
    "data",
    "prune",
    "train",
    "distill",
    "export",
    "quantize",
    "thresholds",
    "calibrate",
    "evaluate",
    "report",
    "ovms",
    "triton",
)


class _Parser(argparse.ArgumentParser):
    """Takes flags by their full names: what an abbreviation means would change with new flags."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})


def build_parser(verbs: Sequence[str] = VERBS) -> argparse.ArgumentParser:
    """Assemble the parser.

    :param verbs: the modules to ask for their part.
    :return: a parser whose result has `run` and `verbose`.
    """
    parser = _Parser(
        prog="ov-emotions", description="Emotions in Russian text, several at once, on a CPU."
    )
    parser.add_argument("--version", action="version", version=f"ov-emotions {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log to standard error")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for verb in verbs:
        module = verb.replace("-", "_")
        importlib.import_module(f"ov_emotions.cli.{module}").add_parser(subparsers)
    for subparser in subparsers.choices.values():
        # SUPPRESS, so that the verb's own default does not undo a -v before it.
        subparser.add_argument(
            "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="log as well"
        )
    return parser
