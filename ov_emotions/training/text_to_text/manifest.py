"""The manifest of a text-to-text model folder; read without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ov_emotions.errors import CheckpointError, TrainingError
from ov_emotions.files import write_json
from ov_emotions.normalize import NORMALIZER_VERSION
from ov_emotions.training.facts import read_facts
from ov_emotions.training.text_to_text.targets import Names, TargetFormat

TEXT2TEXT_NAME = "text2text.json"
TEXT2TEXT_SCHEMA = 1
WEIGHTS_NAME = "model.safetensors"


def is_text_to_text(source: str | os.PathLike[str] | None) -> bool:
    """Say whether a folder holds a model of this kind.

    :param source: what a caller named; a Hub id or a shipped name is none.
    :return: whether its manifest is there.
    """
    return source is not None and (Path(source) / TEXT2TEXT_NAME).is_file()


@dataclass(frozen=True)
class Text2TextManifest:
    """What is known of a trained text-to-text model.

    :param labels: in the order of writing.
    :param label_names_ru: their Russian names.
    :param names: which names the model writes.
    :param no_emotion: what it writes for no label.
    :param prefix: what stands before every text.
    :param max_source_length: tokens of prefix and text.
    :param max_target_length: tokens written at most.
    :param beams: width of the beam search at which it was chosen.
    :param constrained: whether it was chosen writing nothing but labels.
    :param normalizer: version of the normaliser that texts go through.
    :param base_model: what training started from.
    :param training: the run's configuration.
    :param earlier_training: how the base was trained, where it is an earlier run's; else None.
    :param training_rows: rows that were trained on.
    :param left_out: by set, rows not trained on because some label of theirs is unknown.
    :param data: hash and seed of the prepared data, and its sets with licences.
    :param selection: scores on the selection part of validation.
    :param outputs: how many of the outputs there could be read.
    :param step: at which these weights were taken.
    :param precision: that was trained in.
    :param device: that was trained on.
    :param provenance: machine and versions.
    """

    labels: tuple[str, ...]
    label_names_ru: Mapping[str, str]
    names: Names
    no_emotion: str
    prefix: str
    max_source_length: int
    max_target_length: int
    beams: int
    constrained: bool
    normalizer: str
    base_model: str
    training: Mapping[str, Any]
    earlier_training: Mapping[str, Any] | None
    training_rows: int
    left_out: Mapping[str, int]
    data: Mapping[str, Any]
    selection: Mapping[str, Any]
    outputs: Mapping[str, Any]
    step: int
    precision: str
    device: str
    provenance: Mapping[str, Any]

    def target_format(self) -> TargetFormat:
        """Return how its outputs are read."""
        return TargetFormat(self.labels, self.label_names_ru, self.names, self.no_emotion)

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder.

        :param folder: an existing one.
        """
        write_json(folder / TEXT2TEXT_NAME, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"schema": TEXT2TEXT_SCHEMA, **asdict(self), "labels": list(self.labels)}

    @staticmethod
    def read(folder: Path) -> Text2TextManifest:
        """Read and check a folder's manifest.

        :param folder: the `best` folder of a run.
        :return: the manifest.
        :raises CheckpointError: if it is missing, malformed, of another schema, or its texts are
            normalised by rules that this library does not have.
        """
        path = folder / TEXT2TEXT_NAME
        names = [field.name for field in fields(Text2TextManifest)]
        what = "a folder of `ov-emotions train --task text-to-text`"
        facts = read_facts(path, what, TEXT2TEXT_SCHEMA, names)
        _check(path, facts)
        values = {name: facts[name] for name in names}
        return Text2TextManifest(**{**values, "labels": tuple(facts["labels"])})


_KINDS: dict[Any, type[Any] | tuple[type[Any], ...]] = {
    int: int,
    bool: bool,
    str: str,
    Names: str,
    tuple[str, ...]: list,
    Mapping[str, Any] | None: (dict, type(None)),
}


def _check(path: Path, facts: dict[str, Any]) -> None:
    for name, hint in get_type_hints(Text2TextManifest).items():
        value, kind = facts[name], _KINDS.get(hint, dict)
        if not isinstance(value, kind) or (isinstance(value, bool) and hint is not bool):
            raise CheckpointError(f"{path}: {name} is {value!r}, which it cannot be")
    labels, russian = facts["labels"], facts["label_names_ru"]
    words = [*labels, *russian.values()]
    if not labels or not all(isinstance(word, str) for word in words):
        raise CheckpointError(f"{path}: labels and label_names_ru must be words")
    if set(labels) != set(russian) or len(set(labels)) < len(labels):
        raise CheckpointError(f"{path}: labels and label_names_ru do not belong together")
    if facts["names"] not in get_args(Names):
        raise CheckpointError(f"{path}: names is {facts['names']!r}, not russian or english")
    for name in ("max_source_length", "max_target_length", "beams"):
        if facts[name] < 1:
            raise CheckpointError(f"{path}: {name} is {facts[name]}, and must be at least 1")
    if facts["normalizer"] != NORMALIZER_VERSION:
        raise CheckpointError(
            f"{path}: the model reads texts normalised by {facts['normalizer']}; this library has "
            f"{NORMALIZER_VERSION}"
        )
    try:
        TargetFormat(tuple(labels), russian, facts["names"], facts["no_emotion"])
    except TrainingError as error:
        raise CheckpointError(f"{path}: {error}") from error
