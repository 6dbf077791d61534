"""INT8 tables of embeddings that are looked up before they are dequantized."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.quantization.ptq import look_up_before_dequantizing
from ov_emotions.system import shared_core

ROWS, WIDTH = 50, 8


def a_model(*, scale_shape: tuple[int, ...] = (ROWS, 1), axis: int = 0) -> ov.Model:
    rng = np.random.default_rng(5)
    ids = ops.parameter([-1, -1], np.int64, name="ids")
    table = ops.constant(rng.integers(-127, 128, (ROWS, WIDTH)).astype(np.int8))
    scale = ops.constant(rng.random(scale_shape).astype(np.float32))
    found = ops.gather(
        ops.multiply(ops.convert(table, "f32"), scale), ids, ops.constant(np.int64(axis))
    )
    return ov.Model([ops.result(found)], [ids], "table")


def test_outputs_are_equal_to_the_bit() -> None:
    ids = np.array([[0, 3, 49], [7, 7, 1]])
    before = shared_core().compile_model(a_model(), "CPU")(ids)[0]
    model = a_model()
    assert look_up_before_dequantizing(model) == 1
    after = shared_core().compile_model(model, "CPU")(ids)[0]
    assert before.shape == (2, 3, WIDTH)
    np.testing.assert_array_equal(after, before)
    assert look_up_before_dequantizing(model) == 0, "once is enough"


@pytest.mark.parametrize(
    "model",
    [
        a_model(scale_shape=(1, 1)),
        a_model(scale_shape=(ROWS, WIDTH)),
        a_model(scale_shape=(1, WIDTH)),
        a_model(axis=1),
    ],
)
def test_other_lookups_are_left_alone(model: ov.Model) -> None:
    before = [node.get_type_name() for node in model.get_ordered_ops()]
    assert look_up_before_dequantizing(model) == 0
    assert [node.get_type_name() for node in model.get_ordered_ops()] == before


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_look_up_in_int8(name: str) -> None:
    model = shared_core().read_model(Bundle.load(name).model_path)
    tables = [
        node.input_value(0).get_element_type().to_string()
        for node in model.get_ops()
        if node.get_type_name() == "Gather"
        and node.input_value(0).get_node().get_type_name() == "Constant"
        and node.input_value(0).get_partial_shape().rank.get_length() == 2
        and node.input_value(0).get_shape()[1] > 1
    ]
    assert tables == ["i8"] * 3, "of words, positions and kinds"
    assert look_up_before_dequantizing(model) == 0
