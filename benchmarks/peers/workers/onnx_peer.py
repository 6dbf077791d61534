"""ONNX Runtime: a session with the tokenizers library before it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer
from worker import Loaded, batched, sigmoid


def load_tokenizer(path: str, max_length: int, pad_id: int) -> Tokenizer:
    """Load a tokeniser that pads to a batch's longest text and cuts at the model's length."""
    tokenizer = Tokenizer.from_file(path)
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(pad_id=pad_id)
    return tokenizer


def build(options: Mapping[str, Any]) -> Loaded:
    """Load a model.

    :param options: `model` (.onnx), `tokenizer` (file), `pad_id`, `max_length`, `labels`,
        `thresholds`.
    :return: the ways `dynamic` and `sorted`.
    """
    settings = onnxruntime.SessionOptions()
    # Of itself it counts the machine's cores, not those that the process may use.
    settings.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(
        options["model"], settings, providers=["CPUExecutionProvider"]
    )
    tokenizer = load_tokenizer(options["tokenizer"], options["max_length"], options["pad_id"])

    def probabilities(texts: list[str]) -> Any:
        encoded = tokenizer.encode_batch(texts)
        given = {
            "input_ids": np.array([e.ids for e in encoded], dtype=np.int64),
            "attention_mask": np.array([e.attention_mask for e in encoded], dtype=np.int64),
        }
        return sigmoid(session.run(["logits"], given)[0])

    return Loaded(
        {
            "dynamic": batched(probabilities, options),
            "sorted": batched(probabilities, options, by_length=True),
        }
    )
