"""The manifest, `emotions.json`: the facts that belong to a model, checked on reading."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from msgspec import field
from numpy.typing import NDArray

from ov_emotions.errors import BundleIntegrityError, BundleSchemaError
from ov_emotions.normalize import NO_NORMALIZER, NORMALIZER_VERSION
from ov_emotions.schema import InferencePrecision, Schema, Task, from_builtins, to_builtins

if TYPE_CHECKING:
    import openvino as ov

SCHEMA_VERSION = 1

MANIFEST_NAME = "emotions.json"
MODEL_NAME = "model.xml"
WEIGHTS_NAME = "model.bin"
TOKENIZER_NAME = "tokenizer.json"
CARD_NAME = "README.md"
REQUIRED_FILES = (MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME)
BUNDLE_FILES = (MANIFEST_NAME, MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME, CARD_NAME)

Precision = Literal["fp32", "fp16", "int8", "int4"]

MODEL_INPUTS = ("input_ids", "attention_mask")

CHECKLIST = "checklist"
"""Where in the metrics stands what a check list says."""

HASH_KEY = "manifest_sha256"
"""The manifest's own hash, in its JSON and among the facts that servers show."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Names become paths: nothing may lead out of the folder.
_FILE_NAME = re.compile(r"(?!\.)[\w.\-]+")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")
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
    :param metrics: by precision, then by split: `rows`, `weighted_f1`, `macro_f1` and `labels`;
        and by `checklist` what one says of the model.
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

    @property
    def sha256(self) -> str:
        """The hash that stands in the manifest's JSON and identifies the bundle."""
        return str(json.loads(self.to_json())[HASH_KEY])

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
        facts[HASH_KEY] = _hash_facts(facts)
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
        if raw.get(HASH_KEY) != _hash_facts(raw):
            raise BundleIntegrityError(
                f"{where} does not match its own {HASH_KEY}: it was altered after it was "
                "written; get the model again (to change thresholds, pass them to the classifier)"
            )
        return manifest


def _hash_facts(raw: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in raw.items() if key != HASH_KEY}
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
