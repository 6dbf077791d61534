"""A training checkpoint turned into an OpenVINO IR, and held against the original."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle, Manifest, write_bundle
from ov_emotions.data.prepare import PreparedData
from ov_emotions.errors import CheckpointError, ExportError, OvEmotionsError
from ov_emotions.system import environment, quiet_transformers, require, shared_core
from ov_emotions.training.checkpoint import token_limit

LENGTH_GROUPS = ((3, 8), (9, 16), (17, 32), (33, 64), (65, 512))
"""Token counts, special tokens included, in each of which parity is checked."""

_LONG_TEXTS = 200
"""Training texts that parity is checked on beside validation, for the groups of many tokens."""

PARITY_TOLERANCE = 1e-3
"""Largest logit difference that float32 arithmetic in another order explains."""

_BATCH = 16


@dataclass(frozen=True)
class Parity:
    """How far the IR's logits are from torch's, both in float32.

    :param groups: per length group the texts compared and the largest absolute difference.
    :param largest: the largest of them all.
    """

    groups: dict[str, dict[str, float]]
    largest: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def _exporter_config(model: Any) -> Any:
    """Build optimum's export configuration, without the inputs our model does not take."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tasks = require("optimum.exporters.tasks", extra="export").TasksManager
        require("optimum.exporters.openvino.model_configs", extra="export")
    try:
        constructor = tasks.get_exporter_config_constructor(
            exporter="openvino",
            model_type=model.config.model_type,
            task="text-classification",
            library_name="transformers",
        )
    except (KeyError, ValueError) as error:
        raise ExportError(
            f"optimum-intel cannot export encoders of type {model.config.model_type}: {error}"
        ) from error
    base = getattr(constructor, "func", constructor)
    taken = ("input_ids", "attention_mask")

    class TwoInputs(base):  # type: ignore[misc, valid-type]
        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            return {name: axes for name, axes in super().inputs.items() if name in taken}

    return TwoInputs(model.config, task="text-classification")


def convert(checkpoint: Path) -> ov.Model:
    """Convert a checkpoint with optimum-intel's exporter.

    :param checkpoint: a checkpoint folder.
    :return: the fp32 IR: `input_ids` and `attention_mask`, i64 [batch, tokens], to `logits`,
        f32 [batch, labels]; every dimension but the last of the logits is dynamic.
    :raises ExportError: if the exporter refuses the encoder or fails.
    :raises CheckpointError: if the checkpoint cannot be loaded.
    """
    export = require("optimum.exporters.openvino.convert", extra="export").export_pytorch
    loaded = require("ov_emotions.training.model", extra="train").EmotionModel.load(checkpoint)
    model = require("ov_emotions.training.model", extra="train").Exportable(loaded)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), quiet_transformers():
        warnings.simplefilter("ignore")  # tracing warns of every shape-dependent branch
        path = Path(folder) / "model.xml"
        try:
            export(model, _exporter_config(model), path, library_name="transformers")
        except OvEmotionsError:
            raise
        except Exception as error:  # the exporter raises whatever tracing meets
            raise ExportError(f"{checkpoint} does not convert: {error}") from error
        # From memory, because the folder goes away under a memory-mapped file.
        weights = path.with_suffix(".bin").read_bytes()
        return shared_core().read_model(path.read_bytes(), weights)


def sample_by_length(
    ids: Sequence[NDArray[np.int32]], per_group: int, seed: int
) -> dict[str, list[NDArray[np.int32]]]:
    """Choose rows of every length group.

    :param ids: token ids of the texts to choose from.
    :param per_group: rows of a group at most.
    :param seed: of the choice.
    :return: group name ("9-16") to rows; groups without rows are left out.
    """
    rng = np.random.default_rng(seed)
    chosen: dict[str, list[NDArray[np.int32]]] = {}
    for low, high in LENGTH_GROUPS:
        members = [row for row in ids if low <= len(row) <= high]
        if members:
            order = rng.permutation(len(members))[:per_group]
            chosen[f"{low}-{high}"] = [members[i] for i in order]
    return chosen


def check_parity(
    checkpoint: Path, model: ov.Model, groups: dict[str, list[NDArray[np.int32]]]
) -> Parity:
    """Compare the IR with torch on padded batches of real texts, both in float32.

    :param checkpoint: what the IR was converted from.
    :param model: the IR.
    :param groups: what `sample_by_length` gives.
    :return: the differences.
    :raises ExportError: if one exceeds `PARITY_TOLERANCE`.
    """
    torch = require("torch", extra="train")
    examples = require("ov_emotions.training.examples", extra="train")
    reference = require("ov_emotions.training.model", extra="train").EmotionModel.load(checkpoint)
    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: dict[str, dict[str, float]] = {}
    for name, rows in groups.items():
        largest = 0.0
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            tokens, mask = examples.pad(part, reference.pad_id)
            with torch.inference_mode():
                expected = reference(tokens, mask).numpy()
            got = compiled(
                {
                    "input_ids": tokens.numpy(),
                    "attention_mask": mask.numpy(),
                }
            )["logits"]
            largest = max(largest, float(np.abs(expected - got).max()))
        found[name] = {"texts": len(rows), "largest_difference": largest}
    parity = Parity(found, max(group["largest_difference"] for group in found.values()))
    if not parity.largest <= PARITY_TOLERANCE:
        raise ExportError(
            f"the IR of {checkpoint} differs from torch by {parity.largest:.2e} in a logit, "
            f"more than {PARITY_TOLERANCE:.0e}: {found}"
        )
    return parity


def _positions(checkpoint: Path) -> int:
    """Tell how many tokens the encoder reads at most."""
    try:
        encoder = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        return token_limit(encoder, LENGTH_GROUPS[-1][1])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{checkpoint} has no readable config.json: {error}") from error


@dataclass(frozen=True)
class ExportConfig:
    """What an exported bundle is called and says of itself.

    :param checkpoint: a checkpoint folder.
    :param output: folder of the bundle; replaced.
    :param name: of the bundle.
    :param base_model: what the encoder is called where it is published; the folder or Hub id that
        training started from where empty.
    :param base_licence: licence of the encoder that was fine-tuned.
    :param licence: of the bundle.
    :param parity_rows: texts compared in each length group.
    :param seed: of their choice.
    """

    checkpoint: Path
    output: Path
    name: str
    base_model: str = ""
    base_licence: str = "unknown"
    licence: str = "unknown"
    parity_rows: int = 64
    seed: int = 20261122


def parity_texts(prepared: PreparedData) -> list[str]:
    """Give the texts that an export is checked on: none of them chooses anything.

    :param prepared: prepared data.
    :return: the selection part of validation, and the longest training texts, since validation
        seldom has a text for every length group.
    """
    longest = sorted(prepared.split("train").texts, key=len, reverse=True)
    return [*prepared.validation_part("selection").texts, *longest[:_LONG_TEXTS]]


def export_bundle(config: ExportConfig, texts: Sequence[str]) -> tuple[Bundle, Parity]:
    """Convert a checkpoint, check it on real texts, and write the fp32 bundle.

    :param config: what to convert, and how to name it.
    :param texts: real texts of all lengths, for the parity check.
    :return: the bundle, and how far it is from torch.
    :raises ExportError: if the checkpoint does not convert, or the IR differs from it.
    :raises CheckpointError: if the checkpoint cannot be used.
    """
    checkpoints = require("ov_emotions.training.checkpoint", extra="train")
    examples = require("ov_emotions.training.examples", extra="train")
    facts = checkpoints.read_checkpoint_facts(config.checkpoint)
    tokenizer = checkpoints.load_tokenizer(str(config.checkpoint))
    # Up to twice the training length, as far as the encoder reads: the IR's shapes are dynamic.
    length = min(2 * facts.max_length, _positions(config.checkpoint))
    ids = examples.tokenize(tokenizer, list(texts), length)
    groups = sample_by_length(ids, config.parity_rows, config.seed)
    if not groups:
        raise ExportError("there are no texts to check the export with")
    model = convert(config.checkpoint)
    parity = check_parity(config.checkpoint, model, groups)
    environment_facts = environment("torch", "transformers", "optimum-intel", "openvino")
    manifest = Manifest(
        name=config.name,
        labels=tuple(facts.labels),
        label_names_ru=facts.label_names_ru,
        thresholds=facts.thresholds,
        normalizer=facts.normalizer,
        max_length=facts.max_length,
        precision="fp32",
        inference_precision="f32",
        base_model=config.base_model or facts.base_model,
        base_licence=config.base_licence,
        licence=config.licence,
        training_data=tuple(source for source in facts.data.sources if source.rows),
        metrics={},
        provenance={
            "training": facts.training,
            "earlier_training": facts.earlier_training,
            "training_step": facts.step,
            "training_environment": facts.provenance,
            "data_manifest_sha256": facts.data.manifest_sha256,
            "export_environment": environment_facts,
            "parity": parity.to_dict(),
            "random_weights": facts.random_weights,
        },
    )
    return write_bundle(config.output, manifest, model, tokenizer.to_str()), parity
