"""What verbs write: JSON and tables on standard output, files that are whole or absent."""

from __future__ import annotations

import io
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ov_emotions.errors import DataError
from ov_emotions.files import open_whole
from ov_emotions.schema import to_json
from ov_emotions.texts.streams import STANDARD


def print_json(value: Any) -> None:
    """Print indented JSON on standard output."""
    print_text(to_json(value).rstrip())


def print_text(text: str) -> None:
    """Print on standard output.

    :raises DataError: if it cannot be written.
    """
    with open_output(None) as out:
        print(text, file=out)


def utf8_stdout() -> TextIO:
    """Return standard output, writing UTF-8 wherever it goes."""
    # Where the locale has another encoding, an em dash or a Cyrillic letter could not be written.
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Open a file that comes to be only when the block ends without an error.

    Standard output for None and `-`.

    :raises DataError: at once, if the file cannot be written; later, if there is no room for it.
    """
    if path is None or path == STANDARD:
        with _named_failure("standard output", of_others=False):
            yield utf8_stdout()
        return
    with open_bytes(path) as out:
        file = io.TextIOWrapper(out, "utf-8", newline="\n")
        yield file
        file.flush()
        file.detach()


@contextmanager
def open_bytes(path: Path | None) -> Iterator[BinaryIO]:
    """Open what `open_output` opens, for bytes."""
    if path is None or path == STANDARD:
        with _named_failure("standard output", of_others=False):
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    with ExitStack() as stack:
        with _named_failure(str(path)):
            if path.is_dir():
                raise DataError(f"{path} is a folder; name a file to write")
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(0, "no permission")
            file = stack.enter_context(open_whole(path))
        with _named_failure(str(path), of_others=False):
            yield file
            file.flush()


@contextmanager
def _named_failure(name: str, *, of_others: bool = True) -> Iterator[None]:
    """Say what could not be written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None and not of_others:
            raise
        raise DataError(f"{name} cannot be written: {error.strerror}") from error


def write_output(path: Path, text: str) -> None:
    """Write a file, whole or not at all; `-` is standard output."""
    with open_output(path) as file:
        file.write(text)


def write_answer(path: Path | None, value: Any) -> None:
    """Write JSON to a file, if one is named."""
    if path is not None:
        write_output(path, to_json(value))


def check_output_folder(path: Path, marker: str) -> None:
    """Refuse to replace a folder that this command did not write.

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

    :raises DataError: if it cannot be one.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be a folder to write: {error.strerror}") from error


def table(rows: Sequence[Sequence[object]]) -> str:
    """Lay out a table: the first column to the left, the others to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def command_line() -> str:
    """Return the command as it could be given again."""
    return shlex.join(["ov-emotions", *sys.argv[1:]])
