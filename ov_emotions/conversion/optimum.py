"""Folders of optimum: those that it wrote, read; and bundles written as it reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions.bundle import (
    CARD_NAME,
    MODEL_INPUTS,
    MODEL_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    Bundle,
)
from ov_emotions.conversion.ir import Reference
from ov_emotions.errors import BundleError, CheckpointError, first_line
from ov_emotions.files import atomic_folder
from ov_emotions.system import require, shared_core

_HAS_OURS = (
    *("openvino_model.xml", "openvino_model.bin", "config.json"),
    *("tokenizer.json", "tokenizer_config.json", "README.md"),
)
_SPECIAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def save_optimum(bundle: Bundle, folder: Path) -> None:
    """Write what `OVModelForSequenceClassification.from_pretrained` reads, equal in logits.

    The thresholds, which transformers has no place for, stand in config.json as `thresholds`;
    transformers does not window long texts.

    :param folder: a new folder, an empty one, or one that was written so, which is replaced.
    :raises BundleError: if the folder holds other things or cannot be written.
    """
    target = folder.absolute()
    if target.is_dir():
        foreign = sorted(path.name for path in target.iterdir() if path.name not in _HAS_OURS)
        if foreign:
            raise BundleError(f"{target} holds {foreign[0]!r}; give a new or empty folder")
    elif target.exists():
        raise BundleError(f"{target} is a file; give a folder")
    try:
        with atomic_folder(target) as temporary:
            for name, written in (
                (MODEL_NAME, "openvino_model.xml"),
                (WEIGHTS_NAME, "openvino_model.bin"),
                (TOKENIZER_NAME, "tokenizer.json"),
                (CARD_NAME, "README.md"),
            ):
                shutil.copyfile(bundle.folder / name, temporary / written)
            for name, facts in (
                ("config.json", _config(bundle)),
                ("tokenizer_config.json", _tokenizer_config(bundle)),
            ):
                text = json.dumps(facts, ensure_ascii=False, indent=2)
                (temporary / name).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write {target}: {error}") from error


def _config(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    origin = manifest.provenance.get("converted_from") or {}
    return {
        "architectures": origin.get("architectures") or ["BertForSequenceClassification"],
        "model_type": origin.get("model_type") or "bert",
        "id2label": {str(i): label for i, label in enumerate(manifest.labels)},
        "label2id": {label: i for i, label in enumerate(manifest.labels)},
        "problem_type": f"{manifest.task}_classification",
        "max_position_embeddings": manifest.max_length,
        "thresholds": dict(manifest.thresholds),
    }


def _tokenizer_config(bundle: Bundle) -> dict[str, Any]:
    tokenizer = bundle.tokenizer()
    named = {
        role: next((token for token in tokens if tokenizer.token_to_id(token) is not None), None)
        for role, tokens in _SPECIAL.items()
    }
    padding = tokenizer.padding or {}
    named["pad_token"] = padding.get("pad_token") or named["pad_token"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": bundle.manifest.max_length,
        "model_input_names": list(bundle.manifest.inputs),
        **{role: token for role, token in named.items() if token is not None},
    }


def find_graph(path: Path) -> Path | None:
    """Find the model of an optimum folder."""
    names = ("openvino_model.xml", "model.onnx")
    found = [path / name for name in names if (path / name).is_file()]
    return found[0] if found and not (path / "model.safetensors").is_file() else None


def read_graph(path: Path) -> tuple[ov.Model, Reference]:
    """Read an IR or ONNX model, and how the file answers as it is."""
    try:
        model = shared_core().read_model(path)
    except RuntimeError as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}") from error
    names = {
        next(iter(i.get_names() & {*MODEL_INPUTS, "token_type_ids"}), "") for i in model.inputs
    }
    if not set(MODEL_INPUTS) <= names or "" in names or len(model.outputs) != 1:
        given = ", ".join(i.get_any_name() for i in model.inputs)
        raise CheckpointError(
            f"{path} takes {given}; what can be converted takes input_ids, attention_mask and, if "
            "need be, token_type_ids, and gives logits"
        )
    run: Callable[[dict[str, Any]], Any]
    if path.suffix == ".onnx":
        runtime = require("onnxruntime", extra="onnx")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        run = partial(session.run, None)
    else:
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        run = shared_core().compile_model(model.clone(), "CPU", hint)

    def ask(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        given = dict(zip(MODEL_INPUTS, (ids, mask), strict=True))
        if "token_type_ids" in names:
            given["token_type_ids"] = np.zeros_like(ids)
        return np.array(run(given)[0], dtype=np.float32)

    return _two_inputs(model), ask


def _two_inputs(model: ov.Model) -> ov.Model:
    """Put zeros in the place of token types, and name inputs and output as a bundle's."""
    ops = ov.opset13
    parameters = {next(iter(p.output(0).get_names())): p for p in model.get_parameters()}
    parameters |= {n: p for p in model.get_parameters() for n in p.output(0).get_names()}
    if "token_type_ids" in parameters:
        ids, types = parameters["input_ids"], parameters["token_type_ids"]
        zeros = ops.broadcast(
            ops.constant(0, dtype=types.get_element_type().to_dtype()), ops.shape_of(ids)
        )
        for user in types.output(0).get_target_inputs():
            user.replace_source_output(zeros.output(0))
        model.remove_parameter(types)
    model.outputs[0].get_tensor().set_names({"logits"})
    model.validate_nodes_and_infer_types()
    ordered = [parameters[name] for name in MODEL_INPUTS]
    return ov.Model(model.get_results(), ordered, model.get_friendly_name())
