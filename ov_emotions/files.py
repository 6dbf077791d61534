"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ov_emotions.errors import BundleError

_NAME_BYTES = 255


def _stem(path: Path) -> str:
    """Return what the names of a path's temporary siblings begin with."""
    stem = f".{path.name}."
    if len(os.fsencode(stem)) + len("01234567.tmp") > _NAME_BYTES:
        stem = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:24]}."
    return stem


def _sibling(path: Path) -> Path:
    return path.with_name(f"{_stem(path)}{secrets.token_hex(4)}.tmp")


def _lock(path: Path, *, wait: bool) -> int | None:
    """Lock a folder or file; None where it is held, gone, or the system has no such locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY)
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
    """Hold a folder, or a file, for the length of a block; a killed process lets go of it.

    Yields False if another process holds it; where the system has no such locks, True.
    """
    descriptor = _lock(path, wait=False)
    try:
        yield descriptor is not None or sys.platform == "win32"
    finally:
        _unlock(descriptor)


@contextmanager
def _in_work(path: Path, *, folder: bool) -> Iterator[Path]:
    """Make a temporary sibling and lock it, so that it is known when its writer was killed."""
    while True:
        temporary = _sibling(path)
        temporary.mkdir() if folder else temporary.touch(exist_ok=False)
        descriptor = _lock(temporary, wait=True)
        if temporary.exists():  # else another writer cleared it before it was locked
            break
        _unlock(descriptor)
    try:
        yield temporary
    finally:
        _unlock(descriptor)


def _clear_abandoned(path: Path) -> None:
    """Remove what writers of `path` that were killed left beside it."""
    ours = re.compile(rf"{re.escape(_stem(path))}[0-9a-f]{{8}}\.tmp")
    for left in path.parent.iterdir():
        if ours.fullmatch(left.name):
            descriptor = _lock(left, wait=False)
            if descriptor is None:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with suppress(OSError):
                    left.unlink()
            os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an error.

    A crash leaves the old file, or none; never half of the new one. A process that is killed leaves
    its temporary file behind; the next one that writes `path` removes it. The folder is made if
    need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _in_work(path, folder=False) as temporary:
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    _clear_abandoned(path)


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that comes to be when the block ends without an error.

    Where the system can, it has no name until then, so that not even a killed process leaves
    anything. A device or a pipe is written to as it is, and a link stays.
    """
    if path.exists() and not path.is_file():
        with _written(path.open("wb")) as file:
            yield file
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        path.lstat()  # a name that no file can have is told now
    descriptor = _unnamed(path.parent)
    if descriptor is None:
        with atomic_path(path) as temporary, _written(temporary.open("wb")) as file:
            yield file
        return
    with _written(os.fdopen(descriptor, "wb")) as file:
        yield file
        file.flush()
        temporary = _sibling(path)
        _name(descriptor, temporary)
        temporary.replace(path)


@contextmanager
def _written(file: BinaryIO) -> Iterator[BinaryIO]:
    """Close a file after the block, whose own error counts where both fail."""
    with file:
        try:
            yield file
        except BaseException:
            with suppress(OSError):  # there is no more room for the rest than before
                file.close()
            raise


def _unnamed(folder: Path) -> int | None:
    """Open a new file without a name; None where that cannot be, or it could not be named later."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, flag | os.O_RDWR, 0o666)
    except OSError:
        return None


def _name(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # With a folder, because without one Python asks for a link that does not follow /proc's.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that replaces `path` as a whole when the block ends without an error.

    A process that is killed leaves its temporary folder behind; the next one that replaces `path`
    removes it, once its own folder stands: until then the other may be the only whole one.

    :raises NotADirectoryError: if a file stands there.
    """
    path = path.resolve()  # a link stays, and what it leads to is replaced
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    old = _sibling(path)
    with _in_work(path, folder=True) as temporary:
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


def replaceable(folder: str | os.PathLike[str], ours: Collection[str], what: str) -> Path:
    """Say where a folder is written that replaces an older one as a whole.

    :param ours: names of the files that may vanish with it.
    :param what: they make up.
    :raises BundleError: if it is a file, or holds anything else.
    """
    path = Path(folder).absolute()
    if path.is_dir():
        foreign = sorted(p.name for p in path.iterdir() if p.name not in ours)
        if foreign:
            raise BundleError(
                f"{path} holds {foreign[0]!r}, which is no file of {what}; give a new or empty "
                "folder"
            )
    elif path.exists():
        raise BundleError(f"{path} is a file; give a folder to write {what} to")
    return path


def best_inside(folder: Path) -> str:
    """End a sentence about a wrong folder: point to the checkpoint if it is a run's folder."""
    best = folder / "best"
    return f"; did you mean {best}?" if best.is_dir() else ""


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Return a file's SHA-256 in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
