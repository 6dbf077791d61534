"""Weights alone made small: stored in integers, multiplied in float."""

from __future__ import annotations

import time
import warnings
from typing import Any

import openvino as ov

from ov_emotions.errors import QuantizationError
from ov_emotions.quantization.ptq import refuse_quantized
from ov_emotions.quantization.recipe import Compression
from ov_emotions.system import quiet_nncf, require

_SMALLEST_GROUP = 8
"""Rows of 312, which small encoders have, divide by 8 and by no larger power of two."""


def compress_weights(model: ov.Model, config: Compression) -> tuple[ov.Model, dict[str, Any]]:
    """Compress the weights of an fp32 IR.

    :param model: the fp32 IR; left as it is.
    :param config: how.
    :return: the compressed IR, and the record of what was done.
    :raises AlreadyQuantizedError: if the model was quantized before.
    :raises QuantizationError: if NNCF fails.
    """
    refuse_quantized(model)
    with warnings.catch_warnings(), quiet_nncf():
        warnings.simplefilter("ignore")
        nncf = require("nncf", extra="quantize")
        advanced = require("nncf.quantization.advanced_parameters", extra="quantize")
        four_bit = {}
        if config.mode.startswith("int4"):
            four_bit = {
                "ratio": config.ratio,
                "group_size": config.group_size,
                "advanced_parameters": advanced.AdvancedCompressionParameters(
                    group_size_fallback_mode=advanced.GroupSizeFallbackMode.ADJUST,
                    min_adjusted_group_size=_SMALLEST_GROUP,
                ),
            }
        started = time.monotonic()
        try:
            compressed = nncf.compress_weights(
                model.clone(), mode=nncf.CompressWeightsMode(config.mode), **four_bit
            )
        except Exception as error:  # NNCF raises whatever its graph passes meet
            raise QuantizationError(f"NNCF could not compress the weights: {error}") from error
    return compressed, {
        "mode": config.mode,
        "ratio": config.ratio,
        "group_size": config.group_size,
        "seconds": round(time.monotonic() - started, 1),
        "nncf": nncf.__version__,
        "openvino": ov.__version__,
    }
