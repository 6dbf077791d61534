"""The classifier that is trained: an encoder, a pooling, a head of one layer or two."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from ov_emotions.errors import CheckpointError
from ov_emotions.system import quiet_transformers
from ov_emotions.training.pooling import Activation, Pooling

logger = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"
HEAD_PARAMETERS = ("hidden.", "classifier.")
"""How the names of the head's parameters begin."""
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
    "silu": nn.functional.silu,
    "leaky_relu": nn.functional.leaky_relu,
    "elu": nn.functional.elu,
}


@dataclass(frozen=True)
class HeadConfig:
    """What stands on top of the encoder.

    :param labels: number of outputs.
    :param pooling: first token, mean over the tokens that are not padding, or both side by side.
    :param dropout: rate on the pooled vector, before the first layer.
    :param hidden_size: width of an inner layer; 0 for one linear layer and no more.
    :param activation: after the inner layer.
    :param hidden_dropout: rate after the activation, before the output layer.
    """

    labels: int
    pooling: Pooling = "mean"
    dropout: float = 0.1
    hidden_size: int = 0
    activation: Activation = "gelu"
    hidden_dropout: float = 0.0


class EmotionModel(nn.Module):
    """Encoder, pooling and a head; gives one logit per label.

    The head is dropout and a linear layer, or dropout, a linear layer, an activation, dropout and
    a linear layer.

    :param encoder: a `transformers` encoder with `last_hidden_state`.
    :param head: what stands on top of it.
    """

    def __init__(self, encoder: Any, head: HeadConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.config = encoder.config
        width = self.config.hidden_size * (2 if head.pooling == "cls+mean" else 1)
        self.dropout = nn.Dropout(head.dropout)
        if head.hidden_size:
            self.hidden = nn.Linear(width, head.hidden_size)
            self.activate = ACTIVATIONS[head.activation]
            self.hidden_dropout = nn.Dropout(head.hidden_dropout)
            width = head.hidden_size
        self.classifier = nn.Linear(width, head.labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Score a batch.

        :param input_ids: int64, shape (batch, tokens).
        :param attention_mask: int64, same shape; 0 marks padding.
        :return: logits, float, shape (batch, labels).
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = []
        if self.head.pooling != "mean":
            pooled.append(hidden[:, 0])
        if self.head.pooling != "cls":
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled.append((hidden * weights).sum(1) / weights.sum(1).clamp(min=1))
        features = torch.cat(pooled, dim=-1) if len(pooled) > 1 else pooled[0]
        features = self.dropout(features)
        if self.head.hidden_size:
            features = self.hidden_dropout(self.activate(self.hidden(features)))
        logits: Tensor = self.classifier(features)
        return logits

    def set_dropout(self, dropout: float, hidden_dropout: float) -> None:
        """Change the rates of a head that is trained on.

        :param dropout: before the first layer.
        :param hidden_dropout: before the output layer; of no matter to a head of one layer.
        """
        self.head = replace(self.head, dropout=dropout, hidden_dropout=hidden_dropout)
        self.dropout.p = dropout
        if self.head.hidden_size:
            self.hidden_dropout.p = hidden_dropout

    @staticmethod
    def from_base(base: str, head: HeadConfig) -> EmotionModel:
        """Put a fresh head on a pretrained encoder.

        :param base: folder or Hub id.
        :param head: what to put on it.
        :return: a model in float32.
        :raises CheckpointError: if transformers cannot load the base.
        """
        try:
            with quiet_transformers():
                encoder, loaded = _without_pooler(
                    AutoModel.from_pretrained, base, dtype=torch.float32, output_loading_info=True
                )
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            raise CheckpointError(f"cannot load the base model {base}: {error}") from error
        if absent := sorted(k for k in loaded["missing_keys"] if not k.startswith("pooler.")):
            logger.warning("%s lacks %s; these weights start random", base, ", ".join(absent))
        return EmotionModel(encoder, head)

    @staticmethod
    def load(folder: Path) -> EmotionModel:
        """Read what `save` wrote.

        :param folder: a checkpoint folder.
        :return: the model in float32, in evaluation mode.
        :raises CheckpointError: if files are missing or do not fit together.
        """
        try:
            head = HeadConfig(**json.loads((folder / "head.json").read_text(encoding="utf-8")))
            with quiet_transformers():
                config = AutoConfig.from_pretrained(folder)
                encoder = _without_pooler(AutoModel.from_config, config)
            model = EmotionModel(encoder.float(), head)
            model.load_state_dict(load_file(folder / WEIGHTS_NAME))
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{folder} is not a usable checkpoint: {error}") from error
        return model.float().eval()

    def save(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write weights, encoder configuration and head.

        :param folder: an existing folder.
        :param dtype: what to store the weights in.
        """
        self.config.save_pretrained(folder)
        (folder / "head.json").write_text(json.dumps(asdict(self.head)), encoding="utf-8")
        state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in self.state_dict().items()}
        save_file(state, folder / WEIGHTS_NAME, metadata={"format": "pt"})


class Exportable(nn.Module):
    """The same model with its output named, as optimum's exporter wants it.

    :param model: what is exported.
    """

    def __init__(self, model: EmotionModel) -> None:
        super().__init__()
        self.model = model
        self.config = model.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Score a batch; see `EmotionModel.forward`."""
        return {"logits": self.model(input_ids, attention_mask)}


def _without_pooler(build: Any, *args: Any, **kwargs: Any) -> Any:
    """Build an encoder without the pooler we would not use; some have no such switch."""
    try:
        return build(*args, add_pooling_layer=False, **kwargs)
    except TypeError:
        return build(*args, **kwargs)
