"""The `ov-emotions` command: picks the verb, and turns errors into one sentence and an exit code.

Exit codes: 0 fine, 1 failed, 2 wrong usage, 130 interrupted, 141 the reader of the output went
away, 143 terminated.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
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
from ov_emotions.cli.frame import Parser, UsageError, Verb, did_you_mean, make_parser, parse
from ov_emotions.cli.output import print_text
from ov_emotions.errors import DataError, OvEmotionsError

PROG = "ov-emotions"


VERBS = {
    "classify": ("classify", "find the emotions of texts"),
    "classify-many": (
        "classify",
        "find the emotions of folders of texts, on all cores or a Ray cluster",
    ),
    "dialog": ("dialog", "follow the emotions of dialogues: curves, turning points, upset clients"),
    "serve": ("servers", "answer over HTTP: /v1/emotions, and KServe v2"),
    "demo": ("servers", "a page to look at: one text, files, dialogues, two models side by side"),
    "bench": ("bench", "show where the time goes, and find the fastest settings"),
    "info": ("models", "show a model's card and what this machine's CPU offers"),
    "data prepare": ("data", "join the raw sets into one prepared folder"),
    "data import": ("data", "make a prepared folder of your own labelled texts"),
    "data augment": ("data", "add training rows made from those that are there"),
    "data stats": ("data", "describe a prepared folder: labels, lengths, words, repeats"),
    "prune": ("models", "make a base encoder ready to fine-tune, with a smaller vocabulary"),
    "train": ("training", "fine-tune a base encoder on a prepared folder"),
    "distill": ("training", "train a small student on what teachers say"),
    "convert": ("convert", "make a served INT8 model of any fine-tuned checkpoint"),
    "adapt": ("evaluation", "fit a model to a few hundred labelled texts, in minutes on a CPU"),
    "export": ("convert", "convert a checkpoint to an fp32 OpenVINO bundle"),
    "quantize": ("quantize", "make a model smaller and faster by a recipe"),
    "thresholds": ("evaluation", "fit decision thresholds, and compare ways to"),
    "calibrate": ("evaluation", "make probabilities say how often a label is there"),
    "evaluate": ("evaluation", "score models on held-out data"),
    "report": ("quantize", "compare recipes by accuracy and latency, say which to ship"),
    "ovms build": ("repositories", "publish a bundle as a model that takes raw text"),
    "ovms render": ("repositories", "write config.json, and why each value is what it is"),
    "ovms validate": ("repositories", "check a config.json as the server would, and beyond"),
    "ovms check": ("repositories", "see whether a server serves the right model and answers"),
    "triton build": ("repositories", "write a model repository for NVIDIA Triton"),
}
"""Module of this package and help, in the order of the help.

In the module, the verb has the verb's name, with underscores. A name of two words belongs to a
group of verbs.
"""

GROUPS = {
    "data": "Prepare data sets, import your own, describe them.",
    "ovms": "Build, configure and check what OpenVINO Model Server serves.",
    "triton": "Serve a model with NVIDIA Triton.",
}


class _TerminatedError(BaseException):
    """SIGTERM, as an exception: temporary files are cleaned up on the way out."""


def load_verb(name: str) -> Verb:
    """Import a verb."""
    module = importlib.import_module(f"ov_emotions.cli.{VERBS[name][0]}")
    found: Verb = getattr(module, name.replace(" ", "_").replace("-", "_"))
    return found


def read_arguments(arguments: Sequence[str]) -> tuple[Verb, Parser, dict[str, Any], bool]:
    """Find the verb, and read its arguments.

    :raises SystemExit: after help (0) and for wrong usage (2).
    """
    rest = list(arguments)
    verbose = False
    while rest and rest[0] in ("-v", "--verbose"):
        verbose = True
        del rest[0]
    name = _verb_name(rest)
    chosen, left, by = load_verb(name).variant(rest[name.count(" ") + 1 :])
    parser = make_parser(chosen, f"{PROG} {name}{by}")
    values, also = parse(chosen, parser, left)
    return chosen, parser, values, verbose or also


def _verb_name(words: Sequence[str]) -> str:
    """Take the verb from the front of the arguments, or answer what has none."""
    group = words[0] if words and words[0] in GROUPS else ""
    rest = list(words[1:] if group else words)
    first = rest[0] if rest else ""
    name = f"{group} {first}".strip()
    if name in VERBS:
        return name
    parser = _overview(group)
    if first in ("-h", "--help"):
        print_text(parser.format_help().rstrip())
        parser.exit(0)
    if first == "--version" and not group:
        print_text(f"{PROG} {__version__}")
        parser.exit(0)
    names = [*_names(group), *(() if group else ("--help", "--version", "--verbose"))]
    hint = did_you_mean(first, names) or f"; there are {', '.join(names)}"
    what = f"there is no {'flag' if first.startswith('-') else 'verb'} {first!r}{hint}"
    return parser.error(what if first else "name a verb")


def _names(group: str) -> list[str]:
    names = (name for name in VERBS if not group or name.startswith(f"{group} "))
    return list(dict.fromkeys(name.split()[1 if group else 0] for name in names))


def _overview(group: str) -> Parser:
    """Make the parser whose help lists verbs."""
    prog = f"{PROG} {group}" if group else PROG
    listed = {
        name: told for name, (_, told) in VERBS.items() if not group or name.startswith(group)
    }
    width = max(map(len, listed))
    lines = [f"  {name.ljust(width)}  {text}" for name, text in listed.items()]
    lines += ["", f"`{prog} VERB --help` tells all of a verb's flags."]
    parser = Parser(
        prog=prog,
        usage=f"{prog} [-h] {'' if group else '[--version] '}[-v] VERB ...",
        description=GROUPS.get(group, "Emotions in Russian text, several at once, on a CPU."),
        epilog="verbs:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if not group:
        parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument("-v", "--verbose", action="store_true", help="log to standard error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :raises SystemExit: after help (0) and for wrong usage (2).
    """
    try:
        _open_closed_streams()
        with _terminable():
            arguments = list(sys.argv[1:] if argv is None else argv)
            chosen, parser, values, verbose = read_arguments(arguments)
            with _log_to_stderr() if verbose else nullcontext():
                try:
                    code = chosen.run(**values)
                except UsageError as error:
                    parser.error(str(error))
            _flush_stdout()
            return code
    except BrokenPipeError:
        _abandon_stdout()
        return 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
    except OvEmotionsError as error:
        return _complain(f"error: {error}", 1)
    except OSError as error:
        return _complain(f"error: {_told(error)}", 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except _TerminatedError:
        return _complain("terminated", 128 + signal.SIGTERM)


def _told(error: OSError) -> str:
    """Name the file, and what the system says of it."""
    reason = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {reason}" if error.filename else reason


def _complain(message: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:  # else the flush at exit fails once more
        _abandon_stdout()
    # A file name that is not UTF-8 holds surrogates, which standard error may refuse.
    told = f"{PROG}: {message}".encode("utf-8", "replace").decode("utf-8")
    with suppress(OSError):  # there may be no room for it either
        print(told, file=sys.stderr)
    return code


class _ClosedInput(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise DataError("standard input cannot be read: it is closed")


def _open_closed_streams() -> None:
    """Put something in the place of standard streams that are closed.

    Else the next files that are opened would be the standard streams, and what libraries write to
    standard error would end up in them. Messages go nowhere then; reading and answering fails.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        descriptor = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
        if name == "stdin":
            sys.stdin = io.TextIOWrapper(io.BufferedReader(_ClosedInput()))
        else:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _abandon_stdout()
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        raise OSError(error.errno, f"standard output cannot be written: {reason}") from error


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
