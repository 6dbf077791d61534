"""The model of packed rows: that it says what the other says, or is not made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ov_emotions.bundle import Bundle, shipped
from ov_emotions.runtime.packed_graph import UnpackableError, pack_graph

TINY = "emotions-ru-tiny"

POSITIONS = 512
"""Rows of the table of positions."""


@pytest.fixture
def graph() -> Any:
    bundle = Bundle.load(shipped(TINY))
    return ov.Core().read_model(bundle.model_path)


def attention_of(model: ov.Model) -> list[Any]:
    found = [n for n in model.get_ops() if n.get_type_name() == "ScaledDotProductAttention"]
    assert found
    return found


def _additive_mask(model: ov.Model) -> None:
    node = attention_of(model)[0]
    mask = node.input_value(3)
    added = ops.multiply(ops.convert(mask, "f32"), ops.constant(np.float32(-1e4)))
    for one in attention_of(model):
        one.input(3).replace_source_output(added.output(0))


def _local_mask(model: ov.Model) -> None:
    """Let the last layer see only what is near, as some models do."""
    node = attention_of(model)[-1]
    near = np.abs(np.arange(96)[:, None] - np.arange(96)) < 40
    tokens = ops.gather(ops.shape_of(node.input_value(3)), ops.constant([3]), ops.constant(0))
    cut = ops.slice(
        ops.constant(near),
        ops.constant([0, 0]),
        ops.concat([tokens, tokens], 0),
        ops.constant([1, 1]),
    )
    masked = ops.logical_and(node.input_value(3), cut)
    node.input(3).replace_source_output(masked.output(0))


def _no_positions(model: ov.Model) -> None:
    for node in model.get_ops():
        shape = node.get_input_partial_shape(0) if node.get_type_name() == "Gather" else None
        if shape is not None and shape.rank == 2 and shape[0] == POSITIONS:
            row = ops.constant(np.zeros((1, 1, shape[1].get_length()), np.float32))
            row = ops.convert(row, node.get_element_type().to_string())
            for target in list(node.output(0).get_target_inputs()):
                target.replace_source_output(row.output(0))


def _second_source(model: ov.Model) -> None:
    """Let the answer depend on an inner layer beside the last one."""
    (result,) = model.get_results()
    inner = attention_of(model)[0]
    mean = ops.reduce_mean(inner, ops.constant([1, 2, 3]), keep_dims=False)
    beside = ops.add(result.input_value(0), ops.unsqueeze(mean, ops.constant(1)))
    result.input(0).replace_source_output(beside.output(0))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_additive_mask, "not masked by yes and no"),
        (_local_mask, "does not look at the whole text alike"),
        (_no_positions, "positions come from 0 places"),
        (_second_source, "other sources than its last states"),
    ],
)
def test_graphs_of_other_kinds_are_refused(
    graph: Any, change: Callable[[Any], None], why: str
) -> None:
    change(graph)
    graph.validate_nodes_and_infer_types()
    with pytest.raises(UnpackableError, match=why):
        pack_graph(graph, 96)


def test_a_graph_with_other_inputs_is_refused(graph: Any) -> None:
    for port in graph.inputs:
        port.get_tensor().set_names({"other"})
    with pytest.raises(UnpackableError, match="no input input_ids"):
        pack_graph(graph, 96)
