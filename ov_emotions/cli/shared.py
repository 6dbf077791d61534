"""What several verbs need: argument types, output that is whole or absent, tables."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from ov_emotions.errors import DataError
from ov_emotions.files import atomic_path

Subparsers = Any  # argparse keeps the class private


def positive_int(text: str) -> int:
    """Read a whole number above zero; an `argparse` type.

    :param text: the argument.
    :return: the number.
    :raises ArgumentTypeError: if it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def name_value(text: str) -> tuple[str, float]:
    """Read NAME=VALUE; an `argparse` type.

    :param text: the argument.
    :return: the name and the number.
    :raises ArgumentTypeError: if it is not of that form.
    """
    name, equals, value = text.rpartition("=")  # a label may hold one too
    try:
        if name and equals:
            return name, float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=NUMBER")


def name_text(text: str) -> tuple[str, str]:
    """Read NAME=TEXT; an `argparse` type.

    :param text: the argument.
    :return: the name and the text.
    :raises ArgumentTypeError: if it is not of that form.
    """
    name, _, value = text.rpartition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=TEXT")
    return name, value


def add_json_flag(parser: argparse.ArgumentParser, text: str = "print JSON") -> None:
    """Add `--json`.

    :param parser: the verb's.
    :param text: its help.
    """
    parser.add_argument("--json", action="store_true", help=text)


def add_prepared_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--data`.

    :param parser: the verb's.
    """
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")


def add_refit_flags(parser: argparse.ArgumentParser) -> None:
    """Add what verbs share that fit something on validation and write a bundle with it.

    :param parser: the verb's; its model is a positional argument of its own.
    """
    add_prepared_flag(parser)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write a bundle with the fit")
    parser.add_argument("--output", type=Path, help="write the figures there as JSON too")
    add_json_flag(parser)


def print_json(value: Any) -> None:
    """Print indented JSON on standard output.

    :param value: what `json.dumps` takes.
    """
    print(json.dumps(value, ensure_ascii=False, indent=2), file=utf8_stdout())


def utf8_stdout() -> TextIO:
    """Return standard output, writing UTF-8 wherever it goes."""
    # Where the locale has another encoding, an em dash or a Cyrillic letter could not be written.
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Open standard output, or a file that comes to be only when the block ends without an error.

    :param path: the file; None for standard output.
    :return: yields the open text file.
    :raises DataError: at once, if the file cannot be written.
    """
    if path is None:
        yield utf8_stdout()
        return
    with ExitStack() as stack:
        try:
            if path.is_dir():
                raise DataError(f"{path} is a folder; name a file to write")
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(0, "no permission")
            # A device or a pipe is written to; anything else is replaced, behind a link too.
            replace = path.is_file() or not path.exists()
            target = stack.enter_context(atomic_path(path.resolve())) if replace else path
            file = stack.enter_context(target.open("w", encoding="utf-8", newline="\n"))
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from error
        yield file


def check_output_folder(path: Path, marker: str) -> None:
    """Refuse to replace a folder that this command did not write.

    :param path: the folder to be written as a whole.
    :param marker: a file that such a folder holds.
    :raises DataError: if it is a file, holds something else, or cannot be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise DataError(f"{path} is a file; name a folder to write")
        if path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
            raise DataError(
                f"{path} holds other files and no {marker}, and would be replaced; name another "
                "folder"
            )
        parent = path.resolve().parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def make_output_folder(path: Path) -> None:
    """Make a folder that files are added to, if there is none.

    :param path: the folder.
    :raises DataError: if it cannot be one.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be a folder to write: {error.strerror}") from error


def table(rows: Sequence[Sequence[object]]) -> str:
    """Lay out a table: the first column to the left, the others to the right.

    :param rows: cells, the header first; every row as long as the header.
    :return: lines without an end.
    """
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
