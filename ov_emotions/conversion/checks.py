"""What a checkpoint's small files tell: config, labels and task."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.errors import CheckpointError, InputError
from ov_emotions.labels import LABEL_SETS
from ov_emotions.schema import Task, read_json
from ov_emotions.system import require

_LOGGER = logging.getLogger(__name__)

_HEAD = "ForSequenceClassification"


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    :raises CheckpointError: if there is none, or it is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json")
    return read_json(path, dict[str, Any], CheckpointError)


def check_head(path: Path, config: Mapping[str, Any], *, adapted: bool = False) -> None:
    """Refuse what is no classifier, or one that cannot be built.

    :param adapted: whether the head comes from an adapter.
    :raises CheckpointError: says why.
    """
    architectures = config.get("architectures") or []
    if config.get("auto_map"):
        raise CheckpointError(
            f"{path} brings code of its own (auto_map in config.json), which is not run here"
        )
    if architectures and not adapted and not any(a.endswith(_HEAD) for a in architectures):
        raise CheckpointError(
            f"{path} is a {architectures[0]}, which classifies no texts; it takes a "
            f"…{_HEAD}, and `ov-emotions train --base` puts a head on an encoder"
        )


def check_kind(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a model of a type that transformers puts no classifier on.

    :raises CheckpointError: names the type.
    """
    transformers = require("transformers", extra="train")
    kinds = transformers.models.auto.modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    if config.get("model_type") not in kinds:
        raise CheckpointError(
            f"{path}: transformers {transformers.__version__} has no sequence classification of "
            f"type {config.get('model_type')!r}"
        )


def labels_and_task(
    path: Path, facts: Mapping[str, Any], config: ConversionConfig
) -> tuple[tuple[str, ...], Task, bool]:
    """Decide what the outputs are called, and whether one or several of them count.

    :param facts: config.json.
    :return: labels, task, and whether the task was decided by anything.
    :raises CheckpointError: for a regression.
    :raises InputError: if the labels wished for are not as many as the outputs.
    """
    kind = facts.get("problem_type")
    id2label = facts.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        found = tuple(str(id2label[k]) for k in sorted(id2label, key=int))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: id2label in config.json is no map of labels") from error
    if kind == "regression" or (len(found) == 1 and kind != "multi_label_classification"):
        raise CheckpointError(
            f"{path} has a regression head, which gives a number and no label; nothing here "
            "reads it"
        )
    if config.labels:
        if len(config.labels) != len(found):
            raise InputError(
                f"--labels names {len(config.labels)} labels, and {path} has {len(found)} outputs"
            )
        found = config.labels
    elif any(label == f"LABEL_{i}" for i, label in enumerate(found)):
        _LOGGER.warning(
            "%s does not say what its outputs are called: they stay %s; name them with --labels",
            path,
            ", ".join(found[:3]) + (" …" if len(found) > 3 else ""),
        )
    if len(set(found)) < len(found) or not all(label.strip() for label in found):
        raise CheckpointError(f"{path}: labels must differ, none blank: {', '.join(found)}")
    if config.task is not None:
        return found, config.task, True
    if kind == "multi_label_classification":
        return found, "multi_label", True
    # As transformers' own pipeline takes it where nothing is said.
    return found, "single_label", kind == "single_label_classification"


def russian_names(labels: Sequence[str]) -> dict[str, str]:
    """Give Russian names to labels: their own, if Russian, or those of a known label set."""
    known = {name: r for s in LABEL_SETS.values() for name, r in s.russian.items()}
    known |= {label: label for label in labels if any("а" <= c <= "я" for c in label.lower())}
    return {label: known[label] for label in labels if label in known}


def has_weights(folder: Path) -> bool:
    """Say whether a folder holds a checkpoint's weights: one file, or the index of several."""
    names = ("model.safetensors", "pytorch_model.bin")
    return any((folder / name).is_file() for one in names for name in (one, f"{one}.index.json"))
