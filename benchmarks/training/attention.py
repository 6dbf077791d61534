"""How fast an encoder trains with eager attention and with SDPA, on this machine.

    python -m benchmarks.training.attention --base ../shared/models/e5-small-ru

Steps of both are interleaved, on batches as a run has them (random tokens, lengths of the training
texts' kind), with bf16 where the CPU multiplies it, as `train --precision auto` decides. Run it on
a machine that does nothing else; `--threads` says how many cores a step may have.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from ov_emotions.files import write_json
from ov_emotions.system import environment
from ov_emotions.training.checkpoint import HeadConfig
from ov_emotions.training.device import choose_device
from ov_emotions.training.model import EmotionModel

KINDS = ("eager", "sdpa")


def measure(base: str, rounds: int, batch: int, tokens: int, precision: str) -> dict[str, Any]:
    """Time training steps.

    :param base: folder or Hub id of the encoder.
    :param rounds: steps of each kind, after two that do not count.
    :param batch: rows of a step.
    :param tokens: of each row.
    :param precision: as in `train`.
    :return: milliseconds of a step, the median of each kind, and how much faster eager is.
    """
    device = choose_device("cpu", precision)
    models = {kind: EmotionModel.from_base(base, HeadConfig(7), kind).train() for kind in KINDS}
    optimizers = {k: torch.optim.AdamW(m.parameters(), fused=True) for k, m in models.items()}
    ids = torch.randint(10, models["sdpa"].config.vocab_size, (batch, tokens))
    mask = torch.ones_like(ids)
    mask[::3, tokens // 2 :] = 0
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for done in range(rounds + 2):
        for kind in KINDS:
            started = time.perf_counter()
            with device.context():
                loss = models[kind](ids, mask).float().square().mean()
            loss.backward()
            optimizers[kind].step()
            optimizers[kind].zero_grad()
            if done >= 2:
                times[kind].append((time.perf_counter() - started) * 1000)
    median = {kind: round(statistics.median(values), 2) for kind, values in times.items()}
    return {
        "precision": device.precision,
        "batch": batch,
        "tokens": tokens,
        "threads": torch.get_num_threads(),
        "step_ms": median,
        "eager_is_faster_by": round(median["sdpa"] / median["eager"], 3),
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--base", required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="write the figures there as JSON too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = {
        "base": Path(args.base).name,
        **environment("torch", "transformers"),
        "steps": [
            measure(args.base, args.rounds, args.batch, tokens, precision)
            for precision in args.precision
            for tokens in args.tokens
        ],
    }
    print(json.dumps(found, ensure_ascii=False, indent=2))
    if args.output:
        write_json(args.output, found)


if __name__ == "__main__":
    main()
