"""The kinds of checkpoint: what a folder is, and whether it can be converted, told at once.

    bundle             emotions.json: refused, there is nothing to convert
    own checkpoint     checkpoint.json, of `ov-emotions train`
    adapter            adapter_config.json, of PEFT; its base beside it, over it, or named
    OpenVINO, ONNX     openvino_model.xml or model.onnx, of optimum-cli
    transformers       config.json and weights of a sequence classification
    described head     a TOML file beside a state dict; see `modules.HeadDescription`

`open_source` tries them in this order. Everything that a file's first kilobytes tell is checked
there; weights are read only when `Found.load` is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import openvino as ov
from tokenizers import Tokenizer

from ov_emotions.bundle import MANIFEST_NAME, Task, TrainingSource, resolve
from ov_emotions.conversion.checks import (
    check_head,
    check_names,
    is_head,
    labels_and_task,
    read_config,
    read_object,
    russian_names,
    weight_files,
    weight_names,
)
from ov_emotions.conversion.config import Wishes
from ov_emotions.conversion.ir import Reference
from ov_emotions.conversion.optimum import find_graph, read_graph
from ov_emotions.conversion.tokenizer import read_tokenizer, token_window
from ov_emotions.errors import BundleNotFoundError, CheckpointError, InputError
from ov_emotions.files import best_inside
from ov_emotions.normalize import NO_NORMALIZER, NORMALIZER_VERSION
from ov_emotions.schema import read_toml
from ov_emotions.system import require

_LOGGER = logging.getLogger(__name__)

_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.toml")
_WEIGHTS = ("model.safetensors", "model-*.safetensors", "adapter_model.safetensors")
_OPENVINO = ("openvino_model.xml", "openvino_model.bin")
_LATE_WEIGHTS = ("pytorch_model*.bin", "adapter_model.bin", "model.onnx", "model.onnx_data")
"""Fetched from the Hub only where none of the others are there: they double them."""


@dataclass(frozen=True)
class Found:
    """A classifier as it was found, nothing heavy read yet.

    :param kind: of checkpoint, in words.
    :param path: folder or TOML file.
    :param labels: of the outputs, in their order.
    :param task: decided by config and head, or by the caller.
    :param task_is_said: whether it was decided; else it is what transformers would take.
    :param tokenizer: with the normaliser inside, if there is one.
    :param pad_id: the padding token's id.
    :param max_length: tokens of a window, special tokens included.
    :param positions: tokens that the encoder reads at most.
    :param normalizer: version of the normaliser, or `none`.
    :param base_model: what the encoder is called.
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


class Kind:
    """A kind of checkpoint."""

    name = ""

    def fits(self, path: Path) -> bool:
        """Tell by the names of files whether a path is of this kind."""
        raise NotImplementedError

    def open(self, path: Path, wishes: Wishes) -> Found:
        """Read what is needed to say whether it can be converted.

        :raises CheckpointError: if it cannot, and why.
        """
        raise NotImplementedError


class BundleKind(Kind):
    """A bundle: converted already."""

    name = "bundle"

    def fits(self, path: Path) -> bool:
        """See `Kind.fits`."""
        return (path / MANIFEST_NAME).is_file()

    def open(self, path: Path, wishes: Wishes) -> Found:  # noqa: ARG002
        """Refuse it."""
        raise InputError(
            f"{path} is a bundle already, which every verb takes as it is; `ov-emotions quantize` "
            "makes one with fp32 weights smaller"
        )


class OwnCheckpoint(Kind):
    """A folder that `ov-emotions train` wrote."""

    name = "checkpoint of ov-emotions"

    def fits(self, path: Path) -> bool:
        """See `Kind.fits`."""
        return (path / "checkpoint.json").is_file()

    def open(self, path: Path, wishes: Wishes) -> Found:  # noqa: ARG002 (it says all itself)
        """See `Kind.open`."""
        checkpoints = require("ov_emotions.training.checkpoint", extra="train")
        facts = checkpoints.read_checkpoint_facts(path)
        tokenizer = checkpoints.load_tokenizer(str(path))
        config = read_config(path)
        positions = token_window(config, {}, None)[1]

        def load() -> Any:
            modules = require("ov_emotions.conversion.modules", extra="train")
            model = require("ov_emotions.training.model", extra="train").EmotionModel.load(path)
            return modules.Whole(model, model.encoder)

        return Found(
            kind=self.name,
            path=path,
            labels=facts.labels,
            task="multi_label",
            task_is_said=True,
            tokenizer=tokenizer,
            pad_id=int(config.get("pad_token_id") or 0),
            max_length=facts.max_length,
            positions=positions,
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


class Transformers(Kind):
    """A folder that `save_pretrained` or Trainer wrote."""

    name = "transformers sequence classification"

    def fits(self, path: Path) -> bool:
        """See `Kind.fits`."""
        return (path / "config.json").is_file() and bool(weight_files(path))

    def open(self, path: Path, wishes: Wishes) -> Found:
        """See `Kind.open`."""
        config = read_config(path)
        check_head(path, config)
        files = weight_files(path)
        names = weight_names(files)
        wrapped = check_names(path, config, names)

        def load() -> Any:
            modules = require("ov_emotions.conversion.modules", extra="train")
            return modules.load_classifier(path, files, found.pad_id, wrapped=wrapped)

        found = _found(self.name, path, config, wishes, load=load)
        return found


class Adapter(Kind):
    """A PEFT adapter, merged into its base."""

    name = "PEFT adapter"

    def fits(self, path: Path) -> bool:
        """See `Kind.fits`."""
        return (path / "adapter_config.json").is_file()

    def open(self, path: Path, wishes: Wishes) -> Found:
        """See `Kind.open`."""
        require("peft", extra="lora")
        adapter = read_object(path / "adapter_config.json")
        if (kind := adapter.get("task_type")) not in ("SEQ_CLS", None):
            raise CheckpointError(
                f"{path} is an adapter for the task {kind}, not a sequence classification (SEQ_CLS)"
            )
        base = self._base(path, str(adapter.get("base_model_name_or_path") or ""), wishes)
        config = read_config(base)
        check_head(base, config, adapted=True)
        files = weight_files(base)
        wrapped = check_names(base, config, weight_names(files))
        own = sorted(path.glob("adapter_model.*"))
        if not own:
            raise CheckpointError(f"{path} has adapter_config.json, but no adapter_model weights")
        shapes = weight_names(own)
        given = {name.removeprefix("base_model.model."): shape for name, shape in shapes.items()}
        heads = [s[0] for n, s in given.items() if n.endswith(".weight") and is_head(n)]
        outputs = heads[-1] if heads else None
        if outputs is not None and outputs != len(config.get("id2label") or (0, 1)):
            config = {**config, "id2label": {str(i): f"LABEL_{i}" for i in range(outputs)}}
        with_tokenizer = path if (path / "tokenizer.json").is_file() else base

        def load() -> Any:
            modules = require("ov_emotions.conversion.modules", extra="train")
            whole = modules.load_classifier(
                base, files, found.pad_id, wrapped=wrapped, outputs=outputs, given=given
            )
            return modules.load_adapted(whole, path)

        found = _found(
            self.name,
            path,
            config,
            wishes,
            tokenizer_folder=with_tokenizer,
            base_model=str(adapter.get("base_model_name_or_path") or base.name),
            load=load,
        )
        return found

    def _base(self, path: Path, named: str, wishes: Wishes) -> Path:
        """Find the base: named by the caller, over the adapter, where it says, or beside it."""
        if wishes.base is not None:
            return resolve(wishes.base, files=(*_SMALL_FILES, *_WEIGHTS))
        for folder in (path, Path(named), path.parent / named, path.parent / Path(named).name):
            if named and (folder / "config.json").is_file() and weight_files(folder):
                return folder
        try:
            return resolve(named, files=(*_SMALL_FILES, *_WEIGHTS))
        except BundleNotFoundError as error:
            raise CheckpointError(
                f"{path} is an adapter without its base {named!r}: there is no such folder, none "
                f"beside the adapter, and the Hub did not give it; name it with --base ({error})"
            ) from error


class Optimum(Kind):
    """A folder that optimum-cli wrote: the model is an IR, or ONNX, already."""

    name = "optimum folder"

    def fits(self, path: Path) -> bool:
        """See `Kind.fits`."""
        return (path / "config.json").is_file() and find_graph(path) is not None

    def open(self, path: Path, wishes: Wishes) -> Found:
        """See `Kind.open`."""
        graph = find_graph(path)
        assert graph is not None  # it fits
        config = read_config(path)
        check_head(path, config)
        if graph.suffix == ".onnx":
            require("onnxruntime", extra="onnx")  # what its answers are held against
        written = "ONNX" if graph.suffix == ".onnx" else "OpenVINO"
        ir = partial(read_graph, graph)
        return _found(f"optimum folder ({written})", path, config, wishes, ir=ir)


class DescribedHead(Kind):
    """A state dict with its head described in TOML."""

    name = "state dict with a described head"

    def fits(self, path: Path) -> bool:
        """See `Kind.fits`."""
        return path.suffix == ".toml" and path.is_file()

    def open(self, path: Path, wishes: Wishes) -> Found:
        """See `Kind.open`."""
        modules = require("ov_emotions.conversion.modules", extra="train")
        head = read_toml(path, modules.HeadDescription, CheckpointError)
        weights = path.parent / head.weights
        if not weights.is_file():
            raise CheckpointError(f"{path}: there are no weights {weights}")
        beside = path.parent / head.base
        base = beside if beside.is_dir() else resolve(head.base, files=_SMALL_FILES)
        config = read_config(base)
        config = {**config, "id2label": {str(i): label for i, label in enumerate(head.labels)}}
        wishes = replace(wishes, task=wishes.task or head.task)
        described = replace(head, weights=weights)
        return _found(
            self.name,
            path,
            config,
            wishes,
            tokenizer_folder=base,
            base_model=head.base,
            load=lambda: modules.load_described(described, base, str(path)),
        )


KINDS: tuple[Kind, ...] = (
    BundleKind(),
    OwnCheckpoint(),
    Adapter(),
    Optimum(),
    Transformers(),
    DescribedHead(),
)


def open_source(source: str, wishes: Wishes) -> Found:
    """Find what a name means, and read what says whether it can be converted.

    :param source: a folder, a TOML file, or a Hub id.
    :param wishes: of the caller.
    :return: the classifier.
    :raises BundleNotFoundError: if there is no such folder or Hub id.
    :raises CheckpointError: if it is of no known kind, or of one that cannot be converted.
    """
    path = Path(source)
    if not (path.suffix == ".toml" and path.is_file()):
        path = resolve(source, files=(*_SMALL_FILES, *_WEIGHTS, *_OPENVINO))
        if not Path(source).exists() and not any(kind.fits(path) for kind in KINDS):
            path = resolve(source, files=(*_SMALL_FILES, *_LATE_WEIGHTS))
    for kind in KINDS:
        if kind.fits(path):
            return kind.open(path, wishes)
    has = "config.json, but no weights" if (path / "config.json").is_file() else "no config.json"
    raise CheckpointError(
        f"{path} holds {has}: it is none of the kinds that can be converted: "
        + ", ".join(kind.name for kind in KINDS[1:])
        + best_inside(path)
    )


def _found(
    kind: str,
    path: Path,
    config: Mapping[str, Any],
    wishes: Wishes,
    *,
    tokenizer_folder: Path | None = None,
    base_model: str = "",
    load: Callable[[], Any] | None = None,
    ir: Callable[[], tuple[ov.Model, Reference]] | None = None,
) -> Found:
    """Describe a checkpoint of others: what config.json, tokeniser and the caller say of it."""
    labels, task, said = labels_and_task(path, config, wishes)
    folder = tokenizer_folder or path
    tokenizer, pad_id, window, positions = _tokenizer(folder, config, wishes)
    named = base_model or config.get("_name_or_path") or config.get("model_type") or path.name
    return Found(
        kind=kind,
        path=path,
        labels=labels,
        task=task,
        task_is_said=said,
        tokenizer=tokenizer,
        pad_id=pad_id,
        max_length=window,
        positions=positions,
        normalizer=wishes.normalizer,
        base_model=str(named),
        load=load,
        ir=ir,
        label_names_ru=russian_names(labels),
        facts={
            "converted_from": {
                "kind": kind.partition(" (")[0],
                "name": path.name,
                "architectures": config.get("architectures"),
                "model_type": config.get("model_type"),
                "transformers": config.get("transformers_version"),
            }
        },
        tokenizer_folder=folder,
    )


def _tokenizer(
    path: Path, config: Mapping[str, Any], wishes: Wishes
) -> tuple[Tokenizer, int, int, int]:
    """Read the tokeniser; give it with the padding token, the window and the limit."""
    tokenizer, settings = read_tokenizer(path)
    window, positions = token_window(config, settings, tokenizer, wishes.max_length)
    pad_id = _pad_id(tokenizer, config, settings)
    if wishes.normalizer not in (NO_NORMALIZER, NORMALIZER_VERSION):
        raise InputError(
            f"normalizer must be {NO_NORMALIZER} or {NORMALIZER_VERSION}, not {wishes.normalizer!r}"
        )
    return tokenizer, pad_id, window, positions


def _pad_id(tokenizer: Tokenizer, config: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Find the padding token; what has none is padded with its last token's mark."""
    named = settings.get("pad_token") or settings.get("eos_token")
    named = named.get("content") if isinstance(named, dict) else named
    candidates = (
        config.get("pad_token_id"),
        tokenizer.token_to_id(named) if named else None,
        (tokenizer.padding or {}).get("pad_id"),
        config.get("eos_token_id"),
    )
    return next((int(i) for i in candidates if isinstance(i, int) and i >= 0), 0)
