"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def _folder_in_work(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path` and lock it: the kernel lets go when we are killed."""
    while True:
        temporary = _sibling(path)
        temporary.mkdir()
        descriptor = _lock(temporary, wait=True)
        if temporary.is_dir():  # else another writer cleared it before it was locked
            break
        _unlock(descriptor)
    try:
        yield temporary
    finally:
        _unlock(descriptor)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder; None where it is held, gone, or the system has no such locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def folder_lock(path: Path) -> Iterator[bool]:
    """Hold a folder for the length of a block; the kernel lets go when the process is killed.

    :param path: the folder.
    :return: yields False if another process holds it; where the system has no such locks, True.
    """
    descriptor = _lock(path, wait=False)
    try:
        yield descriptor is not None or sys.platform == "win32"
    finally:
        _unlock(descriptor)


def _clear_abandoned(path: Path) -> None:
    """Remove the temporary folders of writers of `path` that were killed."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    for left in path.parent.iterdir():
        if ours.fullmatch(left.name) and left.is_dir():
            descriptor = _lock(left, wait=False)
            if descriptor is not None:
                shutil.rmtree(left, ignore_errors=True)
            _unlock(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an error.

    A crash leaves the old file, or none; never half of the new one.

    :param path: where the file shall be; its folder is made if need be.
    :return: yields the path to write to, in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that replaces `path` when the block ends without an error.

    A process that is killed leaves its temporary folder behind; the next one that replaces `path`
    removes it, once its own folder stands: until then the other may be the only whole one.

    :param path: where the folder shall be; what stood there is replaced as a whole.
    :return: yields the folder to fill.
    :raises NotADirectoryError: if a file stands there.
    """
    path = path.resolve()  # a link stays, and what it leads to is replaced
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    old = _sibling(path)
    with _folder_in_work(path) as temporary:
        try:
            yield temporary
            if path.exists():
                path.replace(old)
            try:
                temporary.replace(path)
            except OSError:
                if old.exists():
                    old.replace(path)
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    _clear_abandoned(path)


def best_inside(folder: Path) -> str:
    """Point to the checkpoint in a run's folder, where the folder itself was named.

    :param folder: what was named and is not what it should be.
    :return: the end of a sentence; empty where it is no run's folder.
    """
    best = folder / "best"
    return f"; did you mean {best}?" if best.is_dir() else ""


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    :param path: the file.
    :param text: its content.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically, with a final newline.

    :param path: the file.
    :param value: what `json.dumps` takes.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256_file(path: Path) -> str:
    """Hash a file.

    :param path: the file.
    :return: its SHA-256 in lower-case hexadecimal.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
