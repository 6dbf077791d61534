"""How long a training step takes in fp32 and bf16, with either way to compute attention.

    python -m benchmarks.training.steps --base ../shared/models/e5-small-ru --output FILE
    python -m benchmarks.training.steps --write      put the committed figures into the page

The ways take turns, a forward and a backward pass each, on one thread, as two runs on two cores
have it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from benchmarks.common import RESULTS, command, load, record, rendered, renew, say
from ov_emotions.quantization.timing import spread
from ov_emotions.schema import Count
from ov_emotions.training.device import Device, bf16_gain
from ov_emotions.training.model import EmotionModel, HeadConfig

OUTPUT = RESULTS / "training-steps.json"
PAGE = Path(__file__).with_name("README.md")


def render(path: Path = OUTPUT) -> str:
    """Render the section of the page."""
    return rendered("training_steps.md", found=load(path.name, path.parent))


def steps(
    *,
    base: str | None = None,
    rows: Count = 32,
    tokens: Count = 24,
    rounds: Count = 7,
    threads: Count = 1,
    output: Path = OUTPUT,
    write: bool = False,
) -> None:
    """Measure, and render the page.

    :param base: encoder that is trained; nothing is measured without one.
    :param rows: of a batch.
    :param tokens: of each row.
    """
    if base is not None:
        torch.set_num_threads(threads)
        shape = (rows, tokens)
        batch = torch.randint(100, 5000, shape), torch.ones(shape, dtype=torch.int64)
        ways = [
            (Device(torch.device("cpu"), half), EmotionModel.from_base(base, HeadConfig(7), kind))
            for half in (None, torch.bfloat16)
            for kind in ("eager", "sdpa")
        ]
        found: list[list[float]] = [[] for _ in ways]
        for _ in range(rounds + 1):
            for seconds, (device, model) in zip(found, ways, strict=True):
                start = time.perf_counter()
                with device.context():
                    loss = model(*batch).float().mean()
                loss.backward()
                seconds.append(time.perf_counter() - start)
                model.zero_grad()
            say(" ".join(f"{seconds[-1]:.3f}" for seconds in found))
        kept = [seconds[1:] for seconds in found]  # the first pass of each prepares kernels
        record(
            output,
            "torch transformers",
            base=Path(base).name,
            rows=rows,
            tokens=tokens,
            rounds=rounds,
            threads=threads,
            bf16_gain_of_a_product=round(bf16_gain(), 3),
            ways=[
                {
                    "precision": device.precision,
                    "attention": model.config._attn_implementation,
                    "seconds": spread(mine),
                    "of_the_first": spread([a / b for a, b in zip(mine, kept[0], strict=True)]),
                }
                for mine, (device, model) in zip(kept, ways, strict=True)
            ],
        )
    section = render(output)
    renew(PAGE, section) if write else print(section)


if __name__ == "__main__":
    sys.exit(command("benchmarks.training.steps", steps))
