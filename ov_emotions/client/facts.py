"""What a served model says of itself, and whether that is what a caller expects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from ov_emotions.client.transport import ModelMetadata, TensorSpec
from ov_emotions.errors import BundleError, ServerMismatchError
from ov_emotions.manifest import SCHEMA_VERSION, Manifest
from ov_emotions.normalize import NO_NORMALIZER, NORMALIZER_VERSION
from ov_emotions.schema import LongTexts, Schema, Task, from_builtins

Takes = Literal["text", "tokens"]
_TOKENS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Signature:
    """What goes into a served model and what comes out.

    :param takes: texts, or token ids with their mask.
    :param output: the output to ask for: `probabilities`, or `logits` of a model that was served
        as it stands in a bundle.
    :param width: its labels; None where the server leaves it open.
    :param names: whether there is an output `labels` too, the names of what reaches its threshold.
    :param inputs: their names, in the order of the alphabet.
    """

    takes: Takes
    output: str
    width: int | None
    names: bool = False
    inputs: tuple[str, ...] = ("text",)


_Text = Annotated[str, Meta(pattern=r"\S")]


class ServedFacts(Schema, frozen=True, kw_only=True):
    """The facts of a model, as its server or a bundle tells them.

    :param manifest_sha256: identifies the bundle that the served model was built from; None where
        the model was built without it.
    :param long_texts: what a server that takes texts does with long ones.
    """

    name: _Text
    labels: Annotated[tuple[_Text, ...], Meta(min_length=1)]
    thresholds: Mapping[str, Annotated[float, Meta(gt=0, lt=1)]]
    normalizer: str
    max_length: Annotated[int, Meta(ge=1)]
    manifest_sha256: str | None = None
    long_texts: LongTexts = "truncate"
    task: Task = "multi_label"
    schema_version: int = SCHEMA_VERSION

    def differences(self, other: ServedFacts, *, weights: bool = True) -> list[str]:
        """Tell in words what differs of all that predictions depend on; the name does not.

        :param weights: whether other weights are a difference too.
        """
        found = []
        if self.labels != other.labels:
            theirs, ours = ", ".join(self.labels), ", ".join(other.labels)
            found.append(f"its labels are {theirs} and not {ours}")
        else:
            cuts = [
                f"its threshold of {label} is {_cut(self, label)} and not {_cut(other, label)}"
                for label in self.labels
                if self.thresholds.get(label) != other.thresholds.get(label)
            ]
            found += cuts if len(cuts) <= 1 else [f"{cuts[0]}, and {len(cuts) - 1} more differ"]
        if self.task != other.task:
            found.append(f"its task is {self.task} and not {other.task}")
        if self.normalizer != other.normalizer:
            found.append(f"its normaliser is {self.normalizer} and not {other.normalizer}")
        if self.max_length != other.max_length:
            found.append(f"it reads {self.max_length} tokens and not {other.max_length}")
        hashes = (self.manifest_sha256, other.manifest_sha256)
        if weights and not found and None not in hashes and hashes[0] != hashes[1]:
            found.append("the hash of its manifest is another, so it has other weights")
        return found


def _cut(facts: ServedFacts, label: str) -> str:
    return f"{facts.thresholds[label]:.6g}" if label in facts.thresholds else "none"


def facts_of(manifest: Manifest) -> ServedFacts:
    """Take the facts out of a bundle's manifest."""
    return ServedFacts(
        name=manifest.name,
        labels=manifest.labels,
        thresholds=manifest.thresholds,
        normalizer=manifest.normalizer,
        max_length=manifest.max_length,
        manifest_sha256=manifest.sha256,
        task=manifest.task,
    )


def parse_facts(raw: Mapping[str, str], where: str) -> ServedFacts:
    """Read the facts that a server gives as texts.

    :raises ServerMismatchError: if they are none that this library understands.
    """
    if "manifest" not in raw:
        return _parse_flat(raw, where)
    try:
        facts = facts_of(Manifest.from_json(raw["manifest"], f"the manifest at {where}"))
    except BundleError as error:
        raise ServerMismatchError(str(error)) from error
    if "labels" in raw and (wrong := _parse_flat(raw, where).differences(facts)):
        raise ServerMismatchError(f"{where} contradicts its own manifest: {wrong[0]}")
    return facts.replace(long_texts=_long_texts(raw))


def _parse_flat(raw: Mapping[str, str], where: str) -> ServedFacts:
    where = f"{where} serves no model of ov-emotions that this version knows"
    values: dict[str, Any] = dict(raw)
    for key in ("schema_version", "labels", "thresholds", "max_length"):
        try:
            values[key] = json.loads(raw.get(key, ""))
        except (ValueError, RecursionError):
            said = f"is {raw[key]!r:.80}, which is no JSON" if raw.get(key) else "is missing"
            raise ServerMismatchError(f"{where}: {key} {said}") from None
    values["long_texts"] = _long_texts(raw)
    told = from_builtins(values, ServedFacts, where, ServerMismatchError)
    if told.schema_version > SCHEMA_VERSION:
        raise ServerMismatchError(
            f"{where}: schema_version is {told.schema_version}, and this library reads up to "
            f"{SCHEMA_VERSION}: upgrade ov-emotions"
        )
    if told.normalizer not in (NORMALIZER_VERSION, NO_NORMALIZER):
        raise ServerMismatchError(
            f"{where}: normalizer is {told.normalizer!r}, and this library knows "
            f"{NORMALIZER_VERSION!r}: use the version of ov-emotions that the model was made with"
        )
    if len(set(told.labels)) < len(told.labels):
        raise ServerMismatchError(f"{where}: labels name one twice: {', '.join(told.labels)}")
    some = told.thresholds or told.task == "multi_label"  # one of several needs none
    if some and set(told.thresholds) != set(told.labels):
        raise ServerMismatchError(f"{where}: thresholds are not those of its labels")
    return told


def _long_texts(raw: Mapping[str, str]) -> LongTexts:
    return "window" if raw.get("long_texts") == "window" else "truncate"


def signature_of(metadata: ModelMetadata, where: str) -> Signature:
    """Find out how to ask a served model.

    :raises ServerMismatchError: if that is not what a model of this library takes and gives.
    """
    inputs = {spec.name: (spec.datatype, len(spec.shape)) for spec in metadata.inputs}
    outputs = {spec.name: (spec.datatype, len(spec.shape)) for spec in metadata.outputs}
    output = next((n for n in ("probabilities", "logits") if outputs.get(n) == ("FP32", 2)), None)
    takes: Takes | None = None
    if inputs == {"text": ("BYTES", 1)}:
        takes = "text"
    elif "input_ids" in inputs and set(inputs) <= set(_TOKENS):
        takes = "tokens" if set(inputs.values()) == {("INT64", 2)} else None
    if takes is None or output is None:
        raise ServerMismatchError(
            f"{where} serves another kind of model: it takes {_told(metadata.inputs)} and gives "
            f"{_told(metadata.outputs)}; text BYTES [-1], or input_ids and attention_mask INT64 "
            "[-1, -1], and probabilities FP32 are expected"
        )
    width = next(spec.shape[1] for spec in metadata.outputs if spec.name == output)
    names = outputs.get("labels") == ("BYTES", 1)
    return Signature(takes, output, width if width >= 0 else None, names, tuple(sorted(inputs)))


def _told(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{s.name} {s.datatype} {list(s.shape)}" for s in specs[:8]) or "nothing"


def check_facts(
    facts: ServedFacts, signature: Signature, expected: ServedFacts | None, where: str
) -> None:
    """Refuse a server that is not what it should be.

    :raises ServerMismatchError: with everything that differs.
    """
    if signature.width is not None and signature.width != len(facts.labels):
        raise ServerMismatchError(
            f"{where} gives {signature.width} {signature.output} a text, but there are "
            f"{len(facts.labels)} labels: {', '.join(facts.labels)}"
        )
    if expected is not None and (wrong := facts.differences(expected)):
        raise ServerMismatchError(
            f"{where} serves {facts.name}, which is not the {expected.name} that is expected: "
            f"{'; '.join(wrong)}"
        )


def told_bound(told: Iterable[ModelMetadata], raw: Mapping[str, str]) -> int | None:
    """Find how many rows a request may have, where the server tells.

    A range in the shape of an input tells, or `batch_size` among the facts: `256` or `1:256`.
    """
    found = re.fullmatch(r"(?:\d+:)?(\d+)", raw.get("batch_size", ""))
    ranges = [spec.most for metadata in told for spec in metadata.inputs if spec.most]
    return min([*ranges, *([int(found[1])] if found and int(found[1]) else [])], default=None)


def refused_bound(message: str) -> int | None:
    """Find the bound in what a server says of a request with too many rows.

    `Invalid batch size - Expected: [1~256]; Actual: 300` of Model Server, or
    `batch-size must be <= 8` of Triton.
    """
    found = re.search(r"Expected: [\[(]\d+~(\d+)\b.*?Actual:|batch-size must be <= (\d+)", message)
    return int(found[1] or found[2]) if found else None
