"""Model repositories: versions that appear whole, are numbered upward, and vanish whole.

A repository is what OpenVINO Model Server serves from: `REPOSITORY/NAME/VERSION/model.xml|bin`. The
server polls it, and would load half a version too; so a version is written into a hidden folder
beside its place, which the server passes over, and renamed when every byte is on the disk.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions.errors import InputError, RepositoryError
from ov_emotions.files import sha256_file
from ov_emotions.serving.publishing import (
    DEFAULT_NAME,
    MODEL_NAME,
    VERSION,
    clear_leftovers,
    folder_of,
    hidden_folder,
    locked,
    next_version,
)

if TYPE_CHECKING:
    import openvino as ov

_LOGGER = logging.getLogger(__name__)

MODEL_FILES = ("model.xml", "model.bin")


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
    pruned: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "folder": str(self.folder),
            "version": self.version,
            "changed": self.changed,
            "pruned": list(self.pruned),
        }


def publish(
    model: ov.Model,
    repository: str | os.PathLike[str],
    name: str = DEFAULT_NAME,
    *,
    keep: int | None = None,
) -> Published:
    """Publish a model as the next version.

    Nothing changes, and nothing is removed, if the newest version is the same byte for byte.
    A crash leaves no half version; what it leaves hidden, the next publication clears away.

    :param model: what to serve.
    :param repository: the server's repository; made if need be.
    :param name: of the model: letters, digits, dot, dash and underscore.
    :param keep: versions to keep, this one included; older ones are removed after a version was
        added. None keeps all, so that any can be served again.
    :return: what was done.
    :raises InputError: if `name` or `keep` is none.
    :raises RepositoryError: if the repository holds what is no version, has a newest version with
        other inputs or outputs, is being published to by another process, or cannot be written;
        it is left as it was.
    """
    if not MODEL_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a model: use up to 100 letters, digits, dots, dashes and "
            "underscores, the first a letter or digit"
        )
    if keep is not None and (not isinstance(keep, int) or isinstance(keep, bool) or keep < 1):
        raise InputError(f"keep must be a whole number of at least 1, not {keep!r}")
    folder = Path(repository) / name
    try:
        with folder_of(folder), locked(folder):
            return _publish(model, folder, keep)
    except OSError as error:
        raise RepositoryError(
            f"cannot publish to {folder}: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else "")
        ) from error


def read_versions(folder: Path) -> list[int]:
    """List the versions of a model, after a look at each.

    :param folder: the model's folder in a repository.
    :return: ascending.
    :raises RepositoryError: if something in it is no version, or a version is not exactly one pair
        of .xml and .bin.
    """
    versions = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir() or not VERSION.fullmatch(path.name):
            raise RepositoryError(
                f"{folder} holds {path.name!r}, which is no version folder (1, 2, ...); move it "
                "away, or publish under another name"
            )
        _check_pair(path)
        versions.append(int(path.name))
    return sorted(versions)


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


def _publish(model: ov.Model, folder: Path, keep: int | None) -> Published:
    versions = read_versions(folder)
    clear_leftovers(folder)
    newest = folder / str(versions[-1]) if versions else None
    if newest is not None:
        _check_signature(model, newest)
    version = next_version(versions, folder)
    temporary = hidden_folder(folder, version)
    temporary.mkdir()
    try:
        _write(model, temporary)
        if newest is not None and _hashes(newest) == _hashes(temporary):
            return Published(newest, versions[-1], changed=False, pruned=())
        target = folder / str(version)
        temporary.rename(target)
        _sync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _LOGGER.info("published %s", target)
    old = versions[: max(len(versions) + 1 - keep, 0)] if keep is not None else []
    for number in old:
        _remove(folder / str(number))
    return Published(target, version, changed=True, pruned=tuple(old))


def _write(model: ov.Model, folder: Path) -> None:
    import openvino as ov

    from ov_emotions.serving.text_nodes import string_core

    path = folder / MODEL_FILES[0]
    try:
        ov.save_model(model, path, compress_to_fp16=False)
        # What a full disk cuts off, the writer does not notice; the reader does.
        string_core().read_model(path)
    except RuntimeError as error:
        raise RepositoryError(
            f"the model could not be written whole to {folder.parent}; is there room on the disk?"
        ) from error
    for name in MODEL_FILES:
        _sync(folder / name)
    _sync(folder)


def _sync(path: Path) -> None:
    """Have a file or folder on the disk before what comes next."""
    if sys.platform == "win32":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hashes(folder: Path) -> list[str] | None:
    if not all((folder / name).is_file() for name in MODEL_FILES):
        return None
    return [sha256_file(folder / name) for name in MODEL_FILES]


def _check_signature(model: ov.Model, newest: Path) -> None:
    """Refuse what every client of the newest version would break on."""
    from ov_emotions.serving.text_nodes import string_core

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


def _remove(path: Path) -> None:
    # Out of the server's sight first: it shall see a version whole or not at all.
    hidden = hidden_folder(path.parent, int(path.name))
    path.rename(hidden)
    shutil.rmtree(hidden)
