"""INT8 post-training quantization with NNCF: matrix products by calibration, embeddings by rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions._extras import require
from ov_emotions._quiet import quiet_nncf
from ov_emotions.errors import AlreadyQuantizedError, QuantizationError


@dataclass(frozen=True)
class PtqConfig:
    """How a model is quantized.

    :param subset_size: calibration texts.
    :param preset: `mixed` keeps activations asymmetric, which transformers need; `performance`
        makes all symmetric.
    :param smooth_quant_alpha: how much of the activations' range SmoothQuant moves into the
        weights, in [0, 1]; -1 switches it off.
    :param embeddings: store embedding tables in INT8 too, one scale a row.
    :param seed: of the calibration subset.
    """

    subset_size: int = 300
    preset: Literal["mixed", "performance"] = "mixed"
    smooth_quant_alpha: float = 0.95
    embeddings: bool = True
    seed: int = 20261122

    def __post_init__(self) -> None:
        if self.subset_size < 1:
            raise QuantizationError(f"subset_size must be at least 1, not {self.subset_size}")
        if self.preset not in ("mixed", "performance"):
            raise QuantizationError(f"preset must be mixed or performance, not {self.preset!r}")
        if self.smooth_quant_alpha != -1 and not 0 <= self.smooth_quant_alpha <= 1:
            raise QuantizationError(
                f"smooth_quant_alpha must be in [0, 1] or -1, not {self.smooth_quant_alpha}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def is_quantized(model: ov.Model) -> bool:
    """Tell whether a model was quantized or weight-compressed before.

    :param model: an IR.
    :return: whether it holds quantizers or low-precision weights.
    """
    low = ("i8", "u8", "i4", "u4", "nf4", "f8e4m3", "f8e5m2")
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind == "FakeQuantize":
            return True
        if kind == "Constant" and node.get_output_size() == 1:
            small = node.get_output_element_type(0).get_type_name() in low
            # Masks and flags are small integers too; weights are matrices.
            if small and len(node.get_output_shape(0)) >= 2 and _feeds_convert(node):
                return True
    return False


def _feeds_convert(node: Any) -> bool:
    return any(
        consumer.get_node().get_type_name() == "Convert"
        for consumer in node.output(0).get_target_inputs()
    )


def embedding_names(model: ov.Model) -> list[str]:
    """Name the operations that look rows up in a table of weights.

    :param model: an fp32 IR.
    :return: friendly names of its Gather operations on constant matrices.
    """
    return [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "Gather"
        and node.input_value(0).get_node().get_type_name() == "Constant"
        and len(node.input_value(0).get_partial_shape()) == 2
    ]


def quantize(
    model: ov.Model, ids: Sequence[NDArray[np.int32]], config: PtqConfig
) -> tuple[ov.Model, dict[str, Any]]:
    """Quantize an fp32 IR.

    SmoothQuant is of Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization
    for Large Language Models" (2023).

    :param model: the fp32 IR; left as it is.
    :param ids: token ids of the calibration texts, one text a sample, no padding.
    :param config: how.
    :return: the quantized IR, and the record of what was done.
    :raises AlreadyQuantizedError: if the model was quantized before.
    :raises QuantizationError: if NNCF fails.
    """
    if is_quantized(model):
        raise AlreadyQuantizedError(
            "the model is already quantized; quantize the fp32 bundle it came from"
        )
    if not ids:
        raise QuantizationError("there are no calibration texts")
    with warnings.catch_warnings(), quiet_nncf():
        warnings.simplefilter("ignore")
        nncf = require("nncf", extra="quantize")
        smooth = require("nncf.quantization.advanced_parameters", extra="quantize")
        started = time.monotonic()
        try:
            quantized = nncf.quantize(
                model.clone(),
                nncf.Dataset(ids, _feed),
                preset=nncf.QuantizationPreset(config.preset),
                model_type=nncf.ModelType.TRANSFORMER,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(ids),
                ignored_scope=nncf.IgnoredScope(
                    names=[] if config.embeddings else embedding_names(model)
                ),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    smooth_quant_alphas=smooth.AdvancedSmoothQuantParameters(
                        matmul=config.smooth_quant_alpha
                    )
                ),
            )
        except Exception as error:  # NNCF raises whatever its graph passes meet
            raise QuantizationError(f"NNCF could not quantize the model: {error}") from error
    kinds = [node.get_type_name() for node in quantized.get_ops()]
    return quantized, {
        **config.to_dict(),
        "calibration_texts": len(ids),
        "fake_quantize_operations": kinds.count("FakeQuantize"),
        "seconds": round(time.monotonic() - started, 1),
        "nncf": nncf.__version__,
        "openvino": ov.__version__,
    }


def _feed(ids: NDArray[np.int32]) -> dict[str, NDArray[np.int64]]:
    row = ids.astype(np.int64)[np.newaxis]
    return {"input_ids": row, "attention_mask": np.ones_like(row)}
