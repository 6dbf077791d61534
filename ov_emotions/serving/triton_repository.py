"""Triton's model repository: a version appears whole, beside a config.pbtxt that describes it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ov_emotions.bundle import MODEL_NAME, Bundle
from ov_emotions.errors import BundleError, BundleIntegrityError, RepositoryError
from ov_emotions.files import sha256_file, write_text
from ov_emotions.serving.publishing import (
    VERSION,
    clear_leftovers,
    folder_of,
    hidden_folder,
    locked,
    next_version,
)
from ov_emotions.serving.triton import TritonConfig, label_names, render_config
from ov_emotions.serving.triton_model import BUNDLE_FOLDER

CONFIG_NAME = "config.pbtxt"
MODEL_PY = '''\
"""Triton's Python backend looks for TritonPythonModel here."""

from ov_emotions.serving.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

_TAKES = re.compile(r'key: "input", value: \{ string_value: "(\w+)" \}')


@dataclass(frozen=True)
class TritonModel:
    """What became of a publication.

    :param folder: of the version that holds the model.
    :param version: its number.
    :param changed: false if the newest version was this very model already.
    """

    folder: Path
    version: int
    changed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"folder": str(self.folder), "version": self.version, "changed": self.changed}


def build_repository(
    bundle: Bundle, repository: str | os.PathLike[str], config: TritonConfig | None = None
) -> TritonModel:
    """Publish a bundle as the next version of a model; the same once more changes nothing.

    The version is written hidden and renamed. config.pbtxt, which holds the facts of the newest
    version only, is replaced just before: to go back to an older bundle, publish that bundle again.

    :param bundle: to serve.
    :param repository: Triton's model repository; made if need be.
    :param config: how to serve it.
    :return: where the model lies.
    :raises RepositoryError: if the model's folder holds what is not ours, another process publishes
        there, or it cannot be written.
    :raises InputError: if a label's name contains the separator.
    :raises BundleError: if the bundle's model is of another kind.
    """
    config = config or TritonConfig()
    label_names(bundle, config)
    folder = Path(repository) / config.name
    try:
        with folder_of(folder), locked(folder):
            return _publish(bundle, folder, config)
    except OSError as error:
        raise RepositoryError(
            f"cannot publish to {folder}: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else "")
        ) from error


def _publish(bundle: Bundle, folder: Path, config: TritonConfig) -> TritonModel:
    versions = _read_versions(folder, config)
    clear_leftovers(folder)
    text = render_config(bundle, config)
    version = next_version(versions, folder)
    target = folder / str(version)
    temporary = hidden_folder(folder, version)
    temporary.mkdir()
    try:
        _fill(bundle, temporary, config)
        if versions and _same(folder, folder / str(versions[-1]), temporary, text):
            return TritonModel(folder / str(versions[-1]), versions[-1], changed=False)
        write_text(folder / CONFIG_NAME, text)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return TritonModel(target, version, changed=True)


def _read_versions(folder: Path, config: TritonConfig) -> list[int]:
    versions = []
    for path in folder.iterdir():
        if path.is_dir() and VERSION.fullmatch(path.name):
            versions.append(int(path.name))
        elif path.name != CONFIG_NAME and not path.name.startswith("."):
            raise RepositoryError(
                f"{folder} holds {path.name!r}, which is neither {CONFIG_NAME} nor a version "
                "folder (1, 2, ...); move it away, or publish under another name"
            )
    described = folder / CONFIG_NAME
    told = _read(described) if described.is_file() else None
    if told is not None and f'backend: "{config.backend}"' not in told:
        raise RepositoryError(
            f"{described} is not of a model for the {config.backend} backend: clients would "
            "break; publish under another name"
        )
    takes = None if told is None else _TAKES.search(told)
    if takes is not None and takes[1] != config.takes:
        raise RepositoryError(
            f"{described} is of a model that takes {takes[1]}, not {config.takes}: clients would "
            "break; publish under another name"
        )
    return sorted(versions)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{path} is not UTF-8 text; move it away") from error


def _fill(bundle: Bundle, folder: Path, config: TritonConfig) -> None:
    if config.backend == "openvino":
        _save_token_model(bundle, folder)
        return
    (folder / "model.py").write_text(MODEL_PY, encoding="utf-8")
    try:
        bundle.save(folder / BUNDLE_FOLDER)
    except BundleError as error:
        raise RepositoryError(str(error)) from error


def _save_token_model(bundle: Bundle, folder: Path) -> None:
    """Write the bundle's IR with a sigmoid behind it; its tokeniser stays with the caller."""
    import openvino as ov
    import openvino.opset13 as ops

    from ov_emotions.bundle import stamp
    from ov_emotions.system import shared_core

    try:
        model = shared_core().read_model(bundle.model_path)
        logits = model.output("logits").get_node().input_value(0)
    except RuntimeError as error:
        raise BundleIntegrityError(
            f"{bundle.model_path} is not a bundle's model that OpenVINO reads: {error}"
        ) from error
    probabilities = ops.sigmoid(logits)
    probabilities.output(0).set_names({"probabilities"})
    probabilities.set_friendly_name("probabilities")
    served = ov.Model([ops.result(probabilities)], model.get_parameters(), bundle.manifest.name)
    stamp(served, bundle.manifest)
    ov.save_model(served, folder / MODEL_NAME, compress_to_fp16=False)


def _same(folder: Path, newest: Path, candidate: Path, config: str) -> bool:
    described = folder / CONFIG_NAME
    if not described.is_file() or _read(described) != config:
        return False
    return _hashes(newest) == _hashes(candidate)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
