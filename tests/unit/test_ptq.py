from __future__ import annotations

import dataclasses
import logging

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from ov_emotions.errors import AlreadyQuantizedError, QuantizationError
from ov_emotions.quantization.ptq import embedding_names, is_quantized, quantize
from ov_emotions.quantization.recipe import PtqConfig


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subset_size", 0),
        ("preset", "fast"),
        ("smooth_quant_alpha", 1.1),
        ("smooth_quant_alpha", -0.5),
        ("smooth_quant_alpha", float("nan")),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(QuantizationError, match=name):
        PtqConfig(**{name: value})


def test_smooth_quant_can_be_switched_off():
    assert PtqConfig(smooth_quant_alpha=-1).to_dict()["smooth_quant_alpha"] == -1


def test_a_float_model_is_not_taken_for_a_quantized_one(build_tiny_model):
    assert not is_quantized(build_tiny_model())


def test_integer_weights_are_recognised():
    table = ops.constant(np.ones((8, 4), dtype=np.int8))
    ids = ops.parameter([-1], np.int64)
    scaled = ops.multiply(ops.convert(table, "f32"), ops.constant(np.float32(0.1)))
    rows = ops.gather(scaled, ids, ops.constant(np.int64(0)))
    assert is_quantized(ov.Model([ops.result(rows)], [ids], "compressed"))


def test_the_embedding_table_is_found_by_what_it_does(build_tiny_model):
    model = build_tiny_model()
    kinds = {op.get_friendly_name(): op.get_type_name() for op in model.get_ops()}
    assert [kinds[name] for name in embedding_names(model)] == ["Gather"]


@needs_nncf
def test_embeddings_and_products_become_int8(build_tiny_model, ids, capfd):
    model = build_tiny_model()
    quantized, record = quantize(model, ids, PtqConfig(subset_size=12))
    assert capfd.readouterr().out == ""
    assert _tables(quantized) == ["i8"]
    assert is_quantized(quantized)
    assert not is_quantized(model)
    assert record["calibration_texts"] == 12
    assert record["fake_quantize_operations"] >= 1
    with pytest.raises(AlreadyQuantizedError, match="fp32 bundle"):
        quantize(quantized, ids, PtqConfig())


@needs_nncf
def test_embeddings_can_be_left_in_float(build_tiny_model, ids):
    quantized, _ = quantize(build_tiny_model(), ids, PtqConfig(embeddings=False))
    assert _tables(quantized) == ["f32"]
    assert is_quantized(quantized)


@needs_nncf
def test_int8_logits_are_close_to_float_ones(build_tiny_model, ids):
    model = build_tiny_model()
    quantized, _ = quantize(model, ids, PtqConfig())
    core = ov.Core()
    row = ids[0].astype(np.int64)[None]
    feed = {"input_ids": row, "attention_mask": np.ones_like(row)}
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    expected, got = (
        core.compile_model(m, "CPU", options)(feed)["logits"] for m in (model, quantized)
    )
    assert 0 < np.abs(expected - got).max() < 0.3


@needs_nncf
def test_no_calibration_texts_are_refused(build_tiny_model):
    with pytest.raises(QuantizationError, match="no calibration texts"):
        quantize(build_tiny_model(), [], PtqConfig())


@needs_nncf
def test_what_nncf_refuses_is_a_quantization_error(build_tiny_model):
    out_of_table = [np.array([10**6], dtype=np.int32)]
    model = build_tiny_model(outputs=2)
    for port, name in zip(model.inputs, ("other", "mask"), strict=True):
        port.get_tensor().set_names({name})
    with pytest.raises(QuantizationError, match="NNCF could not quantize"):
        quantize(model, out_of_table, PtqConfig())


@needs_nncf
def test_nncf_log_level_is_put_back(build_tiny_model, ids):
    log = logging.getLogger("nncf")
    before = log.level
    quantize(build_tiny_model(), ids, dataclasses.replace(PtqConfig(), subset_size=2))
    assert log.level == before
