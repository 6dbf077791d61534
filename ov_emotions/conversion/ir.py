"""A torch classifier, or a graph of optimum, as an OpenVINO IR, held against the original."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions.encoding import EncodedBatch, pad
from ov_emotions.errors import CheckpointError, ExportError, OvEmotionsError, first_line
from ov_emotions.manifest import MODEL_INPUTS
from ov_emotions.system import quiet_transformers, require, shared_core

LENGTH_GROUPS = ((3, 8), (9, 16), (17, 32), (33, 64), (65, 512))
"""Token counts, special tokens included, in each of which parity is checked."""

PARITY_TOLERANCE = 1e-3
"""Largest logit difference that float32 arithmetic in another order explains."""

# Of logits that are large themselves: random weights make hundreds of them.
_RELATIVE_TOLERANCE = 1e-5
_BATCHES = (1, 2, 16)
"""Rows of the batches that parity is checked on, in turn."""

_ATTENTION, _MASK_PORT = "ScaledDotProductAttention", 3

Rows = Sequence[NDArray[np.int32]]
Reference = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""The original's own forward: token ids and mask to logits, float32, shape (rows, labels)."""


@dataclass(frozen=True)
class Parity:
    """How far the IR's logits are from the original's, both in float32.

    :param groups: per length group the texts compared and the largest absolute difference.
    :param way: how the IR was made.
    """

    groups: dict[str, dict[str, float]]
    largest: float
    way: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def torch_reference(model: Any) -> Reference:
    """Give the forward of a torch module, in evaluation mode, on NumPy arrays."""
    torch = require("torch", extra="train")

    def ask(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found = model(torch.from_numpy(ids), torch.from_numpy(mask))
        logits: NDArray[np.float32] = found.float().numpy()
        return logits

    return ask


def to_ir(model: Any, limit: int, accept: Callable[[ov.Model, str], None]) -> ov.Model:
    """Convert a torch classifier by the first way whose IR is accepted.

    The ways: `torch.export` of its forward with dynamic shapes, with the attention that it has,
    with masks that leave no token alone, and with eager attention; tracing with eager attention;
    optimum-intel's exporter.

    :param model: takes `input_ids` and `attention_mask`, gives logits; has `set_attention`, which
        changes the encoder's kind of attention, and `config`, the encoder's.
    :param limit: tokens that it reads at most.
    :param accept: is given each IR and its way, and raises ExportError if it is not exact.
    :return: the IR: inputs `input_ids` and `attention_mask`, int64, shape (rows, tokens), to
        `logits`, float32, shape (rows, labels); rows and tokens are dynamic.
    :raises ExportError: if no way gives an exact IR; names what each came to.
    """
    said = []
    for way, convert in _ways(model, limit):
        try:
            with warnings.catch_warnings(), quiet_transformers():
                warnings.simplefilter("ignore")  # of every branch that depends on a shape
                ir = _named(convert())
            accept(ir, way)
        except OvEmotionsError as error:
            said.append(f"{way}: {error}")
        except Exception as error:  # each raises whatever its passes meet
            said.append(f"{way}: {first_line(error)[:200]}")
        else:
            return ir
    raise ExportError(
        f"encoders of type {model.config.model_type} cannot be exported; " + "; ".join(said)
    )


def _ways(model: Any, limit: int) -> Iterator[tuple[str, Callable[[], ov.Model]]]:
    yield "torch.export", lambda: _export(model, limit)
    yield "torch.export, no token left alone", lambda: _with_company(_export(model, limit))
    model.set_attention("eager")
    yield "torch.export, eager attention", lambda: _export(model, limit)
    yield "tracing, eager attention", lambda: _trace(model)
    yield "optimum-intel", lambda: _optimum(model)


def _example(limit: int = 12) -> tuple[Any, Any]:
    """Make a padded batch; no dimension is 1, which an exporter would take for fixed."""
    torch = require("torch", extra="train")
    width = min(12, limit)
    mask = torch.ones(3, width, dtype=torch.long)
    mask[1, width // 2 :] = 0
    return torch.arange(3 * width).reshape(3, width) % 5 + 5, mask


def _export(model: Any, limit: int) -> ov.Model:
    torch = require("torch", extra="train")
    rows = torch.export.Dim("rows", min=1, max=8192)
    tokens = torch.export.Dim("tokens", min=1, max=limit)
    shapes = {0: rows, 1: tokens}
    with torch.no_grad():
        program = torch.export.export(
            model, _example(limit), dynamic_shapes=(shapes, shapes), strict=False
        )
    return ov.convert_model(program)


def _with_company(model: ov.Model) -> ov.Model:
    """Let tokens that attend to nothing attend to everything.

    With a sliding window, padding far from the text sees nothing but padding. torch gives it 0,
    OpenVINO NaN, which the next layer spreads; what padding comes to does not matter otherwise.
    """
    ops = ov.opset13
    last = ops.constant(np.array([-1], dtype=np.int64))
    for node in model.get_ops():
        if node.get_type_name() == _ATTENTION and node.get_input_size() > _MASK_PORT:
            mask = node.input_value(_MASK_PORT)
            if mask.get_element_type() == ov.Type.boolean:
                alone = ops.logical_not(ops.reduce_logical_or(mask, last, keep_dims=True))
                opened = ops.logical_or(mask, alone)
                node.input(_MASK_PORT).replace_source_output(opened.output(0))
    model.validate_nodes_and_infer_types()
    return model


def _trace(model: Any) -> ov.Model:
    torch = require("torch", extra="train")
    with torch.no_grad():
        given = dict(zip(MODEL_INPUTS, _example(), strict=True))
        return ov.convert_model(model, example_input=given)


def _optimum(model: Any) -> ov.Model:
    export = require("optimum.exporters.openvino.convert", extra="export").export_pytorch
    require("optimum.exporters.openvino.model_configs", extra="export")
    constructor = require(
        "optimum.exporters.tasks", extra="export"
    ).TasksManager.get_exporter_config_constructor(
        exporter="openvino",
        model_type=model.config.model_type,
        task="text-classification",
        library_name="transformers",
    )

    class TwoInputs(getattr(constructor, "func", constructor)):  # type: ignore[misc]
        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            return {name: axes for name, axes in super().inputs.items() if name in MODEL_INPUTS}

    config = TwoInputs(model.config, task="text-classification")
    named = require("ov_emotions.conversion.modules", extra="train").Named(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        export(named, config, path, library_name="transformers")
        # From memory, because the folder goes away under a memory-mapped file.
        return shared_core().read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _named(model: ov.Model) -> ov.Model:
    """Give inputs and output the names that a bundle's have, and dynamic shapes."""
    if len(model.inputs) != len(MODEL_INPUTS) or len(model.outputs) != 1:
        raise ExportError(
            f"the IR has {len(model.inputs)} inputs and {len(model.outputs)} outputs, expected "
            "input_ids and attention_mask, and logits"
        )
    for given, name in zip(model.inputs, MODEL_INPUTS, strict=True):
        if name not in given.get_names():
            given.get_tensor().set_names({name})
        given.get_node().set_friendly_name(name)
        given.get_node().set_element_type(ov.Type.i64)
        given.get_node().set_partial_shape(ov.PartialShape([-1, -1]))
    # Both inputs have one shape; with packed rows only that of the ids is the one of the tokens.
    ids, mask = (given.get_node() for given in model.inputs)
    ahead = [mask.output(0)]
    while ahead:
        for user in ahead.pop().get_target_inputs():
            if user.get_node().get_type_name() == "ShapeOf":
                user.replace_source_output(ids.output(0))
            elif user.get_node().get_type_name() == "Convert":
                ahead.append(user.get_node().output(0))
    model.outputs[0].get_tensor().set_names({"logits"})
    model.validate_nodes_and_infer_types()
    return model


def sample_by_length(ids: Rows, per_group: int, seed: int) -> dict[str, list[NDArray[np.int32]]]:
    """Choose rows of every length group.

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


def padded_batches(rows: Rows, pad_id: int) -> Iterator[EncodedBatch]:
    """Pad rows to batches of several sizes: alone without padding, two by two, many."""
    remaining, sizes = iter(rows), cycle(_BATCHES)
    while part := list(islice(remaining, next(sizes))):
        yield pad(part, pad_id)


class ParityCheck:
    """The original's answers, taken once, for the IRs that are held against them.

    :param groups: what `sample_by_length` gives.
    :param what: names the original in messages.
    """

    def __init__(
        self, reference: Reference, groups: Mapping[str, Rows], pad_id: int, what: str
    ) -> None:
        self._what = what
        self._groups = {
            name: (
                len(rows),
                [
                    (batch, reference(batch.input_ids, batch.attention_mask))
                    for batch in padded_batches(rows, pad_id)
                ],
            )
            for name, rows in groups.items()
        }

    def __call__(self, model: ov.Model, way: str = "") -> Parity:
        """Hold an IR against them.

        :param way: how it was made, for the record.
        :raises ExportError: if one exceeds what float32 arithmetic in another order explains.
        """
        compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found: dict[str, dict[str, float]] = {}
        exact = True
        for name, (texts, batches) in self._groups.items():
            largest = 0.0
            for batch, expected in batches:
                logits = compiled(batch.inputs())["logits"]
                if logits.shape != expected.shape:
                    raise ExportError(
                        f"the IR of {self._what} gives logits of shape {logits.shape}, the "
                        f"original {expected.shape}"
                    )
                difference = float(np.abs(expected - logits).max())
                allowed = PARITY_TOLERANCE + _RELATIVE_TOLERANCE * float(np.abs(expected).max())
                exact &= difference <= allowed  # a NaN is not
                largest = float(np.maximum(largest, difference))  # a NaN stays one
            found[name] = {"texts": texts, "largest_difference": largest}
        parity = Parity(
            found, float(np.max([g["largest_difference"] for g in found.values()])), way
        )
        if not exact:
            raise ExportError(
                f"the IR of {self._what} differs from the original by {parity.largest:.2e} in a "
                f"logit, more than {PARITY_TOLERANCE:.0e}: {found}"
            )
        return parity


# Graphs that optimum wrote, OpenVINO or ONNX


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
