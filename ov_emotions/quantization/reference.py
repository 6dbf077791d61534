"""The original: a checkpoint run by torch, to hold an IR's answers and speed against."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ov_emotions._extras import require
from ov_emotions.thresholds import sigmoid

TorchPrecision = Literal["fp32", "bf16", "fp16"]


class TorchClassifier:
    """A checkpoint in torch: sorted by length, padded to a batch's longest.

    :param checkpoint: a checkpoint folder.
    :param device: cpu or cuda.
    :param precision: of weights and arithmetic.
    :raises CheckpointError: if the checkpoint cannot be used.
    """

    def __init__(
        self, checkpoint: Path, device: str = "cpu", precision: TorchPrecision = "fp32"
    ) -> None:
        torch = require("torch", extra="train")
        checkpoints = require("ov_emotions.training.checkpoint", extra="train")
        devices = require("ov_emotions.training.device", extra="train")
        models = require("ov_emotions.training.model", extra="train")
        dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        self._device = devices.Device(torch.device(device), autocast=False)
        self._model = models.EmotionModel.load(checkpoint).to(device, dtypes[precision])
        self._tokenizer = checkpoints.load_tokenizer(str(checkpoint))
        self._max_length = checkpoints.read_checkpoint_facts(checkpoint)["max_length"]
        self._pad_id = int(self._model.config.pad_token_id or 0)

    def predict_proba(self, texts: list[str]) -> NDArray[np.float32]:
        """Score texts.

        :param texts: raw texts.
        :return: float32, shape (texts, labels).
        """
        batches = require("ov_emotions.training.batches", extra="train")
        devices = require("ov_emotions.training.device", extra="train")
        ids = batches.tokenize(self._tokenizer, texts, self._max_length)
        return sigmoid(
            devices.predict_logits(self._model, ids, self._pad_id, self._device, batch_size=64)
        )
