"""Where a model computes, and in what precision."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from ov_emotions.errors import TrainingError
from ov_emotions.training.settings import Attention

_PRODUCT = (512, 768, 768)
"""Sizes of a matrix product like those of an encoder's layer: rows, inner, columns."""
_TRIES = 8


@dataclass(frozen=True)
class Device:
    """Where a run computes, and what its matrix products run in; None for float32."""

    torch_device: torch.device
    half: torch.dtype | None = None

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Return the autocast context, or one that does nothing."""
        if self.half is None:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, self.half)

    def attention(self, asked: Attention) -> Attention:
        """Resolve `auto`: autocast to bf16 on a CPU takes longer around the fused kernel."""
        slow = self.half == torch.bfloat16 and self.torch_device.type == "cpu"
        return "eager" if asked == "auto" and slow else asked

    @property
    def precision(self) -> str:
        """What it is called in a checkpoint's facts."""
        names = {None: "fp32", torch.float16: "fp16 autocast", torch.bfloat16: "bf16 autocast"}
        return names[self.half]


def launched() -> int:
    """Say how many processes `torchrun` or `accelerate launch` started; 1 where neither did."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def choose_device(device: str, precision: str) -> Device:
    """Resolve `auto`: bf16 where the hardware multiplies it faster, and CUDA where there is one.

    Of several processes, each has the CUDA device of its own number.

    :raises TrainingError: if there is no such device, or it has no fp16 training.
    """
    if launched() > 1 and device not in ("auto", "cpu", "cuda"):
        raise TrainingError(
            f"device {device} was asked for, but several processes each need their own: "
            "leave it at auto"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and launched() > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
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
        return Device(chosen, torch.float16)
    if precision == "auto":
        precision = "bf16" if _multiplies_bf16(chosen) else "fp32"
    return Device(chosen, torch.bfloat16 if precision == "bf16" else None)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bf16_gain() > 1


@cache
def bf16_gain() -> float:
    """Measure how many times as fast as in fp32 the CPU multiplies matrices in bf16.

    Its instructions do not tell: some with avx512_bf16 and no AMX take twice as long.
    """
    seconds = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    rows, inner, columns = _PRODUCT
    for _ in range(_TRIES):
        for kind, best in seconds.items():
            left, right = (torch.ones(n, inner, dtype=kind) for n in (rows, columns))
            start = time.perf_counter()
            torch.nn.functional.linear(left, right)
            seconds[kind] = min(best, time.perf_counter() - start)
    return seconds[torch.float32] / seconds[torch.bfloat16]
