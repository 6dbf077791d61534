"""What a served model says of itself, and whether that is what a caller expects."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ov_emotions.bundle import SCHEMA_VERSION, Manifest, is_threshold
from ov_emotions.client.transport import ModelMetadata, TensorSpec
from ov_emotions.encoding import LongTexts
from ov_emotions.errors import BundleError, ServerMismatchError
from ov_emotions.normalize import NORMALIZER_VERSION

_LOGGER = logging.getLogger(__name__)

Takes = Literal["text", "tokens"]

_PROBABILITIES = "probabilities"
_LOGITS = "logits"
HASH_KEY = "manifest_sha256"


@dataclass(frozen=True)
class Signature:
    """What goes into a served model and what comes out.

    :param takes: texts, or token ids with their mask.
    :param output: the output to ask for: `probabilities`, or `logits` of a model that was served
        as it stands in a bundle.
    :param width: its labels; None where the server leaves it open.
    """

    takes: Takes
    output: str
    width: int | None


@dataclass(frozen=True)
class ServedFacts:
    """The facts of a model, as its server or a bundle tells them.

    :param manifest_sha256: identifies the bundle that the served model was built from; None where
        the model was built without it.
    :param long_texts: what a server that takes texts does with long ones.
    """

    name: str
    labels: tuple[str, ...]
    thresholds: Mapping[str, float]
    normalizer: str
    max_length: int
    manifest_sha256: str | None
    long_texts: LongTexts = "truncate"

    def differences(self, other: ServedFacts, *, weights: bool = True) -> list[str]:
        """Compare all that predictions depend on.

        :param other: the facts that are expected.
        :param weights: whether other weights are a difference too.
        :return: what differs, in words; the name, which changes nothing, is left out.
        """
        found = []
        if self.labels != other.labels:
            theirs, ours = ", ".join(self.labels), ", ".join(other.labels)
            found.append(f"its labels are {theirs} and not {ours}")
        else:
            found += self._other_thresholds(other)
        if self.normalizer != other.normalizer:
            found.append(f"its normaliser is {self.normalizer} and not {other.normalizer}")
        if self.max_length != other.max_length:
            found.append(f"it reads {self.max_length} tokens and not {other.max_length}")
        hashes = (self.manifest_sha256, other.manifest_sha256)
        if weights and not found and None not in hashes and hashes[0] != hashes[1]:
            found.append("the hash of its manifest is another, so it has other weights")
        return found

    def _other_thresholds(self, other: ServedFacts) -> list[str]:
        pairs = [(label, self.thresholds[label], other.thresholds[label]) for label in self.labels]
        found = [
            f"its threshold of {label} is {theirs:.6g} and not {ours:.6g}"
            for label, theirs, ours in pairs
            if theirs != ours
        ]
        return found if len(found) <= 1 else [f"{found[0]}, and {len(found) - 1} more differ"]


def facts_of(manifest: Manifest) -> ServedFacts:
    """Take the facts out of a bundle's manifest.

    :param manifest: the bundle's.
    :return: the facts.
    """
    return ServedFacts(
        name=manifest.name,
        labels=manifest.labels,
        thresholds=manifest.thresholds,
        normalizer=manifest.normalizer,
        max_length=manifest.max_length,
        manifest_sha256=json.loads(manifest.to_json())[HASH_KEY],
    )


def parse_facts(raw: Mapping[str, str], where: str) -> ServedFacts:
    """Read the facts that a server gives as texts.

    :param raw: rt_info.model_info of Model Server, or the parameters of Triton's configuration.
    :param where: the server, for messages.
    :return: the facts.
    :raises ServerMismatchError: if they are none that this library understands.
    """
    flat = _Facts(raw, where)
    if "manifest" not in raw:
        return flat.parse()
    try:
        facts = facts_of(Manifest.from_json(raw["manifest"], f"the manifest at {where}"))
    except BundleError as error:
        raise ServerMismatchError(str(error)) from error
    if "labels" in raw and (wrong := flat.parse().differences(facts)):
        raise ServerMismatchError(f"{where} contradicts its own manifest: {wrong[0]}")
    return replace(facts, long_texts=_long_texts(raw))


def _long_texts(raw: Mapping[str, str]) -> LongTexts:
    return "window" if raw.get("long_texts") == "window" else "truncate"


class _Facts:
    """Typed access to the texts; what is amiss is told with server and key."""

    def __init__(self, raw: Mapping[str, str], where: str) -> None:
        self._raw = raw
        self._where = where

    def parse(self) -> ServedFacts:
        """Check and convert all of them."""
        version = self._json("schema_version", int)
        if version > SCHEMA_VERSION:
            raise self._error(
                "schema_version",
                f"is {version}, and this library reads up to {SCHEMA_VERSION}: upgrade ov-emotions",
            )
        normalizer = self._text("normalizer")
        if normalizer != NORMALIZER_VERSION:
            raise self._error(
                "normalizer",
                f"is {normalizer!r}, and this library knows {NORMALIZER_VERSION!r}: use the "
                "version of ov-emotions that the model was made with",
            )
        labels = self._labels()
        return ServedFacts(
            name=self._text("name"),
            labels=labels,
            thresholds=self._thresholds(labels),
            normalizer=normalizer,
            max_length=self._max_length(),
            manifest_sha256=self._raw.get(HASH_KEY),
            long_texts=_long_texts(self._raw),
        )

    def _error(self, key: str, problem: str) -> ServerMismatchError:
        return ServerMismatchError(
            f"{self._where} serves no model of ov-emotions that this version knows: {key} {problem}"
        )

    def _text(self, key: str) -> str:
        value = self._raw.get(key, "")
        if not value.strip():
            raise self._error(key, "is missing from what the model says of itself")
        return value

    def _json(self, key: str, kind: type) -> Any:
        text = self._text(key)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._error(key, f"is {text!r:.80}, which is not what build writes there")
        return value

    def _max_length(self) -> int:
        length: int = self._json("max_length", int)
        if length < 1:
            raise self._error("max_length", f"is {length}, and must be at least 1")
        return length

    def _labels(self) -> tuple[str, ...]:
        labels = self._json("labels", list)
        named = all(isinstance(label, str) and label.strip() for label in labels)
        if not labels or not named or len(set(labels)) < len(labels):
            raise self._error("labels", "must be texts, none of them blank or twice there")
        return tuple(labels)

    def _thresholds(self, labels: tuple[str, ...]) -> dict[str, float]:
        thresholds = self._json("thresholds", dict)
        if set(thresholds) != set(labels):
            raise self._error("thresholds", "are not those of its labels")
        for label, value in thresholds.items():
            if not is_threshold(value):
                raise self._error("thresholds", f"of {label} must lie in (0, 1), not be {value!r}")
        return {label: float(thresholds[label]) for label in labels}


def signature_of(metadata: ModelMetadata, where: str) -> Signature:
    """Find out how to ask a served model.

    :param metadata: what the server says of it.
    :param where: the server, for messages.
    :return: what it takes and gives.
    :raises ServerMismatchError: if that is not what a model of this library takes and gives.
    """
    inputs = {spec.name: (spec.datatype, len(spec.shape)) for spec in metadata.inputs}
    outputs = {spec.name: spec for spec in metadata.outputs if _is_scores(spec)}
    takes: Takes
    if inputs == {"text": ("BYTES", 1)}:
        takes = "text"
    elif inputs == {"input_ids": ("INT64", 2), "attention_mask": ("INT64", 2)}:
        takes = "tokens"
    else:
        raise _other_model(metadata, where)
    output = _PROBABILITIES if _PROBABILITIES in outputs else _LOGITS
    if output not in outputs:
        raise _other_model(metadata, where)
    width = outputs[output].shape[1]
    return Signature(takes, output, width if width >= 0 else None)


def _is_scores(spec: TensorSpec) -> bool:
    return spec.datatype == "FP32" and len(spec.shape) == 2


def _other_model(metadata: ModelMetadata, where: str) -> ServerMismatchError:
    def told(specs: tuple[TensorSpec, ...]) -> str:
        return ", ".join(f"{s.name} {s.datatype} {list(s.shape)}" for s in specs[:8]) or "nothing"

    return ServerMismatchError(
        f"{where} serves another kind of model: it takes {told(metadata.inputs)} and gives "
        f"{told(metadata.outputs)}; text BYTES [-1], or input_ids and attention_mask INT64 "
        "[-1, -1], and probabilities FP32 are expected"
    )


def check_facts(
    facts: ServedFacts, signature: Signature, expected: ServedFacts | None, where: str
) -> None:
    """Refuse a server that is not what it should be.

    :param facts: what it says.
    :param signature: what its model takes and gives.
    :param expected: the facts of the model that is wanted; None where any will do.
    :param where: the server, for messages.
    :raises ServerMismatchError: with everything that differs.
    """
    if signature.width is not None and signature.width != len(facts.labels):
        raise ServerMismatchError(
            f"{where} gives {signature.width} {signature.output} a text, but there are "
            f"{len(facts.labels)} labels: {', '.join(facts.labels)}"
        )
    if expected is None:
        return
    if wrong := facts.differences(expected):
        raise ServerMismatchError(
            f"{where} serves {facts.name}, which is not the {expected.name} that is expected: "
            f"{'; '.join(wrong)}"
        )
    if facts.manifest_sha256 is None:
        _LOGGER.warning(
            "%s tells no manifest hash: labels, thresholds and normaliser are those of %s, "
            "but its weights were not compared",
            where,
            expected.name,
        )
