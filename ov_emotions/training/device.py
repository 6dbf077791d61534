"""Where a model computes, in what precision, and running it over many rows there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ov_emotions.errors import TrainingError
from ov_emotions.system import cpu_flags
from ov_emotions.training.batches import by_length, collate
from ov_emotions.training.model import EmotionModel


@dataclass(frozen=True)
class Device:
    """Where a run computes, and in what.

    :param torch_device: cuda or cpu.
    :param autocast: whether matrix products run in half precision.
    :param half: in which one: bfloat16 or float16.
    """

    torch_device: torch.device
    autocast: bool
    half: torch.dtype = torch.bfloat16

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Return the autocast context, or one that does nothing."""
        if not self.autocast:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, self.half)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what scales the loss for float16, or does nothing."""
        scaled = self.autocast and self.half == torch.float16
        return torch.amp.GradScaler(self.torch_device.type, enabled=scaled)

    @property
    def precision(self) -> str:
        """What it is called in a checkpoint's facts."""
        if not self.autocast:
            return "fp32"
        return f"{'fp16' if self.half == torch.float16 else 'bf16'} autocast"


def choose_device(device: str, precision: str) -> Device:
    """Resolve `auto`.

    :param device: auto, cpu, cuda or cuda:N.
    :param precision: auto, fp32, bf16 or fp16.
    :return: the device; bf16 is chosen where the hardware multiplies it.
    :raises TrainingError: if there is no such device, or it has no fp16 training.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise TrainingError(f"device {device!r} is none of auto, cpu, cuda, cuda:N") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise TrainingError(
            f"device {device} was asked for, but this machine has {torch.cuda.device_count()} "
            "CUDA devices; leave it at auto, or say cpu"
        )
    if precision == "fp16":
        if chosen.type != "cuda":
            raise TrainingError(f"precision fp16 needs CUDA; on {chosen.type} take bf16 or auto")
        return Device(chosen, True, torch.float16)
    if precision == "auto":
        if chosen.type == "cuda":
            fast = torch.cuda.is_bf16_supported()
        else:
            fast = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not {
                "avx512_bf16",
                "amx_bf16",
            }.isdisjoint(cpu_flags())
        precision = "bf16" if fast else "fp32"
    return Device(chosen, precision == "bf16")


def predict_logits(
    model: EmotionModel,
    ids: list[NDArray[np.int32]],
    pad_id: int,
    device: Device,
    batch_size: int = 128,
) -> NDArray[np.float32]:
    """Run a model over tokenised rows.

    :param model: put into evaluation mode, and back.
    :param ids: token ids per row.
    :param pad_id: id of the padding token.
    :param device: where the model is.
    :param batch_size: rows at a time.
    :return: float32, shape (rows, labels), in the order of `ids`.
    """
    was_training = model.training
    model.eval()
    logits = np.zeros((len(ids), model.head.labels), dtype=np.float32)
    with torch.inference_mode(), device.context():
        for rows in by_length(ids, batch_size):
            batch = collate(ids, rows, pad_id)
            out = model(
                batch.input_ids.to(device.torch_device),
                batch.attention_mask.to(device.torch_device),
            )
            logits[rows] = out.float().cpu().numpy()
    model.train(was_training)
    return logits
