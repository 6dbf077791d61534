"""Model repositories: versions that appear whole, are numbered upward, and vanish whole.

OpenVINO Model Server and Triton both serve `REPOSITORY/NAME/VERSION/`. They poll it, and would
load half a version too; so a version is written into a hidden folder beside its place, which
servers pass over, and renamed when every byte is on the disk. One publisher works on a model at a
time; a failure leaves nothing behind, and what a crash leaves hidden, the next publication clears
away.

`publish_version` does that for any server; `publish` (Model Server) and `triton.build_repository`
say what a version holds.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions.errors import InputError, RepositoryError
from ov_emotions.files import folder_lock, sha256_file, write_text
from ov_emotions.schema import check_count, to_builtins

if TYPE_CHECKING:
    import openvino as ov

_LOGGER = logging.getLogger(__name__)

DEFAULT_NAME = "emotions"
"""What a model is called where nobody says."""

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
"""What can name a model."""

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_LEFT_OVER = re.compile(r"\.[0-9]+\.[0-9a-f]{8}\.tmp")


@dataclass(frozen=True)
class Published:
    """What became of a publication.

    :param folder: of the version that holds the model.
    :param version: its number.
    :param changed: false if the newest version was this very model already.
    :param pruned: versions that were removed, the oldest first.
    """

    folder: Path
    version: int
    changed: bool
    pruned: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = to_builtins(self)
        return values | {"pruned": list(self.pruned)}


@dataclass(frozen=True)
class Layout:
    """What a server wants of a model's folder.

    :param write: fills a version's folder.
    :param refuse: raises where clients of the newest version would break; None stands for a first
        publication.
    :param check: raises for a version that is none, given its folder.
    :param beside: text by name of what stands beside the versions and describes the newest; it is
        replaced just before a version appears.
    """

    write: Callable[[Path], None]
    refuse: Callable[[Path | None], None]
    check: Callable[[Path], None] = lambda _version: None
    beside: Mapping[str, str] = field(default_factory=dict)


def default_name(token_in: bool) -> str:
    """Choose what a model is called where nobody says."""
    return f"{DEFAULT_NAME}-tokens" if token_in else DEFAULT_NAME


def check_name(name: str) -> None:
    """Refuse what cannot name a model.

    :raises InputError: if it cannot be a folder and a part of a URL.
    """
    if not isinstance(name, str) or not MODEL_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a model: use up to 100 letters, digits, dots, dashes and "
            "underscores, the first a letter or digit"
        )


def publish_version(
    repository: str | os.PathLike[str], name: str, layout: Layout, *, keep: int | None = None
) -> Published:
    """Publish a model as the next version; the same once more changes nothing.

    :raises InputError: if `name` or `keep` is none.
    :raises RepositoryError: if the repository holds what is no version, has a newest version with
        which clients would break, is being published to by another process, or cannot be written;
        it is left as it was.
    """
    check_name(name)
    if keep is not None:
        check_count("keep", keep)
    folder = Path(repository) / name
    try:
        with _folder_of(folder), folder_lock(folder) as ours:
            if not ours:
                raise RepositoryError(
                    f"another process publishes to {folder} at this moment; try again when it is "
                    "done"
                )
            return _publish(folder, layout, keep)
    except OSError as error:
        raise RepositoryError(
            f"cannot publish to {folder}: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else "")
        ) from error


@contextmanager
def _folder_of(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; take back what was made if the block fails."""
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


def _publish(folder: Path, layout: Layout, keep: int | None) -> Published:
    versions = _versions(folder, layout)
    for path in folder.iterdir():
        if _LEFT_OVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
    newest = folder / str(versions[-1]) if versions else None
    layout.refuse(newest)
    version = versions[-1] + 1 if versions else 1
    if not _VERSION.fullmatch(str(version)):
        raise RepositoryError(
            f"{folder} holds version {versions[-1]}, above which there is no number: move it away, "
            "or publish under another name"
        )
    temporary, target = _hidden(folder, version), folder / str(version)
    temporary.mkdir()
    try:
        layout.write(temporary)
        for path in (*temporary.rglob("*"), temporary):
            _sync(path)
        beside = [(folder / name, text) for name, text in layout.beside.items()]
        told = all(read_text(path) == text for path, text in beside)
        if newest is not None and told and _hashes(newest) == _hashes(temporary):
            return Published(newest, versions[-1], changed=False)
        for path, text in beside:
            write_text(path, text)
        temporary.rename(target)
        _sync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _LOGGER.info("published %s", target)
    old = versions[: max(len(versions) + 1 - keep, 0)] if keep is not None else []
    for number in old:
        # Out of the server's sight first: it shall see a version whole or not at all.
        hidden = _hidden(folder, number)
        (folder / str(number)).rename(hidden)
        shutil.rmtree(hidden)
    return Published(target, version, changed=True, pruned=tuple(old))


def _versions(folder: Path, layout: Layout) -> list[int]:
    """List the versions of a model, after a look at each.

    :raises RepositoryError: if something in it is no version.
    """
    versions = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in layout.beside:
            continue
        if not path.is_dir() or not _VERSION.fullmatch(path.name):
            beside = f"neither {', '.join(layout.beside)} nor a" if layout.beside else "no"
            raise RepositoryError(
                f"{folder} holds {path.name!r}, which is {beside} version folder (1, 2, ...); move "
                "it away, or publish under another name"
            )
        layout.check(path)
        versions.append(int(path.name))
    return sorted(versions)


def read_text(path: Path) -> str | None:
    """Read what stands beside the versions; None where there is no such file.

    :raises RepositoryError: if it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{path} is not UTF-8 text; move it away") from error


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _hidden(folder: Path, version: int) -> Path:
    return folder / f".{version}.{secrets.token_hex(4)}.tmp"


def _sync(path: Path) -> None:
    """Have a file or folder on the disk before what comes next."""
    if sys.platform == "win32":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# OpenVINO Model Server


def publish(
    model: ov.Model,
    repository: str | os.PathLike[str],
    name: str = DEFAULT_NAME,
    *,
    keep: int | None = None,
) -> Published:
    """Publish a model for OpenVINO Model Server as the next version."""
    layout = Layout(partial(_write, model), partial(_check_signature, model), _check_pair)
    return publish_version(repository, name, layout, keep=keep)


def _check_pair(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    models = [name for name in names if name.endswith(".xml")]
    if len(models) > 1:
        raise RepositoryError(
            f"{folder} holds {len(models)} models ({', '.join(models)}), of which the server takes "
            "any; leave one"
        )
    if not models:
        raise RepositoryError(
            f"{folder} holds no .xml, so it is no version of an OpenVINO model; move it away"
        )
    weights = models[0].removesuffix(".xml") + ".bin"
    if [name for name in names if name.endswith(".bin")] != [weights]:
        raise RepositoryError(
            f"{folder} is not one pair of {models[0]} and {weights}; complete it or move it away"
        )


def _write(model: ov.Model, folder: Path) -> None:
    import openvino as ov

    from ov_emotions.serving.text_nodes import string_core

    path = folder / "model.xml"
    try:
        ov.save_model(model, path, compress_to_fp16=False)
        # What a full disk cuts off, the writer does not notice; the reader does.
        string_core().read_model(path)
    except RuntimeError as error:
        raise RepositoryError(
            f"the model could not be written whole to {folder.parent}; is there room on the disk?"
        ) from error


def _check_signature(model: ov.Model, newest: Path | None) -> None:
    """Refuse what every client of the newest version would break on."""
    from ov_emotions.serving.text_nodes import string_core

    if newest is None:
        return
    (path,) = newest.glob("*.xml")
    text = path.read_bytes()
    if b"<net" not in text[:4096] or not text.rstrip().endswith(b"</net>"):
        # Damaged; OpenVINO's readers of other formats would try it, and complain aloud.
        return
    try:
        there = _signature(string_core().read_model(path))
    except RuntimeError:
        return  # a damaged version shall not stand in the way of a whole one
    ours = _signature(model)
    if ours != there:
        raise RepositoryError(
            f"{newest} takes {there[0]} and gives {there[1]}, but the new model takes {ours[0]} "
            f"and gives {ours[1]}: clients would break; publish it under another name"
        )


def _signature(model: Any) -> tuple[str, str]:
    def ports(found: Any) -> str:
        return ", ".join(
            sorted(
                f"{port.get_any_name()} ({port.get_element_type().to_string()})" for port in found
            )
        )

    return ports(model.inputs), ports(model.outputs)
