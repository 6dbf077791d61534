"""INT8 of an ONNX model by ONNX Runtime's own quantization, dynamic and static.

    PYTHON quantize_onnx.py MODEL.onnx OUTPUT TOKENIZER.json TEXTS.json MAX_LENGTH PAD_ID

OUTPUT gets dynamic.onnx and static.onnx; the latter is calibrated on the texts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx_peer import load_tokenizer
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

# Products alone, as ONNX Runtime advises for transformers; an embedding table is looked up in
# float by both runtimes' recipes.
OPERATIONS = ["MatMul", "Gemm"]


class Texts(CalibrationDataReader):  # type: ignore[misc]
    """Texts one by one, without padding."""

    def __init__(self, texts: list[str], tokenizer: Any) -> None:
        self._left = iter(texts)
        self._tokenizer = tokenizer

    def get_next(self) -> dict[str, Any] | None:
        """Return the next text's arrays, None at the end."""
        text = next(self._left, None)
        if text is None:
            return None
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def main() -> None:
    """Write both."""
    model, output, tokenizer, texts = map(Path, sys.argv[1:5])
    max_length, pad_id = map(int, sys.argv[5:7])
    output.mkdir(parents=True, exist_ok=True)
    prepared = output / "prepared.onnx"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_dynamic(
        prepared,
        output / "dynamic.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
        op_types_to_quantize=OPERATIONS,
    )
    reader = Texts(
        json.loads(texts.read_text(encoding="utf-8")),
        load_tokenizer(str(tokenizer), max_length, pad_id),
    )
    quantize_static(
        prepared,
        output / "static.onnx",
        reader,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
        op_types_to_quantize=OPERATIONS,
    )
    prepared.unlink()


if __name__ == "__main__":
    main()
