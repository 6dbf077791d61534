"""What publishing to a model repository needs, whichever server reads it.

A version is written into a hidden folder beside its place, which servers pass over, and renamed
when it is whole; one publisher works on a model at a time; a failure leaves no folder behind.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ov_emotions.errors import RepositoryError

DEFAULT_NAME = "emotions"
"""What a model is called where nobody says."""

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
"""What can name a model."""

VERSION = re.compile(r"[1-9][0-9]{0,17}")
"""What can name the folder of a version."""

LOCK = ".publish.lock"
"""Held by a publisher; lies in the model's folder."""

_LEFT_OVER = re.compile(r"\.[0-9]+\.[0-9a-f]{8}\.tmp")


def default_name(token_in: bool) -> str:
    """Choose what a model is called where nobody says.

    :param token_in: whether it takes token ids.
    :return: the name.
    """
    return f"{DEFAULT_NAME}-tokens" if token_in else DEFAULT_NAME


def hidden_folder(folder: Path, version: int) -> Path:
    """Choose where a version is written before it is whole.

    :param folder: the model's.
    :param version: its number.
    :return: a folder that does not exist.
    """
    return folder / f".{version}.{secrets.token_hex(4)}.tmp"


def next_version(versions: Sequence[int], folder: Path) -> int:
    """Choose the number of the next version.

    :param versions: that are there, ascending.
    :param folder: the model's.
    :return: one above the highest; 1 for the first.
    :raises RepositoryError: if there is no higher number.
    """
    version = versions[-1] + 1 if versions else 1
    if not VERSION.fullmatch(str(version)):
        raise RepositoryError(
            f"{folder} holds version {versions[-1]}, above which there is no number: move it away, "
            "or publish under another name"
        )
    return version


def clear_leftovers(folder: Path) -> None:
    """Remove what a publisher left that died.

    :param folder: the model's; locked.
    """
    for path in folder.iterdir():
        if _LEFT_OVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def folder_of(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; take back what was made if the block fails.

    :param folder: to make.
    """
    made: list[Path] = []
    try:
        for path in reversed([folder, *folder.parents]):
            if not path.is_dir():
                if os.path.lexists(path):
                    raise RepositoryError(
                        f"cannot publish to {folder}: {path} is there and is no folder"
                    )
                path.mkdir()
                made.append(path)
        yield
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # no longer empty: another publisher came in
                path.rmdir()
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one publisher in at a time; the kernel lets go of the lock when a process dies.

    :param folder: the model's; it exists.
    :raises RepositoryError: if another holds the lock.
    """
    if sys.platform == "win32":
        yield  # the final rename still fails where another publisher took the number
        return
    import fcntl

    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before may have removed the file between our opening and our locking it.
            if os.fstat(descriptor).st_ino != path.stat().st_ino:
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError) as error:
            raise RepositoryError(
                f"another process publishes to {folder} at this moment; try again when it is done"
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
