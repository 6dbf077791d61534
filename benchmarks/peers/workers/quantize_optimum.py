"""A converted checkpoint as optimum-intel exports it, in fp32, and as it quantizes it to INT8.

    PYTHON quantize_optimum.py FOLDER OUTPUT TEXTS.json MAX_LENGTH

OUTPUT gets the folders fp32 and int8; the latter is calibrated on the texts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nncf
import numpy as np
from optimum.intel import OVConfig, OVModelForSequenceClassification, OVQuantizer
from optimum.intel.openvino import OVQuantizationConfig
from transformers import AutoTokenizer


def main() -> None:
    """Write both."""
    folder, output, texts = map(Path, sys.argv[1:4])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = OVModelForSequenceClassification.from_pretrained(
        folder, export=True, trust_remote_code=True, compile=False, load_in_8bit=False
    )
    model.save_pretrained(output / "fp32")
    tokenizer.save_pretrained(output / "fp32")
    rows = []
    for text in json.loads(texts.read_text(encoding="utf-8")):
        ids = tokenizer(text, truncation=True, max_length=int(sys.argv[4]), return_tensors="np")
        given = {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"]}
        # The tokeniser gives none; an input that is not set has any shape.
        given["token_type_ids"] = np.zeros_like(ids["input_ids"])
        rows.append({name: given[name] for name in model.input_names})
    config = OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(rows)))
    OVQuantizer.from_pretrained(model).quantize(
        calibration_dataset=nncf.Dataset(rows), ov_config=config, save_directory=output / "int8"
    )
    tokenizer.save_pretrained(output / "int8")


if __name__ == "__main__":
    main()
