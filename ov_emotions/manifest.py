"""emotions.json: what a bundle says about itself, and the checks it must pass to be believed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.errors import BundleIntegrityError, BundleSchemaError
from ov_emotions.normalize import NORMALIZER_VERSION

SCHEMA_VERSION = 1

MANIFEST_NAME = "emotions.json"
MODEL_NAME = "model.xml"
WEIGHTS_NAME = "model.bin"
TOKENIZER_NAME = "tokenizer.json"
CARD_NAME = "README.md"
REQUIRED_FILES = (MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME)

PRECISIONS = ("fp32", "fp16", "int8", "int4")
INFERENCE_PRECISIONS = ("f32", "bf16")

_SELF_HASH = "manifest_sha256"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class TrainingSource:
    """One set that a model learned from.

    :param rows: rows used in training.
    """

    name: str
    licence: str
    url: str
    attribution: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """The facts that belong to a model rather than to the code that calls it.

    :param name: what the model is called, `emotions-ru-small` say.
    :param labels: identifiers, in the order of the model's outputs.
    :param label_names_ru: Russian name by label.
    :param thresholds: per label the probability, in (0, 1), from which it counts as present.
    :param normalizer: version of the normaliser inside tokenizer.json.
    :param max_length: tokens of one window, special tokens included.
    :param precision: of the weights: one of `PRECISIONS`.
    :param inference_precision: the INFERENCE_PRECISION_HINT under which `metrics` were measured:
        one of `INFERENCE_PRECISIONS`.
    :param base_model: the encoder that was fine-tuned.
    :param base_licence: its licence.
    :param licence: of the bundle.
    :param training_data: the sets it learned from.
    :param metrics: by precision, then by split: `rows`, `weighted_f1`, `macro_f1` and `labels`.
    :param provenance: versions, seed, commands, parity, quantization record.
    :param files: SHA-256 by file name; `write_bundle` fills it.
    """

    name: str
    labels: tuple[str, ...]
    label_names_ru: Mapping[str, str]
    thresholds: Mapping[str, float]
    normalizer: str
    max_length: int
    precision: str
    inference_precision: str
    base_model: str
    base_licence: str
    licence: str
    training_data: tuple[TrainingSource, ...]
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def threshold_array(self) -> NDArray[np.float32]:
        """Return the thresholds in the order of the outputs.

        :return: float32, shape (labels,), probabilities.
        """
        return np.array([self.thresholds[label] for label in self.labels], dtype=np.float32)

    def to_json(self) -> str:
        """Write the manifest as JSON text, its own hash included.

        :return: indented JSON that ends with a newline.
        :raises BundleSchemaError: if metrics or provenance hold what JSON cannot.
        """
        try:
            # Through JSON once, so that the hash is of what a reader will parse.
            facts = json.loads(json.dumps(asdict(self), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise BundleSchemaError(
                f"the manifest of {self.name!r} holds a value that JSON cannot: {error}"
            ) from error
        facts[_SELF_HASH] = _hash_facts(facts)
        return json.dumps(facts, ensure_ascii=False, indent=2) + "\n"

    @staticmethod
    def from_json(text: str, where: str) -> Manifest:
        """Parse and check a manifest.

        :param text: what `to_json` wrote.
        :param where: the file's path, for messages.
        :return: the manifest.
        :raises BundleSchemaError: if it is malformed or newer than this library.
        :raises BundleIntegrityError: if it was altered after it was written.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleSchemaError(
                f"{where} is not valid JSON; it is truncated or not a manifest: {error}"
            ) from error
        if not isinstance(raw, dict):
            raise BundleSchemaError(f"{where} holds a JSON {type(raw).__name__}, not an object")
        manifest = _parse(_Fields(raw, where))
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


class _Fields:
    """Typed access to a parsed manifest; what is amiss is told with file and key."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self._raw = raw
        self.where = where

    def error(self, key: str, problem: str) -> BundleSchemaError:
        return BundleSchemaError(f"{self.where}: {key} {problem}")

    def _get(self, key: str, kind: type, called: str) -> Any:
        if key not in self._raw:
            raise self.error(key, "is missing")
        value = self._raw[key]
        # bool is an int to isinstance, though not to a reader of JSON.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(key, f"must be {called}, not {value!r:.80}")
        return value

    def text(self, key: str, allowed: Sequence[str] | None = None) -> str:
        value: str = self._get(key, str, "a text")
        if not value.strip():
            raise self.error(key, "is blank")
        if allowed is not None and value not in allowed:
            raise self.error(key, f"is {value!r}; it must be one of {', '.join(allowed)}")
        return value

    def integer(self, key: str, low: int) -> int:
        value: int = self._get(key, int, "a whole number")
        if not low <= value < 2**31:
            raise self.error(key, f"is {value}; it must be at least {low} and below 2**31")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        value: dict[str, Any] = self._get(key, dict, "an object")
        return value

    def array(self, key: str) -> list[Any]:
        value: list[Any] = self._get(key, list, "a list")
        return value


def _parse(fields: _Fields) -> Manifest:
    version = fields.integer("schema_version", 1)
    if version > SCHEMA_VERSION:
        raise fields.error(
            "schema_version",
            f"is {version}, and this library reads up to {SCHEMA_VERSION}: upgrade ov-emotions",
        )
    normalizer = fields.text("normalizer")
    if normalizer != NORMALIZER_VERSION:
        raise fields.error(
            "normalizer",
            f"is {normalizer!r}, and this library knows {NORMALIZER_VERSION!r}: use the version "
            "of ov-emotions that the model was made with",
        )
    labels = _labels(fields)
    return Manifest(
        name=fields.text("name"),
        labels=labels,
        label_names_ru=_label_names(fields, labels),
        thresholds=_thresholds(fields, labels),
        normalizer=normalizer,
        max_length=fields.integer("max_length", 4),
        precision=fields.text("precision", PRECISIONS),
        inference_precision=fields.text("inference_precision", INFERENCE_PRECISIONS),
        base_model=fields.text("base_model"),
        base_licence=fields.text("base_licence"),
        licence=fields.text("licence"),
        training_data=_training_data(fields),
        metrics=fields.mapping("metrics"),
        provenance=fields.mapping("provenance"),
        files=_files(fields),
        schema_version=version,
    )


def _labels(fields: _Fields) -> tuple[str, ...]:
    labels = fields.array("labels")
    if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
        raise fields.error("labels", "must be a list of at least one text, none of them blank")
    if len(set(labels)) < len(labels):
        raise fields.error("labels", f"names a label twice: {', '.join(labels)}")
    return tuple(labels)


def _label_names(fields: _Fields, labels: tuple[str, ...]) -> dict[str, str]:
    names = fields.mapping("label_names_ru")
    if unknown := [label for label in names if label not in labels]:
        raise fields.error("label_names_ru", f"names {unknown[0]!r}, which is not among labels")
    if not all(isinstance(name, str) for name in names.values()):
        raise fields.error("label_names_ru", "must map labels to texts")
    return names


def is_threshold(value: object) -> bool:
    """Tell whether a value can be a threshold.

    :param value: anything.
    :return: whether it is a number that lies in (0, 1) as float32 too.
    """
    if not isinstance(value, int | float | np.floating) or isinstance(value, bool):
        return False
    # The decision is made in float32: a threshold that rounds to 0 would let everything pass.
    return bool(0 < value < 1 and 0 < np.float32(value) < 1)


def _thresholds(fields: _Fields, labels: tuple[str, ...]) -> dict[str, float]:
    thresholds = fields.mapping("thresholds")
    if missing := [label for label in labels if label not in thresholds]:
        raise fields.error("thresholds", f"has none for {', '.join(missing)}")
    if unknown := [label for label in thresholds if label not in labels]:
        raise fields.error("thresholds", f"has one for {unknown[0]!r}, which is not among labels")
    for label, value in thresholds.items():
        if not is_threshold(value):
            raise fields.error("thresholds", f"of {label} must lie in (0, 1), not be {value!r}")
    return {label: float(value) for label, value in thresholds.items()}


def _training_data(fields: _Fields) -> tuple[TrainingSource, ...]:
    sources = []
    for i, raw in enumerate(fields.array("training_data")):
        key = f"training_data[{i}]"
        if not isinstance(raw, dict):
            raise fields.error(key, f"must be an object, not {raw!r:.80}")
        entry = _Fields(raw, f"{fields.where}: {key}")
        sources.append(
            TrainingSource(
                name=entry.text("name"),
                licence=entry.text("licence"),
                url=entry.text("url"),
                attribution=entry.text("attribution"),
                rows=entry.integer("rows", 0),
            )
        )
    return tuple(sources)


def _files(fields: _Fields) -> dict[str, str]:
    files = fields.mapping("files")
    for name, digest in files.items():
        # Names become paths: nothing may lead out of the folder.
        if not re.fullmatch(r"(?!\.)[\w.\-]+", name) or name == MANIFEST_NAME:
            raise fields.error("files", f"names {name!r}, which no file inside a bundle can be")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise fields.error("files", f"of {name} must be a SHA-256, not {digest!r:.80}")
    return files
