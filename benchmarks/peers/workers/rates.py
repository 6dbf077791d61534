"""How many multiply-adds a second the machine does in one large matrix product, by OpenVINO."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from worker import Loaded

SHAPES = ((512, 1024, 4096), (1024, 1024, 1024), (1024, 4096, 1024), (2048, 2048, 2048))
"""Rows, inner width, columns: what encoders have, and a square."""
PRECISIONS = ("int8", "bf16", "f32")
LEVELS = 256


def build(options: Mapping[str, Any]) -> Loaded:
    """Compile a product of every shape and precision.

    :param options: `seconds` for each of them.
    :return: no ways; the report has the highest rate of each precision.
    """
    rng = np.random.default_rng(0)
    products = {
        (precision, shape): _compile(precision, shape, rng)
        for precision in PRECISIONS
        for shape in SHAPES
    }

    def report() -> dict[str, Any]:
        rates: dict[str, dict[str, float]] = {precision: {} for precision in PRECISIONS}
        for (precision, shape), (request, given) in products.items():
            name = " x ".join(map(str, shape))
            rates[precision][name] = _rate(request, given, shape, options["seconds"])
        return {
            "macs_per_second": {name: max(found.values()) for name, found in rates.items()},
            "by_shape": rates,
        }

    return Loaded({}, report=report)


def _compile(precision: str, shape: tuple[int, int, int], rng: Any) -> tuple[Any, Any]:
    rows, inner, columns = shape
    given = ops.parameter([rows, inner], np.float32)
    weights = rng.uniform(-1, 1, (inner, columns)).astype(np.float32)
    left: Any = given
    right: Any = ops.constant(weights)
    if precision == "int8":
        left = _quantized(left, -1.0, 127 / 128, LEVELS)
        right = _quantized(right, -1.0, 1.0, LEVELS - 1)
    product = ops.matmul(left, right, False, False)
    # Reduced, so that the rate is of the product and not of writing and copying its result.
    model = ov.Model([ops.reduce_max(product, np.array([1]), False)], [given])
    hint = "bf16" if precision == "bf16" else "f32"
    compiled = ov.Core().compile_model(
        model, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    )
    values = rng.uniform(-1, 1, (rows, inner)).astype(np.float32)
    return compiled.create_infer_request(), values


def _quantized(node: Any, low: float, high: float, levels: int) -> Any:
    limits = [np.array(v, dtype=np.float32) for v in (low, high, low, high)]
    return ops.fake_quantize(node, *limits, levels)


def _rate(request: Any, given: Any, shape: tuple[int, int, int], seconds: float) -> float:
    rows, inner, columns = shape
    request.infer([given], share_inputs=True)
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        request.infer([given], share_inputs=True)
        best = min(best, time.perf_counter() - begun)
    return float(rows * inner * columns / best)
