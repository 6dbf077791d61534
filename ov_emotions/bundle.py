"""The bundle: a folder with all that a prediction needs, written whole and checked on loading."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokenizers import Tokenizer

from ov_emotions.errors import (
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleSchemaError,
    InputError,
    first_line,
)
from ov_emotions.files import atomic_folder, best_inside, replaceable, sha256_file
from ov_emotions.manifest import (
    BUNDLE_FILES,
    CARD_NAME,
    HUB_ID,
    MANIFEST_NAME,
    MODEL_NAME,
    REQUIRED_FILES,
    TOKENIZER_NAME,
    Manifest,
    stamp,
)
from ov_emotions.normalize import NO_NORMALIZER, build_normalizer
from ov_emotions.schema import DEFAULT_MODEL
from ov_emotions.system import shared_core

if TYPE_CHECKING:
    import openvino as ov

_LOGGER = logging.getLogger(__name__)

SHIPPED = (DEFAULT_MODEL, "emotions-ru-tiny")

_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Bundle:
    """A model folder whose manifest and files were found to be what they should be.

    :param folder: where it lies.
    :param manifest: its facts.
    :param known_as: a shipped name, or a Hub id and its revision; None for a folder.
    """

    folder: Path
    manifest: Manifest
    known_as: tuple[str, str | None] | None = field(default=None, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it for another process, which may run on another machine."""
        return _bundle_again, (self.folder, self.manifest, self.known_as)

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
        named = str(source) in SHIPPED or not _exists(Path(source))
        return Bundle(folder, manifest, (str(source), revision) if named else None)

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

    def write_changed(
        self, folder: Path, manifest: Manifest, model: ov.Model | None = None
    ) -> Bundle:
        """Write it with other facts, and with another model if one is given.

        :raises BundleError: as `write_bundle`.
        """
        if model is None:
            model = shared_core().read_model(self.model_path)
        return write_bundle(folder, manifest, model, self.tokenizer().to_str())

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Copy the bundle; a crash leaves the old folder or none.

        :param folder: a new folder, an empty one, or an older bundle, which is replaced.
        :raises BundleError: if the folder holds other things or cannot be written.
        """
        target = replaceable(folder, BUNDLE_FILES, "a bundle")
        try:
            with atomic_folder(target) as temporary:
                for name in (MANIFEST_NAME, *self.manifest.files):
                    shutil.copyfile(self.folder / name, temporary / name)
        except OSError as error:
            raise BundleError(f"cannot write the bundle to {target}: {error}") from error

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, layout: Literal["bundle", "optimum"] = "bundle"
    ) -> None:
        """Write the model to a folder, for this library or for others.

        :param folder: a new folder, an empty one, or an older one of the layout, which is replaced.
        :param layout: `bundle` copies it; `optimum` writes what optimum-intel's
            `OVModelForSequenceClassification` and transformers' pipelines read.
        :raises BundleError: if the folder holds other things or cannot be written.
        :raises InputError: if there is no such layout.
        """
        if layout == "bundle":
            self.save(folder)
        elif layout == "optimum":
            from ov_emotions.hub import save_optimum

            save_optimum(self.folder, self.manifest, self.tokenizer(), Path(folder))
        else:
            raise InputError(f"layout must be bundle or optimum, not {layout!r}")

    def push_to_hub(
        self,
        repository: str,
        *,
        layout: Literal["bundle", "optimum"] = "bundle",
        private: bool = False,
        token: str | None = None,
    ) -> str:
        """Upload the model to the Hub, with its card.

        :param repository: `owner/model`; made if it is not there.
        :param layout: as for `save_pretrained`.
        :param private: of a repository that is made.
        :param token: of the Hub; None takes the one that is logged in.
        :return: the address of the commit.
        :raises BundleError: if the Hub refuses or is not reached.
        """
        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            self.save_pretrained(folder, layout=layout)
            api = HfApi(token=token)
            try:
                api.create_repo(repository, private=private, exist_ok=True)
                done = api.upload_folder(repo_id=repository, folder_path=folder)
            except Exception as error:  # its HTTP client's errors have no common base
                raise BundleError(
                    f"the Hub did not take {repository}: {first_line(error)}"
                ) from error
        return str(done)


def _bundle_again(
    folder: Path, manifest: Manifest, known_as: tuple[str, str | None] | None
) -> Bundle:
    if known_as is None or folder.is_dir():
        return Bundle(folder, manifest, known_as)
    return Bundle.load(known_as[0], revision=known_as[1])


def shipped(name: str = DEFAULT_MODEL) -> Path:
    """Locate a model that is installed with the package; `name` is one of `SHIPPED`.

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
            return path.absolute()  # the working directory may be another one later
        raise BundleNotFoundError(f"{path} is a file; give the folder of the bundle")
    if not (isinstance(source, str) and HUB_ID.fullmatch(source)):
        raise BundleNotFoundError(
            f"there is no folder {str(source)[:200]!r}; give a bundle's folder, a Hub id "
            f"(owner/model) or one of {', '.join(SHIPPED)}"
        )
    from huggingface_hub import snapshot_download  # here, because only a Hub id needs it

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # its HTTP client's errors have no common base
        raise BundleNotFoundError(
            f"there is no folder {source!r}, and the Hub did not give a model of that id: "
            f"{first_line(error)}"
        ) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a path: a text in the place of a model
        return False


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
            f"{MANIFEST_NAME} is missing from {folder}, so it is no bundle{best_inside(folder)}"
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


def _normalizer_json(tokenizer: Tokenizer) -> Any:
    return json.loads(tokenizer.to_str())["normalizer"]


def _check_tokenizer(tokenizer_json: str, manifest: Manifest) -> None:
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise BundleSchemaError(f"the text given as {TOKENIZER_NAME} is none: {error}") from error
    if manifest.normalizer == NO_NORMALIZER:
        return
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
    :raises BundleSchemaError: if the manifest or the tokeniser would not load again.
    :raises BundleError: if the folder holds other things or cannot be written.
    """
    import openvino as ov

    from ov_emotions.hub import render_card  # only who writes needs it

    target = replaceable(folder, BUNDLE_FILES, "a bundle")
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
            files = {name: sha256_file(temporary / name) for name in BUNDLE_FILES[1:]}
            manifest = manifest.replace(files=files)
            (temporary / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write the bundle to {target}: {error}") from error
    _LOGGER.debug("wrote %s to %s", manifest.name, target)
    return Bundle(target, manifest)
