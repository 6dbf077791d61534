"""The bundle: a folder with all that a prediction needs, written whole and checked on loading."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from ov_emotions.errors import (
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleSchemaError,
    InputError,
)
from ov_emotions.files import atomic_folder, sha256_file
from ov_emotions.manifest import (
    CARD_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    REQUIRED_FILES,
    SCHEMA_VERSION,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    Manifest,
    TrainingSource,
)
from ov_emotions.model_card import render_card
from ov_emotions.normalize import build_normalizer

if TYPE_CHECKING:
    import openvino as ov

__all__ = [
    "BUNDLE_FILES",
    "CARD_NAME",
    "DEFAULT_MODEL",
    "MANIFEST_NAME",
    "MODEL_NAME",
    "SCHEMA_VERSION",
    "SHIPPED",
    "TOKENIZER_NAME",
    "WEIGHTS_NAME",
    "Bundle",
    "Manifest",
    "TrainingSource",
    "model_info",
    "resolve",
    "shipped",
    "stamp",
    "write_bundle",
]

_LOGGER = logging.getLogger(__name__)

DEFAULT_MODEL = "emotions-ru-small"
SHIPPED = ("emotions-ru-small", "emotions-ru-tiny")

BUNDLE_FILES = (MANIFEST_NAME, MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME, CARD_NAME)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Bundle:
    """A model folder whose manifest and files were found to be what they should be.

    :param folder: where it lies.
    :param manifest: its facts.
    """

    folder: Path
    manifest: Manifest

    @staticmethod
    def load(source: str | os.PathLike[str], *, revision: str | None = None) -> Bundle:
        """Find a bundle and check every file's hash.

        :param source: what `resolve` takes: a shipped name, a folder or a Hub id.
        :param revision: branch, tag or commit, for a Hub id.
        :return: the bundle.
        :raises BundleNotFoundError: if there is no such model.
        :raises BundleSchemaError: if the manifest is malformed or too new.
        :raises BundleIntegrityError: if a file is missing, truncated or altered.
        """
        folder = resolve(source, revision=revision)
        manifest = _read_manifest(folder)
        for name in REQUIRED_FILES:
            if name not in manifest.files:
                raise BundleSchemaError(f"{folder / MANIFEST_NAME}: files has no hash of {name}")
        for name, digest in manifest.files.items():
            _check_file(folder / name, digest)
        return Bundle(folder, manifest)

    @property
    def model_path(self) -> Path:
        """The IR's model.xml, with model.bin beside it."""
        return self.folder / MODEL_NAME

    def tokenizer(self) -> Tokenizer:
        """Read the tokeniser, its normaliser inside.

        :return: a new object at every call, so that settings made on it stay with the caller.
        :raises BundleIntegrityError: if the tokenizers library cannot read it.
        """
        path = self.folder / TOKENIZER_NAME
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise BundleIntegrityError(
                f"{path} is not a tokeniser that the installed tokenizers library reads: {error}"
            ) from error

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Copy the bundle; a crash leaves the old folder or none.

        :param folder: a new folder, an empty one, or an older bundle, which is replaced.
        :raises BundleError: if the folder holds other things or cannot be written.
        """
        target = _replaceable(folder)
        try:
            with atomic_folder(target) as temporary:
                for name in (MANIFEST_NAME, *self.manifest.files):
                    shutil.copyfile(self.folder / name, temporary / name)
        except OSError as error:
            raise BundleError(f"cannot write the bundle to {target}: {error}") from error


def shipped(name: str = DEFAULT_MODEL) -> Path:
    """Locate a model that is installed with the package.

    :param name: one of `SHIPPED`.
    :return: its folder.
    :raises BundleNotFoundError: if no model of that name is installed.
    """
    folder = Path(__file__).parent / "models" / name
    if name not in SHIPPED or not folder.is_dir():
        raise BundleNotFoundError(
            f"no model {name!r} is installed with ov_emotions (it ships {', '.join(SHIPPED)}); "
            "reinstall the package, or give a bundle's folder"
        )
    return folder


def resolve(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    files: Sequence[str] = BUNDLE_FILES,
) -> Path:
    """Find the folder that a name means.

    A shipped name wins over a folder of that name (write `./name` for the folder), and a folder
    over a Hub id. Only a Hub id needs the network, once; afterwards its files are cached.

    :param source: a shipped name, a folder, or a Hub id such as `owner/model`.
    :param revision: branch, tag or commit, for a Hub id.
    :param files: names of the files that are fetched from the Hub, as far as they are there.
    :return: an existing folder, whose content is not yet checked.
    :raises BundleNotFoundError: if there is no such thing.
    :raises InputError: if `source` is not a path or a text.
    """
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise InputError(
            f"a model is given by name, folder or Hub id, not by a {type(source).__name__}"
        )
    if source in SHIPPED:
        return shipped(str(source))
    path = Path(source)
    if str(source) and _exists(path):
        if path.is_dir():
            return path
        raise BundleNotFoundError(f"{path} is a file; give the folder of the bundle")
    if isinstance(source, str) and _HUB_ID.fullmatch(source):
        return _download(source, revision, files)
    raise BundleNotFoundError(
        f"there is no folder {str(source)[:200]!r}; give a bundle's folder, a Hub id "
        f"(owner/model) or one of {', '.join(SHIPPED)}"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a path: a text in the place of a model
        return False


def _download(hub_id: str, revision: str | None, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download  # here, because only a Hub id needs it

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # its HTTP client's errors have no common base
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BundleNotFoundError(
            f"there is no folder {hub_id!r}, and the Hub did not give a model of that id: {reason}"
        ) from error


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if (folder / "checkpoint.json").is_file():
            raise BundleIntegrityError(
                f"{folder} is a training checkpoint, not a bundle; run `ov-emotions export` on it"
            ) from None
        raise BundleIntegrityError(
            f"{MANIFEST_NAME} is missing from {folder}, so it is no bundle"
        ) from None
    except UnicodeDecodeError as error:
        raise BundleSchemaError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise BundleIntegrityError(f"{path} cannot be read: {error}") from error
    return Manifest.from_json(text, str(path))


def _check_file(path: Path, digest: str) -> None:
    if not path.is_file():
        raise BundleIntegrityError(
            f"{path} is missing, though the manifest lists it; get the model again"
        )
    try:
        if sha256_file(path) == digest:
            return
        with path.open("rb") as file:
            pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError as error:
        raise BundleIntegrityError(f"{path} cannot be read: {error}") from error
    if pointer:
        raise BundleIntegrityError(f"{path} is a Git LFS pointer; run `git lfs pull` for the file")
    raise BundleIntegrityError(
        f"{path} is truncated or altered: its SHA-256 is not the manifest's; get the model again"
    )


def _replaceable(folder: str | os.PathLike[str]) -> Path:
    # Writing replaces the folder as a whole: what is not ours must not vanish with it.
    path = Path(folder).absolute()
    if path.is_dir():
        foreign = sorted(p.name for p in path.iterdir() if p.name not in BUNDLE_FILES)
        if foreign:
            raise BundleError(
                f"{path} holds {foreign[0]!r}, which is no file of a bundle; "
                "give a new or empty folder"
            )
    elif path.exists():
        raise BundleError(f"{path} is a file; give a folder to write the bundle to")
    return path


def model_info(manifest: Manifest) -> dict[str, Any]:
    """Give the facts that servers show of a model and that clients check.

    :param manifest: the facts.
    :return: plain values by key.
    """
    return {
        "model_type": "emotions",
        "name": manifest.name,
        "labels": list(manifest.labels),
        "label_names_ru": dict(manifest.label_names_ru),
        "thresholds": dict(manifest.thresholds),
        "normalizer": manifest.normalizer,
        "max_length": manifest.max_length,
        "precision": manifest.precision,
        "inference_precision": manifest.inference_precision,
        "base_model": manifest.base_model,
        "licence": manifest.licence,
        "schema_version": manifest.schema_version,
    }


def stamp(model: ov.Model, manifest: Manifest) -> None:
    """Write the facts into rt_info.model_info, where Model Server and clients read them.

    :param model: changed in place; every value is a text, JSON where it is a list or a mapping.
    :param manifest: the facts.
    """
    for key, fact in model_info(manifest).items():
        text = fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
        model.set_rt_info(text, ["model_info", key])


def _normalizer_json(tokenizer: Tokenizer) -> Any:
    return json.loads(tokenizer.to_str())["normalizer"]


def _check_tokenizer(tokenizer_json: str, manifest: Manifest) -> None:
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise BundleSchemaError(f"the text given as {TOKENIZER_NAME} is none: {error}") from error
    found = _normalizer_json(tokenizer)
    tokenizer.normalizer = build_normalizer()
    if found != _normalizer_json(tokenizer):
        raise BundleSchemaError(
            f"the normaliser inside {TOKENIZER_NAME} is not {manifest.normalizer}; "
            "train from a base that was prepared with this library"
        )


def write_bundle(folder: Path, manifest: Manifest, model: ov.Model, tokenizer_json: str) -> Bundle:
    """Write a bundle whole: model, tokeniser, card and the manifest with their hashes.

    :param folder: a new folder, an empty one, or an older bundle, which is replaced.
    :param manifest: the facts; its `files` are filled in.
    :param model: inputs `input_ids` and `attention_mask`, output `logits`; gets its facts stamped.
    :param tokenizer_json: the tokeniser with the current normaliser inside.
    :return: the bundle as written.
    :raises BundleSchemaError: if the manifest or the tokeniser would not load again.
    :raises BundleError: if the folder holds other things or cannot be written.
    """
    import openvino as ov

    target = _replaceable(folder)
    Manifest.from_json(manifest.to_json(), f"the manifest of {manifest.name!r}")
    _check_tokenizer(tokenizer_json, manifest)
    stamp(model, manifest)
    try:
        with atomic_folder(target) as temporary:
            ov.save_model(
                model, temporary / MODEL_NAME, compress_to_fp16=manifest.precision == "fp16"
            )
            (temporary / TOKENIZER_NAME).write_text(tokenizer_json, encoding="utf-8")
            (temporary / CARD_NAME).write_text(render_card(manifest), encoding="utf-8")
            files: Mapping[str, str] = {
                name: sha256_file(temporary / name)
                for name in (MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME, CARD_NAME)
            }
            manifest = replace(manifest, files=files)
            (temporary / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write the bundle to {target}: {error}") from error
    _LOGGER.debug("wrote %s to %s", manifest.name, target)
    return Bundle(target, manifest)
