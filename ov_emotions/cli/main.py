"""The `ov-emotions` command: picks the verb, and turns errors into one sentence and an exit code.

Exit codes: 0 fine, 1 failed, 2 wrong usage, 130 interrupted, 141 the reader of the output went
away, 143 terminated.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

from ov_emotions import __version__
from ov_emotions.errors import OvEmotionsError

VERBS = (
    "classify",
    "classify-many",
    "dialog",
    "serve",
    "demo",
    "bench",
    "info",
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
"""Modules of this package (an underscore for a hyphen), in the order of the help. Each has
`add_parser(subparsers)`, which sets `run` as a default of the parser it adds, and
`run(args) -> int`; it imports nothing heavy outside of `run`."""


class _TerminatedError(BaseException):
    """SIGTERM, as an exception: temporary files are cleaned up on the way out."""


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; those of the process where there are none.
    :return: the exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # The other verbs' modules need not be imported for a parser of the one that is asked for.
    verbs = arguments[:1] if arguments and arguments[0] in VERBS else VERBS
    try:
        with _terminable():
            args = build_parser(verbs).parse_args(arguments)
            with _log_to_stderr() if args.verbose else nullcontext():
                code: int = args.run(args)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        _abandon_stdout()
        return 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
    except (OvEmotionsError, OSError) as error:
        return _complain(f"error: {error}", 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except _TerminatedError:
        return _complain("terminated", 128 + signal.SIGTERM)


def _complain(message: str, code: int) -> int:
    # A file name that is not UTF-8 holds surrogates, which standard error may refuse.
    print(f"ov-emotions: {message}".encode("utf-8", "replace").decode("utf-8"), file=sys.stderr)
    return code


def _abandon_stdout() -> None:
    """Point standard output at nothing, so that the flush at exit does not fail once more."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def _terminable() -> Iterator[None]:
    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise _TerminatedError

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Log as long as the verb runs: a caller of `main` keeps its own handlers and level."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    package = logging.getLogger("ov_emotions")
    before = package.handlers, package.level
    package.handlers = [handler]
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.handlers, level = before
        package.setLevel(level)


if __name__ == "__main__":
    raise SystemExit(main())
