"""Folders that optimum wrote, OpenVINO or ONNX, read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions.conversion.ir import Reference
from ov_emotions.errors import CheckpointError, first_line
from ov_emotions.manifest import MODEL_INPUTS
from ov_emotions.system import require, shared_core


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
