"""What a checkpoint's small files tell: config, names of weights, labels and task."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.errors import CheckpointError, InputError, first_line
from ov_emotions.labels import LABEL_SETS
from ov_emotions.schema import Task, read_json
from ov_emotions.system import require

_LOGGER = logging.getLogger(__name__)

WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and DataParallel put before the names of weights."""
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


def check_names(path: Path, config: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
    """Refuse weights whose names belong to no model of the architecture.

    :param names: of the weights.
    :return: whether all names have a wrapper's prefix.
    :raises CheckpointError: if hardly a name is known.
    """
    wrapped = any(all(n.startswith(p) for n in names) for p in WRAPPERS)
    if wrapped:
        names = {n.split(".", 1)[1]: s for n, s in names.items()}
    torch = require("torch", extra="train")
    transformers = require("transformers", extra="train")
    try:
        built = transformers.AutoConfig.from_pretrained(path)
        with torch.device("meta"):
            model = transformers.AutoModelForSequenceClassification.from_config(built)
    except (ValueError, KeyError, OSError, ImportError, TypeError) as error:
        raise CheckpointError(
            f"{path}: transformers {transformers.__version__} has no sequence classification of "
            f"type {config.get('model_type')!r}: {first_line(error)[:200]}"
        ) from error
    prefix = model.base_model_prefix + "."
    known = {name.removeprefix(prefix) for name, _ in model.named_parameters()}
    matched = known & {name.removeprefix(prefix) for name in names}
    if len(matched) < 0.5 * len(known):
        raise CheckpointError(
            f"the weights in {path} match nothing: of {len(known)} weights that a "
            f"{type(model).__name__} has, {len(matched)} are there; the first there is "
            f"{next(iter(names), 'none')!r}"
        )
    return wrapped


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


def weight_files(folder: Path) -> list[Path]:
    """Find a checkpoint's weights: one file, or the shards that an index names.

    :return: the files, .safetensors before .bin; none if there are none.
    """
    for single, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            shards = read_json(folder / index, dict[str, Any], CheckpointError)
            files = [folder / name for name in sorted(set(shards.get("weight_map", {}).values()))]
            if absent := [f.name for f in files if not f.is_file()]:
                raise CheckpointError(f"{folder} lacks the shard {absent[0]} that {index} names")
            return files
    return []


def weight_names(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Read names and shapes of weights, without the weights where the format allows.

    :param files: .safetensors or what torch.save wrote.
    :raises CheckpointError: if a file cannot be read.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in files:
        if path.suffix != ".safetensors":
            modules = require("ov_emotions.conversion.modules", extra="train")
            found |= {name: tuple(v.shape) for name, v in modules.read_state([path]).items()}
            continue
        try:
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size) if size < 1 << 28 else b"")
        except (OSError, ValueError, struct.error) as error:
            raise CheckpointError(f"{path} is not a readable safetensors file") from error
        header.pop("__metadata__", None)
        found |= {name: tuple(facts["shape"]) for name, facts in header.items()}
    return found


def is_head(name: str) -> bool:
    """Tell whether a weight is of what stands on the encoder, by the names transformers gives."""
    return any(part in ("classifier", "score", "out_proj") for part in name.split("."))
