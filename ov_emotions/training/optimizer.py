"""The optimiser's parameter groups, and its learning rate from step to step."""

from __future__ import annotations

import math
import re
from functools import partial

import torch
from torch import nn

from ov_emotions.errors import TrainingError
from ov_emotions.training.config import Schedule, TrainConfig
from ov_emotions.training.model import HEAD_PARAMETERS, EmotionModel

_LAYER = re.compile(r"\.(?:layers?|h|blocks?|layer_groups)\.(\d+)\.")


def freeze_embeddings(model: EmotionModel) -> None:
    """Take the encoder's embeddings out of training.

    :raises TrainingError: if the encoder has none by that name.
    """
    frozen = [p for n, p in model.encoder.named_parameters() if n.split(".")[0] == "embeddings"]
    if not frozen:
        raise TrainingError("freeze_embeddings: this encoder has no embeddings to freeze")
    for parameter in frozen:
        parameter.requires_grad_(False)


def layer_rates(model: EmotionModel, decay: float) -> dict[str, float]:
    """Say at which share of the rate each parameter of the encoder learns.

    Clark et al. 2020 (ELECTRA): with n layers, layer i from 0 at decay^(n - 1 - i), the embeddings
    at decay^n, all else at 1.

    :raises TrainingError: if no layers are found and decay is not 1.
    """
    names = [name for name, _ in model.encoder.named_parameters()]
    depth = {name: int(found[1]) for name in names if (found := _LAYER.search(f".{name}"))}
    if not depth and decay != 1:
        raise TrainingError("layer_decay: the layers of this encoder are not named as usual")
    layers = max(depth.values(), default=-1) + 1

    def rate(name: str) -> float:
        if name in depth:
            return float(decay ** (layers - 1 - depth[name]))
        return float(decay**layers) if "embeddings" in name else 1.0

    return {name: rate(name) for name in names}


def make_optimizer(model: EmotionModel, config: TrainConfig) -> torch.optim.Optimizer:
    """Make Adam or AdamW over the parameters that are trained.

    :param model: whose parameters; already where it is trained.
    :param config: rates and decays.
    :return: the optimiser, with one group for each rate and decay.
    """
    if config.freeze_embeddings:
        freeze_embeddings(model)
    shares = layer_rates(model, config.layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(HEAD_PARAMETERS):
            rate = config.head_learning_rate
        else:
            rate = config.learning_rate * shares[name.removeprefix("encoder.")]
        decay = 0.0 if parameter.ndim < 2 else config.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(
        [{"params": p, "lr": r, "weight_decay": d} for (r, d), p in groups.items()], fused=True
    )


def rate_at(step: int, total: int, warmup_share: float, schedule: Schedule) -> float:
    """Say at which share of its peak the learning rate is.

    :param step: counted from 0.
    :param total: steps of the run.
    :param warmup_share: of all steps, rounded up; one step at the least.
    :param schedule: what follows.
    :return: in [0, 1].
    """
    warmup = max(1, math.ceil(warmup_share * total))
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    left = max(0.0, (total - step) / max(1, total - warmup))
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


def make_scheduler(
    optimizer: torch.optim.Optimizer, total: int, warmup_share: float, schedule: Schedule
) -> torch.optim.lr_scheduler.LambdaLR:
    """Tie the schedule to an optimiser; see `rate_at`."""
    rate = partial(rate_at, total=total, warmup_share=warmup_share, schedule=schedule)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
