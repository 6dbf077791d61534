"""Quantization by NNCF, what it is calibrated on, and INT8 tables looked up before dequantizing."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.errors import AlreadyQuantizedError, QuantizationError
from ov_emotions.quantization.ptq import (
    compile_exactly,
    embedding_names,
    feed,
    is_quantized,
    look_up_before_dequantizing,
    quantize,
    stratified_rows,
)
from ov_emotions.quantization.recipe import PtqConfig
from ov_emotions.system import shared_core

ROWS, WIDTH = 50, 8


@pytest.fixture(scope="module")
def ids():
    rng = np.random.default_rng(0)
    return [rng.integers(4, 40, length).astype(np.int32) for length in rng.integers(3, 12, 12)]


@pytest.fixture(scope="module")
def nncf_or_skip():
    return pytest.importorskip("nncf", reason="quantization needs nncf", exc_type=ImportError)


needs_nncf = pytest.mark.usefixtures("nncf_or_skip")


def _tables(model: ov.Model) -> list[str]:
    """Element types of the tables that rows are looked up in, through their conversion."""
    kinds = []
    for node in model.get_ops():
        if node.get_type_name() != "Gather":
            continue
        source = node.input_value(0).get_node()
        while source.get_input_size():
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Constant" and len(source.get_output_shape(0)) == 2:
            kinds.append(source.get_output_element_type(0).get_type_name())
    return kinds


def _looking_up(*, scale_shape: tuple[int, ...] = (ROWS, 1), axis: int = 0) -> ov.Model:
    rng = np.random.default_rng(5)
    ids = ops.parameter([-1, -1], np.int64, name="ids")
    table = ops.constant(rng.integers(-127, 128, (ROWS, WIDTH)).astype(np.int8))
    scale = ops.constant(rng.random(scale_shape).astype(np.float32))
    found = ops.gather(
        ops.multiply(ops.convert(table, "f32"), scale), ids, ops.constant(np.int64(axis))
    )
    return ov.Model([ops.result(found)], [ids], "table")


def test_a_float_model_is_not_taken_for_a_quantized_one(build_tiny_model):
    model = build_tiny_model()
    assert not is_quantized(model)
    assert is_quantized(_looking_up())
    kinds = {op.get_friendly_name(): op.get_type_name() for op in model.get_ops()}
    assert [kinds[name] for name in embedding_names(model)] == ["Gather"]


@needs_nncf
@pytest.mark.parametrize(("embeddings", "kind"), [(True, "i8"), (False, "f32")])
def test_products_become_int8_and_embeddings_if_they_are_to(
    build_tiny_model, ids, capfd, embeddings, kind
):
    model = build_tiny_model()
    log = logging.getLogger("nncf")
    before = log.level
    quantized, record = quantize(model, ids, PtqConfig(subset_size=12, embeddings=embeddings))
    assert capfd.readouterr().out == ""
    assert log.level == before
    assert _tables(quantized) == [kind]
    assert is_quantized(quantized)
    assert not is_quantized(model)
    assert record["calibration_texts"] == 12
    assert record["fake_quantize_operations"] >= 1
    expected, got = (compile_exactly(m)(feed(ids[0]))["logits"] for m in (model, quantized))
    assert 0 < np.abs(expected - got).max() < 0.3
    with pytest.raises(AlreadyQuantizedError, match="fp32 bundle"):
        quantize(quantized, ids, PtqConfig())


@needs_nncf
def test_what_cannot_be_calibrated_with_is_a_quantization_error(build_tiny_model):
    with pytest.raises(QuantizationError, match="no calibration texts"):
        quantize(build_tiny_model(), [], PtqConfig())
    model = build_tiny_model(outputs=2)
    for port, name in zip(model.inputs, ("other", "mask"), strict=True):
        port.get_tensor().set_names({name})
    with pytest.raises(QuantizationError, match="NNCF could not quantize"):
        quantize(model, [np.array([10**6], dtype=np.int32)], replace(PtqConfig(), subset_size=2))


# The calibration subset


def test_a_rare_label_is_as_often_in_the_sample_as_a_frequent_one():
    targets = np.zeros((1000, 2), dtype=np.int8)
    targets[:500, 0] = 1
    targets[500:520, 1] = 1
    rows = stratified_rows(targets, 60, seed=1)
    assert (targets[rows] == 1).sum(axis=0).tolist() == [20, 20]
    assert (rows >= 520).sum() == 20, "rows without a label take part"


@given(
    st.integers(1, 40).flatmap(
        lambda rows: hnp.arrays(np.int8, (rows, 3), elements=st.integers(-1, 1))
    ),
    st.integers(1, 50),
)
@settings(deadline=None)
def test_as_many_rows_as_asked_for_come_sorted_and_once(targets, size):
    rows = stratified_rows(targets, size, seed=0)
    assert len(rows) == min(size, len(targets))
    assert (np.diff(rows) > 0).all()
    assert ((rows >= 0) & (rows < len(targets))).all()


# Tables looked up before they are dequantized


def test_outputs_are_equal_to_the_bit() -> None:
    ids = np.array([[0, 3, 49], [7, 7, 1]])
    model = _looking_up()
    before = shared_core().compile_model(model, "CPU")(ids)[0]
    assert look_up_before_dequantizing(model) == 1
    after = shared_core().compile_model(model, "CPU")(ids)[0]
    assert before.shape == (2, 3, WIDTH)
    np.testing.assert_array_equal(after, before)
    assert look_up_before_dequantizing(model) == 0, "once is enough"


@pytest.mark.parametrize(
    "shape", [{"scale_shape": s} for s in ((1, 1), (ROWS, WIDTH), (1, WIDTH))] + [{"axis": 1}]
)
def test_other_lookups_are_left_alone(shape) -> None:
    model = _looking_up(**shape)
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
