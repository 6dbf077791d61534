"""The bundle: a folder with all that a prediction needs, written whole and checked on loading."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from msgspec import field
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ov_emotions.errors import (
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleSchemaError,
    InputError,
)
from ov_emotions.files import atomic_folder, best_inside, sha256_file
from ov_emotions.normalize import NO_NORMALIZER, NORMALIZER_VERSION, build_normalizer
from ov_emotions.schema import InferencePrecision as InferencePrecision
from ov_emotions.schema import Schema, from_builtins, to_builtins
from ov_emotions.schema import Task as Task

if TYPE_CHECKING:
    import openvino as ov

_LOGGER = logging.getLogger(__name__)

SCHEMA_VERSION = 1

MANIFEST_NAME = "emotions.json"
MODEL_NAME = "model.xml"
WEIGHTS_NAME = "model.bin"
TOKENIZER_NAME = "tokenizer.json"
CARD_NAME = "README.md"
REQUIRED_FILES = (MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME)
BUNDLE_FILES = (MANIFEST_NAME, MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME, CARD_NAME)

DEFAULT_MODEL = "emotions-ru-small"
SHIPPED = ("emotions-ru-small", "emotions-ru-tiny")

Precision = Literal["fp32", "fp16", "int8", "int4"]
INFERENCE_PRECISIONS: tuple[str, ...] = get_args(InferencePrecision)

MODEL_INPUTS = ("input_ids", "attention_mask")

_SELF_HASH = "manifest_sha256"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Names become paths: nothing may lead out of the folder.
_FILE_NAME = re.compile(r"(?!\.)[\w.\-]+")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")
_LFS_POINTER = b"version https://git-lfs"

# Facts that older manifests lack. They are written only where they say something else, so that a
# manifest which is written anew stays the same to the byte.
_LATER = {"task": "multi_label", "inputs": list(MODEL_INPUTS)}


class TrainingSource(Schema, frozen=True, kw_only=True):
    """One set that a model learned from, and how many of its rows."""

    name: str
    licence: str
    url: str
    attribution: str
    rows: int


class Manifest(Schema, frozen=True, kw_only=True):
    """The facts that belong to a model rather than to the code that calls it.

    :param task: `multi_label`: each label's probability is its own (a sigmoid), and those count
        that reach their thresholds. `single_label`: probabilities add up to 1 (a softmax), and the
        highest counts.
    :param labels: identifiers, in the order of the model's outputs.
    :param thresholds: per label the probability, in (0, 1), from which it counts as present. Those
        of a single-label model may be left out; with them, a text whose most probable label stays
        below its threshold has none.
    :param normalizer: version of the normaliser inside tokenizer.json; `none` if the model's own
        tokeniser does it all.
    :param inputs: of the IR, each int64, shape (texts, tokens): `input_ids`, `attention_mask` and,
        where the model has types of tokens, `token_type_ids`, all of which are 0.
    :param max_length: tokens of one window, special tokens included.
    :param precision: of the weights.
    :param inference_precision: the INFERENCE_PRECISION_HINT under which `metrics` were measured.
    :param base_model: the encoder that was fine-tuned, under `base_licence`.
    :param metrics: by precision, then by split: `rows`, `weighted_f1`, `macro_f1` and `labels`.
    :param provenance: versions, seed, commands, parity, quantization record.
    :param files: SHA-256 by file name; `write_bundle` fills it.
    """

    name: str
    task: Task = "multi_label"
    labels: tuple[str, ...]
    label_names_ru: Mapping[str, str]
    thresholds: Mapping[str, float]
    normalizer: str
    inputs: tuple[str, ...] = MODEL_INPUTS
    max_length: int
    precision: Precision
    inference_precision: InferencePrecision
    base_model: str
    base_licence: str
    licence: str
    training_data: tuple[TrainingSource, ...]
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def threshold_array(self) -> NDArray[np.float32]:
        """Return the thresholds in the order of the outputs; see `threshold_array`."""
        return threshold_array(self.labels, self.thresholds)

    def to_json(self) -> str:
        """Write the manifest as indented JSON, its own hash included.

        :raises BundleSchemaError: if metrics or provenance hold what JSON cannot.
        """
        try:
            # Through JSON once, so that the hash is of what a reader will parse.
            facts = json.loads(json.dumps(to_builtins(self), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise BundleSchemaError(
                f"the manifest of {self.name!r} holds a value that JSON cannot: {error}"
            ) from error
        facts = {key: value for key, value in facts.items() if _LATER.get(key) != value}
        facts[_SELF_HASH] = _hash_facts(facts)
        return json.dumps(facts, ensure_ascii=False, indent=2) + "\n"

    @staticmethod
    def from_json(text: str, where: str) -> Manifest:
        """Parse and check a manifest.

        :param where: the file's path, for messages.
        :raises BundleSchemaError: if it is malformed or newer than this library.
        :raises BundleIntegrityError: if it was altered after it was written.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleSchemaError(
                f"{where} is not valid JSON; it is truncated or not a manifest: {error}"
            ) from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise BundleSchemaError(
                f"{where}: schema_version is {version}, and this library reads up to "
                f"{SCHEMA_VERSION}: upgrade ov-emotions"
            )
        manifest = from_builtins(raw, Manifest, where, BundleSchemaError)
        if missing := [key for key in ("schema_version", "files") if key not in raw]:
            raise BundleSchemaError(f"{where}: {missing[0]} is missing")
        for key, problem in _problems(manifest):
            raise BundleSchemaError(f"{where}: {key} {problem}")
        if raw.get(_SELF_HASH) != _hash_facts(raw):
            raise BundleIntegrityError(
                f"{where} does not match its own {_SELF_HASH}: it was altered after it was "
                "written; get the model again (to change thresholds, pass them to the classifier)"
            )
        return manifest


def _hash_facts(raw: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in raw.items() if key != _SELF_HASH}
    # ASCII escapes, because a parsed string may hold a lone surrogate.
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def threshold_array(labels: Sequence[str], thresholds: Mapping[str, float]) -> NDArray[np.float32]:
    """Put thresholds in the order of labels: float32, shape (labels,); 0 where there is none."""
    return np.array([thresholds.get(label, 0.0) for label in labels], dtype=np.float32)


def is_threshold(value: object) -> bool:
    """Tell whether a value is a number that lies in (0, 1), as float32 too."""
    if not isinstance(value, int | float | np.floating) or isinstance(value, bool):
        return False
    # The decision is made in float32: a threshold that rounds to 0 would let everything pass.
    return bool(0 < value < 1 and 0 < np.float32(value) < 1)


def _problems(facts: Manifest) -> Iterable[tuple[str, str]]:
    """Yield the key and what is wrong with it, for all that the types do not say."""
    if facts.schema_version < 1:
        yield "schema_version", f"is {facts.schema_version}; it must be at least 1"
    if facts.normalizer not in (NORMALIZER_VERSION, NO_NORMALIZER):
        yield (
            "normalizer",
            f"is {facts.normalizer!r}, and this library knows {NORMALIZER_VERSION!r} and "
            f"{NO_NORMALIZER!r}: use the version of ov-emotions that the model was made with",
        )
    for key in ("name", "base_model", "base_licence", "licence"):
        if not getattr(facts, key).strip():
            yield key, "is blank"
    if not facts.labels or not all(label.strip() for label in facts.labels):
        yield "labels", "must be a list of at least one text, none of them blank"
    if len(set(facts.labels)) < len(facts.labels):
        yield "labels", f"names a label twice: {', '.join(facts.labels)}"
    if not {"input_ids"} <= set(facts.inputs) <= {*MODEL_INPUTS, "token_type_ids"}:
        yield "inputs", f"are {', '.join(facts.inputs)}; see the documentation of Manifest"
    if not 4 <= facts.max_length < 2**31:
        yield "max_length", f"is {facts.max_length}; it must be at least 4 and below 2**31"
    for key in ("label_names_ru", "thresholds"):
        for label in sorted(set(getattr(facts, key)) - set(facts.labels)):
            yield key, f"has an entry for {label!r}, which is not among labels"
    missing = [label for label in facts.labels if label not in facts.thresholds]
    if missing and (facts.thresholds or facts.task == "multi_label"):
        yield "thresholds", f"has none for {', '.join(missing)}"
    for label, value in facts.thresholds.items():
        if not is_threshold(value):
            yield "thresholds", f"of {label} must lie in (0, 1), not be {value!r}"
    for i, source in enumerate(facts.training_data):
        for key in ("name", "licence", "url", "attribution"):
            if not getattr(source, key).strip():
                yield f"training_data[{i}].{key}", "is blank"
        if not 0 <= source.rows < 2**31:
            yield f"training_data[{i}].rows", f"is {source.rows}; it must be at least 0"
    for name, digest in facts.files.items():
        if not _FILE_NAME.fullmatch(name) or name == MANIFEST_NAME:
            yield "files", f"names {name!r}, which no file inside a bundle can be"
        if not _SHA256.fullmatch(digest):
            yield "files", f"of {name} must be a SHA-256, not {digest!r:.80}"


@dataclass(frozen=True)
class Bundle:
    """A model folder whose manifest and files were found to be what they should be.

    :param folder: where it lies.
    :param manifest: its facts.
    :param known_as: a shipped name, or a Hub id and its revision; None for a folder.
    """

    folder: Path
    manifest: Manifest
    known_as: tuple[str, str | None] | None = dataclass_field(default=None, compare=False)

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
            from ov_emotions.conversion.optimum import save_optimum

            save_optimum(self, Path(folder))
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
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise BundleError(f"the Hub did not take {repository}: {reason}") from error
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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BundleNotFoundError(
            f"there is no folder {source!r}, and the Hub did not give a model of that id: {reason}"
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


_SHOWN = (
    *("name", "labels", "label_names_ru", "thresholds", "normalizer", "max_length", "precision"),
    *("inference_precision", "base_model", "licence", "schema_version"),
)


def model_info(manifest: Manifest) -> dict[str, Any]:
    """Give the facts that servers show of a model and that clients check, as plain values."""
    facts = to_builtins(manifest)
    later = () if manifest.task == "multi_label" else ("task",)
    return {"model_type": "emotions"} | {key: facts[key] for key in (*_SHOWN, *later)}


def stamp(model: ov.Model, manifest: Manifest) -> None:
    """Write the facts into rt_info.model_info, where Model Server and clients read them.

    :param model: changed in place; every value is a text, JSON where it is a list or a mapping.
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

    from ov_emotions.card import render_card  # only who writes needs it

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
            files = {name: sha256_file(temporary / name) for name in BUNDLE_FILES[1:]}
            manifest = manifest.replace(files=files)
            (temporary / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write the bundle to {target}: {error}") from error
    _LOGGER.debug("wrote %s to %s", manifest.name, target)
    return Bundle(target, manifest)
