"""The kinds of checkpoint: what a folder is, and whether it can be converted, told at once.

Everything that small files tell is checked when a checkpoint is opened; a model's weights are read
only when `Found.load` is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Never

import openvino as ov
from tokenizers import Tokenizer

from ov_emotions.bundle import resolve
from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.conversion.ir import Reference, find_graph, read_graph
from ov_emotions.conversion.tokenizer import padding_id, read_tokenizer, token_window
from ov_emotions.errors import BundleNotFoundError, CheckpointError, InputError
from ov_emotions.files import best_inside
from ov_emotions.labels import LABEL_SETS
from ov_emotions.manifest import MANIFEST_NAME, TrainingSource
from ov_emotions.normalize import NO_NORMALIZER, NORMALIZER_VERSION
from ov_emotions.schema import Task, read_json, read_toml
from ov_emotions.system import require
from ov_emotions.training.checkpoint import load_tokenizer, read_checkpoint_facts

_LOGGER = logging.getLogger(__name__)

_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.toml")
_WEIGHTS = ("model.safetensors", "model-*.safetensors", "adapter_model.safetensors")
_OPENVINO = ("openvino_model.xml", "openvino_model.bin")
_CLASSIFIER = "ForSequenceClassification"
_HEAD = {"classifier", "score", "out_proj"}
"""What transformers calls that which stands on the encoder."""
_LATE_WEIGHTS = ("pytorch_model*.bin", "adapter_model.bin", "model.onnx", "model.onnx_data")
"""Fetched from the Hub only where none of the others are there: they double them."""


@dataclass(frozen=True)
class Found:
    """A classifier as it was found, nothing heavy read yet.

    :param kind: of checkpoint, in words.
    :param path: folder or TOML file.
    :param labels: of the outputs, in their order.
    :param task_is_said: whether it was decided; else it is what transformers would take.
    :param tokenizer: with the normaliser inside, if there is one.
    :param max_length: tokens of a window, special tokens included.
    :param positions: tokens that the encoder reads at most.
    :param normalizer: version of the normaliser, or `none`.
    :param load: reads the weights: a torch module of two inputs, with `set_attention`; None where
        there is no torch model.
    :param ir: reads an IR that is there already, with its reference.
    :param facts: for the manifest's provenance.
    :param tokenizer_folder: that transformers reads the tokeniser of; None if it is known to be
        read right.
    :param checkpoint: its folder, if it is one of ours, which torch can be measured with.
    """

    kind: str
    path: Path
    labels: tuple[str, ...]
    task: Task
    task_is_said: bool
    tokenizer: Tokenizer
    pad_id: int
    max_length: int
    positions: int
    normalizer: str
    base_model: str
    load: Callable[[], Any] | None = None
    ir: Callable[[], tuple[ov.Model, Reference]] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    label_names_ru: Mapping[str, str] = field(default_factory=dict)
    training_data: tuple[TrainingSource, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_folder: Path | None = None
    checkpoint: Path | None = None


def _bundle(_kind: str, path: Path, _config: ConversionConfig) -> Never:
    raise InputError(
        f"{path} is a bundle already, which every verb takes as it is; `ov-emotions quantize` "
        "makes one with fp32 weights smaller"
    )


def _own_checkpoint(kind: str, path: Path, _config: ConversionConfig) -> Found:
    """Read what `ov-emotions train` wrote: it says all itself."""
    facts = read_checkpoint_facts(path)
    described = _read_config(path)

    def load() -> Any:
        modules = require("ov_emotions.conversion.modules", extra="train")
        model = require("ov_emotions.training.model", extra="train").EmotionModel.load(path)
        return modules.Whole(model, model.encoder)

    return Found(
        kind=kind,
        path=path,
        labels=facts.labels,
        task="multi_label",
        task_is_said=True,
        tokenizer=load_tokenizer(str(path)),
        pad_id=int(described.get("pad_token_id") or 0),
        max_length=facts.max_length,
        positions=token_window(described, {}, None)[1],
        normalizer=facts.normalizer,
        base_model=facts.base_model,
        load=load,
        thresholds=facts.thresholds,
        label_names_ru=facts.label_names_ru,
        checkpoint=path,
        training_data=tuple(source for source in facts.data.sources if source.rows),
        facts={
            "training": facts.training,
            "earlier_training": facts.earlier_training,
            "training_step": facts.step,
            "training_environment": facts.provenance,
            "data_manifest_sha256": facts.data.manifest_sha256,
            "random_weights": facts.random_weights,
        },
    )


def _transformers(kind: str, path: Path, config: ConversionConfig) -> Found:
    """Read what `save_pretrained` or Trainer wrote."""
    facts = _read_config(path)
    _check_head(path, facts)
    _check_kind(path, facts)

    def load() -> Any:
        modules = require("ov_emotions.conversion.modules", extra="train")
        return modules.load_classifier(path, found.pad_id)

    found = _found(kind, path, facts, config, load=load)
    return found


def _adapter(kind: str, path: Path, config: ConversionConfig) -> Found:
    """Read a PEFT adapter, which is merged into its base."""
    require("peft", extra="lora")
    adapter = read_json(path / "adapter_config.json", dict[str, Any], CheckpointError)
    if (task := adapter.get("task_type")) not in ("SEQ_CLS", None):
        raise CheckpointError(
            f"{path} is an adapter for the task {task}, not a sequence classification (SEQ_CLS)"
        )
    named = str(adapter.get("base_model_name_or_path") or "")
    base = _adapted(path, named, config)
    facts = _read_config(base)
    _check_head(base, facts, adapted=True)
    _check_kind(base, facts)
    own = sorted(path.glob("adapter_model.*"))
    if not own:
        raise CheckpointError(f"{path} has adapter_config.json, but no adapter_model weights")
    modules = require("ov_emotions.conversion.modules", extra="train")
    shapes = {name: tuple(value.shape) for name, value in modules.read_state(own).items()}
    given = {name.removeprefix("base_model.model."): shape for name, shape in shapes.items()}
    heads = [s[0] for n, s in given.items() if n.endswith(".weight") and _HEAD & {*n.split(".")}]
    outputs = heads[-1] if heads else None
    if outputs is not None and outputs != len(facts.get("id2label") or (0, 1)):
        facts = {**facts, "id2label": {str(i): f"LABEL_{i}" for i in range(outputs)}}

    def load() -> Any:
        whole = modules.load_classifier(base, found.pad_id, outputs=outputs, given=given)
        return modules.load_adapted(whole, path)

    folder = path if (path / "tokenizer.json").is_file() else base
    found = _found(
        kind, path, facts, config, tokenizer_folder=folder, base_model=named or base.name, load=load
    )
    return found


def _adapted(path: Path, named: str, config: ConversionConfig) -> Path:
    """Find an adapter's base: named by the caller, over it, where it says, or beside it."""
    if config.base is not None:
        return resolve(config.base, files=(*_SMALL_FILES, *_WEIGHTS))
    for folder in (path, Path(named), path.parent / named, path.parent / Path(named).name):
        if named and (folder / "config.json").is_file() and _has_weights(folder):
            return folder
    try:
        return resolve(named, files=(*_SMALL_FILES, *_WEIGHTS))
    except BundleNotFoundError as error:
        raise CheckpointError(
            f"{path} is an adapter without its base {named!r}: there is no such folder, none "
            f"beside the adapter, and the Hub did not give it; name it with --base ({error})"
        ) from error


def _optimum(kind: str, path: Path, config: ConversionConfig) -> Found:
    """Read what optimum-cli wrote: the model is an IR, or ONNX, already."""
    graph = find_graph(path)
    assert graph is not None  # it fits
    facts = _read_config(path)
    _check_head(path, facts)
    written = "OpenVINO"
    if graph.suffix == ".onnx":
        written = "ONNX"
        require("onnxruntime", extra="onnx")  # what its answers are held against
    return _found(f"{kind} ({written})", path, facts, config, ir=partial(read_graph, graph))


def _described(kind: str, path: Path, config: ConversionConfig) -> Found:
    """Read a TOML file that describes the head of the state dict beside it."""
    modules = require("ov_emotions.conversion.modules", extra="train")
    head = read_toml(path, modules.HeadDescription, CheckpointError)
    head = replace(head, weights=path.parent / head.weights)
    if not head.weights.is_file():
        raise CheckpointError(f"{path}: there are no weights {head.weights}")
    beside = path.parent / head.base
    base = beside if beside.is_dir() else resolve(head.base, files=_SMALL_FILES)
    outputs = {"id2label": {str(i): label for i, label in enumerate(head.labels)}}
    return _found(
        kind,
        path,
        _read_config(base) | outputs,
        replace(config, task=config.task or head.task),
        tokenizer_folder=base,
        base_model=head.base,
        load=lambda: modules.load_described(head, base, str(path)),
    )


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint: how it is told, and how it is read."""

    name: str
    fits: Callable[[Path], bool]
    open: Callable[[str, Path, ConversionConfig], Found]


def _has(name: str) -> Callable[[Path], bool]:
    return lambda path: (path / name).is_file()


KINDS = (
    Kind("bundle", _has(MANIFEST_NAME), _bundle),
    Kind("checkpoint of ov-emotions", _has("checkpoint.json"), _own_checkpoint),
    Kind("PEFT adapter", _has("adapter_config.json"), _adapter),
    Kind(
        "optimum folder",
        lambda path: (path / "config.json").is_file() and find_graph(path) is not None,
        _optimum,
    ),
    Kind(
        "transformers sequence classification",
        lambda path: (path / "config.json").is_file() and _has_weights(path),
        _transformers,
    ),
    Kind(
        "state dict with a described head",
        lambda path: path.suffix == ".toml" and path.is_file(),
        _described,
    ),
)
"""In the order in which they are tried."""


def open_source(config: ConversionConfig) -> Found:
    """Find what a model's name means, and read what says whether it can be converted.

    :raises BundleNotFoundError: if there is no such folder or Hub id.
    :raises CheckpointError: if it is of no known kind, or of one that cannot be converted.
    """
    path = Path(config.model)
    if not (path.suffix == ".toml" and path.is_file()):
        path = resolve(config.model, files=(*_SMALL_FILES, *_WEIGHTS, *_OPENVINO))
        if not Path(config.model).exists() and not any(kind.fits(path) for kind in KINDS):
            path = resolve(config.model, files=(*_SMALL_FILES, *_LATE_WEIGHTS))
    for kind in KINDS:
        if kind.fits(path):
            return kind.open(kind.name, path, config)
    has = "config.json, but no weights" if (path / "config.json").is_file() else "no config.json"
    raise CheckpointError(
        f"{path} holds {has}: it is none of the kinds that can be converted: "
        + ", ".join(kind.name for kind in KINDS[1:])
        + best_inside(path)
    )


def _found(
    kind: str,
    path: Path,
    facts: Mapping[str, Any],
    config: ConversionConfig,
    *,
    tokenizer_folder: Path | None = None,
    base_model: str = "",
    load: Callable[[], Any] | None = None,
    ir: Callable[[], tuple[ov.Model, Reference]] | None = None,
) -> Found:
    """Describe a checkpoint of others: what config.json, tokeniser and the caller say of it."""
    labels, task, said = _labels_and_task(path, facts, config)
    folder = tokenizer_folder or path
    tokenizer, settings = read_tokenizer(folder)
    window, positions = token_window(facts, settings, tokenizer, config.max_length)
    if config.normalizer not in (NO_NORMALIZER, NORMALIZER_VERSION):
        raise InputError(
            f"normalizer must be {NO_NORMALIZER} or {NORMALIZER_VERSION}, not {config.normalizer!r}"
        )
    return Found(
        kind=kind,
        path=path,
        labels=labels,
        task=task,
        task_is_said=said,
        tokenizer=tokenizer,
        pad_id=padding_id(tokenizer, facts, settings),
        max_length=window,
        positions=positions,
        normalizer=config.normalizer,
        base_model=str(
            base_model or facts.get("_name_or_path") or facts.get("model_type") or path.name
        ),
        load=load,
        ir=ir,
        label_names_ru=_russian_names(labels),
        facts={
            "converted_from": {
                "kind": kind.partition(" (")[0],
                "name": path.name,
                "architectures": facts.get("architectures"),
                "model_type": facts.get("model_type"),
                "transformers": facts.get("transformers_version"),
            }
        },
        tokenizer_folder=folder,
    )


# What small files tell


def _read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    :raises CheckpointError: if there is none, or it is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json")
    return read_json(path, dict[str, Any], CheckpointError)


def _check_head(path: Path, config: Mapping[str, Any], *, adapted: bool = False) -> None:
    """Refuse what is no classifier, or one that cannot be built.

    :param adapted: whether the head comes from an adapter.
    :raises CheckpointError: says why.
    """
    architectures = config.get("architectures") or []
    if config.get("auto_map"):
        raise CheckpointError(
            f"{path} brings code of its own (auto_map in config.json), which is not run here"
        )
    if architectures and not adapted and not any(a.endswith(_CLASSIFIER) for a in architectures):
        raise CheckpointError(
            f"{path} is a {architectures[0]}, which classifies no texts; it takes a "
            f"…{_CLASSIFIER}, and `ov-emotions train --base` puts a head on an encoder"
        )


def _check_kind(path: Path, config: Mapping[str, Any]) -> None:
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


def _labels_and_task(
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


def _russian_names(labels: Sequence[str]) -> dict[str, str]:
    """Give Russian names to labels: their own, if Russian, or those of a known label set."""
    known = {name: r for s in LABEL_SETS.values() for name, r in s.russian.items()}
    known |= {label: label for label in labels if any("а" <= c <= "я" for c in label.lower())}
    return {label: known[label] for label in labels if label in known}


def _has_weights(folder: Path) -> bool:
    """Say whether a folder holds a checkpoint's weights: one file, or the index of several."""
    names = ("model.safetensors", "pytorch_model.bin")
    return any((folder / name).is_file() for one in names for name in (one, f"{one}.index.json"))
