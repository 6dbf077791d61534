"""A checkpoint run by torch: the original that an IR's answers and speed are held against."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.encoding import EncodedTexts, TextEncoder
from ov_emotions.errors import InputError
from ov_emotions.runtime.models import in_order
from ov_emotions.schema import LongTexts, check_count
from ov_emotions.system import require

TorchPrecision = Literal["fp32", "bf16", "fp16"]


class CheckpointClassifier(EmotionClassifier):
    """An `EmotionClassifier` that runs a training checkpoint in torch.

    :param device: cpu or cuda.
    :param precision: of weights and arithmetic.
    :param batch_tokens: tokens of a batch at most, padding included.
    :raises CheckpointError: if the checkpoint cannot be used.
    """

    def __init__(
        self,
        checkpoint: Path,
        device: str = "cpu",
        precision: TorchPrecision = "fp32",
        *,
        long_texts: LongTexts = "window",
        batch_tokens: int = 2048,
    ) -> None:
        checkpoint = checkpoint.absolute()
        self._made_of_checkpoint = partial(
            type(self),
            checkpoint,
            device,
            precision,
            long_texts=long_texts,
            batch_tokens=batch_tokens,
        )
        self._torch = torch = require("torch", extra="train")
        checkpoints = require("ov_emotions.training.checkpoint", extra="train")
        models = require("ov_emotions.training.model", extra="train")
        dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        facts = checkpoints.read_checkpoint_facts(checkpoint)
        self._model = models.EmotionModel.load(checkpoint).to(device, dtypes[precision])
        self._batch_tokens = check_count("batch_tokens", batch_tokens)
        self.folder = checkpoint
        self._bundle = None
        self._label_names_ru: dict[str, str] = dict(facts.label_names_ru)
        self._labels = tuple(facts.labels)
        self._thresholds = {label: float(facts.thresholds[label]) for label in self._labels}
        self._long_texts = long_texts
        self._encoder = TextEncoder(
            checkpoints.load_tokenizer(str(checkpoint)), facts.max_length, long_texts
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made_of_checkpoint, ()

    def _infer(self, encoded: EncodedTexts, streams: int | None = None) -> NDArray[np.float32]:
        del streams  # PyTorch shares its threads out by itself
        torch = self._torch
        device = next(self._model.parameters()).device
        groups = encoded.groups(self._batch_tokens)
        found = []
        with torch.inference_mode():
            for batch in encoded.batches(groups):
                ids, mask = (
                    torch.from_numpy(array).to(device)
                    for array in (batch.input_ids, batch.attention_mask)
                )
                found.append(self._model(ids, mask).float().cpu().numpy())
        return in_order(groups, found)

    def warm_up(self) -> None:
        """Do nothing: there is one model."""

    def close(self) -> None:
        """Let go of nothing: the weights go with their last user."""

    @property
    def label_names_ru(self) -> dict[str, str]:
        """Russian name by label; a copy."""
        return dict(self._label_names_ru)

    def _no_bundle(self) -> InputError:
        return InputError(
            f"{self.folder} is a checkpoint, not a bundle; run `ov-emotions export` on it"
        )
