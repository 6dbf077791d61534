"""One run over several processes, one a GPU: who does which rows, and adding up what they found.

`torchrun` or `accelerate launch` starts the processes; accelerate finds the devices and the
backend (NCCL on CUDA, gloo on CPU), and wraps the model so that gradients are averaged. Every
process holds all examples and draws the same batches; of each batch it takes its share of rows.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ov_emotions.errors import TrainingError
from ov_emotions.system import require


def launched() -> int:
    """Say how many processes a launcher started; 1 where there was none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Processes:
    """The processes of a run; one, where no launcher started several.

    :param device: auto, cpu, cuda or cuda:N, as the configuration has it.
    :raises TrainingError: if a device is named by number and there are several processes.
    """

    def __init__(self, device: str = "auto") -> None:
        self.rank, self.count, self.device = 0, 1, device
        self._accelerator: Any = None
        if launched() <= 1:
            return
        if device not in ("auto", "cpu", "cuda"):
            raise TrainingError(
                f"device {device} was asked for, but several processes each need their own: "
                "leave it at auto"
            )
        accelerate = require("accelerate", extra="multi-gpu")
        on_cpu = device == "cpu" or not torch.cuda.is_available()
        self._accelerator = accelerate.Accelerator(cpu=on_cpu)
        self.rank = self._accelerator.process_index
        self.count = self._accelerator.num_processes
        self.device = str(self._accelerator.device)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model to call in training; its parameters are those of the one given."""
        if self.count == 1:
            return model
        wrapped: nn.Module = self._accelerator.prepare_model(model)
        return wrapped

    def local(self, model: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which gradients stay in this process, unless it is the last part."""
        if self.count == 1 or last:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[Any] = self._accelerator.no_sync(model)
        return context

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take this process's part of a batch: every count-th row, beginning with its rank."""
        return rows if self.count == 1 else rows[self.rank :: self.count]

    def sum(self, value: float) -> float:
        """Add up a number over the processes."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float32, device=self._accelerator.device)
        return float(self._accelerator.reduce(total, reduction="sum"))

    def interleave(self, part: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
        """Put together what the processes computed for their shares of the rows.

        :param part: shape (rows of this process, width).
        :param rows: of all.
        :return: shape (rows, width), in every process.
        """
        if self.count == 1:
            return part
        parts: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(parts, part)
        whole = np.zeros((rows, part.shape[1]), dtype=np.float32)
        for rank, values in enumerate(parts):
            whole[rank :: self.count] = values
        return whole

    def wait(self) -> None:
        """Wait until all processes have come this far."""
        if self.count > 1:
            self._accelerator.wait_for_everyone()

    def seed_step(self, seed: int, step: int) -> None:
        """Give every process its own dropout, from the step alone, so that resuming repeats it.

        One process goes on with the generator's state instead, which is saved with the run.
        """
        if self.count > 1:
            torch.manual_seed((seed * 1_000_003 + step * self.count + self.rank) % 2**63)
