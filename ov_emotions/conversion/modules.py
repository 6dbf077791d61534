"""Originals as torch modules: loaded with every weight matched, or refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig, AutoModel

from ov_emotions.errors import CheckpointError, first_line
from ov_emotions.schema import Task
from ov_emotions.system import quiet_transformers, require
from ov_emotions.training.model import ACTIVATIONS, WRAPPER, pool
from ov_emotions.training.settings import Activation

# Around a state dict, where a checkpoint holds an optimiser's state too.
_ENVELOPES = ("state_dict", "model_state_dict", "model")
_UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, SafetensorError)


class Whole(nn.Module):
    """A transformers sequence classification, or a classifier like one, of two inputs.

    :param model: gives an output with `logits`, or logits, for token ids and a mask.
    :param encoder: what has the attention; the model itself where None.
    """

    def __init__(self, model: Any, encoder: Any = None) -> None:
        super().__init__()
        self.model = model
        self._attending = [model if encoder is None else encoder]  # no second copy of its weights
        self.config = model.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Score a batch.

        :param input_ids: int64, shape (rows, tokens).
        :param attention_mask: int64, same shape; 0 marks padding.
        :return: logits, float, shape (rows, labels).
        """
        found = self.model(input_ids=input_ids, attention_mask=attention_mask)
        logits: Tensor = getattr(found, "logits", found)
        return logits

    def set_attention(self, kind: str) -> None:
        """Change how attention is computed, to `sdpa` or `eager`; it says the same."""
        self._attending[0].set_attn_implementation(kind)


class Named(nn.Module):
    """A model of logits with its output named, as optimum's exporter wants it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.config = model.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.model(input_ids, attention_mask)}


Pooling = Literal["cls", "mean", "max", "cls+mean", "pooler"]


@dataclass(frozen=True)
class HeadDescription:
    """What stands on the encoder of a state dict, as TOML says it.

    :param base: folder or Hub id with the encoder's config.json and tokeniser.
    :param weights: the state dict: .pt, .pth, .bin or .safetensors; relative to the TOML file.
    :param labels: names of the outputs, in their order.
    :param pooling: first token, mean or greatest value over tokens that are not padding, first
        token beside mean, or the encoder's own pooler.
    :param layers: widths of the inner layers; none for one linear layer.
    :param activation: after each inner layer.
    :param dropout: rate it was trained with; of no matter to what is converted.
    :param task: `multi_label` for sigmoids, `single_label` for a softmax.
    :param encoder: what the names of the encoder's weights begin with; found where not given.
    :param linear: names of the linear layers, in their order; found by their shapes if not given.
    """

    base: str
    weights: Path
    labels: tuple[str, ...]
    pooling: Pooling = "cls"
    layers: tuple[int, ...] = ()
    activation: Activation = "relu"
    dropout: float = 0.0
    task: Task = "multi_label"
    encoder: str | None = None
    linear: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("labels must name the outputs")
        if self.linear and len(self.linear) != len(self.layers) + 1:
            raise ValueError("linear must name one layer more than layers has")


class Described(nn.Module):
    """A transformers encoder with a described head."""

    def __init__(self, encoder: Any, head: HeadDescription) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config
        self._head = head
        width = self.config.hidden_size * (2 if head.pooling == "cls+mean" else 1)
        widths = (width, *head.layers, len(head.labels))
        self.shapes = [(outputs, inputs) for inputs, outputs in pairwise(widths)]
        self.linear = nn.ModuleList(nn.Linear(*shape) for shape in pairwise(widths))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        hidden, pooling = found.last_hidden_state, self._head.pooling
        if pooling == "pooler":
            features: Tensor = found.pooler_output
        elif pooling == "max":
            lowest = torch.finfo(hidden.dtype).min
            features = hidden.masked_fill(attention_mask.unsqueeze(-1) == 0, lowest).amax(1)
        else:
            features = pool(hidden, attention_mask, pooling)
        for layer in self.linear[:-1]:
            features = ACTIVATIONS[self._head.activation](layer(features))
        logits: Tensor = self.linear[-1](features)
        return logits

    def set_attention(self, kind: str) -> None:
        self.encoder.set_attn_implementation(kind)


def read_state(files: Sequence[Path]) -> dict[str, Tensor]:
    """Read a state dict, without what wraps its names.

    :param files: .safetensors, or what torch.save wrote, pickled objects refused; shards of one.
    :return: float32 by name.
    :raises CheckpointError: if a file cannot be read or holds no state dict.
    """
    state: dict[str, Tensor] = {}
    for path in files:
        try:
            found: Any = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
        except Exception as error:  # pickle raises what a damaged file makes it meet
            what = first_line(error)
            raise CheckpointError(f"{path} holds no weights that can be read: {what}") from error
        if isinstance(found, Mapping):
            inside = (found[key] for key in _ENVELOPES if isinstance(found.get(key), Mapping))
            found = next(inside, found)
        if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
            raise CheckpointError(f"{path} holds no state dict: names of weights with tensors")
        state |= found
    return {
        re.sub(WRAPPER, "", name): value.float() if value.is_floating_point() else value
        for name, value in state.items()
    }


def load_classifier(
    folder: Path, pad_id: int, *, outputs: int | None = None, given: Collection[str] = ()
) -> Whole:
    """Load a transformers sequence classification in float32.

    :param pad_id: padding token, for a config that names none.
    :param outputs: of the head, where config.json does not say it.
    :param given: names of weights that an adapter brings.
    :return: the model, in evaluation mode.
    :raises CheckpointError: if weights are missing, or do not fit.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder)
            if config.pad_token_id is None:
                config.pad_token_id = pad_id
            config.use_cache = False
            if outputs not in (None, config.num_labels):
                config.num_labels = outputs
            # The class itself: the automatic one would load an adapter that lies beside it.
            kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
            model, info = kind.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                key_mapping={WRAPPER: ""},
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below
            )
    except _UNREADABLE as error:
        raise CheckpointError(f"transformers cannot load {folder}: {first_line(error)}") from error
    absent = {*info["missing_keys"], *(m[0] for m in info["mismatched_keys"])} - {*given}
    if absent:
        left = sorted(info["unexpected_keys"])
        raise CheckpointError(
            f"the weights in {folder} do not match its config.json: {_some(sorted(absent))} would "
            "start random" + (f", and {_some(left)} are not used" if left else "")
        )
    return Whole(model.eval())


def load_adapted(base: Whole, adapter: Path) -> Whole:
    """Merge a PEFT adapter into its base.

    :return: the merged model, in evaluation mode.
    :raises CheckpointError: if the adapter does not fit.
    """
    peft = require("peft", extra="lora")
    try:
        with quiet_transformers():
            model = peft.PeftModel.from_pretrained(base.model, adapter).merge_and_unload()
    except (*_UNREADABLE, KeyError, TypeError) as error:
        what = first_line(error)
        raise CheckpointError(f"the adapter {adapter} does not fit its base: {what}") from error
    return Whole(model.float().eval())


def load_described(head: HeadDescription, base: Path, where: str) -> Described:
    """Rebuild an encoder with a described head from a state dict.

    :param base: folder with the encoder's config.json.
    :param where: names the description in messages.
    :return: the model, in evaluation mode, every weight matched.
    :raises CheckpointError: if the description does not fit the weights.
    """
    state = read_state([head.weights])
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(base)
            encoder = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    except _UNREADABLE as error:
        raise CheckpointError(f"{where}: no encoder can be made of {base}: {error}") from error
    model = Described(encoder.float(), head)
    prefix = head.encoder if head.encoder is not None else _encoder_prefix(encoder, state)
    inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    known = encoder.state_dict()
    inner = {k: v for k, v in inner.items() if k in known and v.shape == known[k].shape}
    absent = [k for k in known if k not in inner]
    if head.pooling != "pooler":  # what is not asked need not be there
        absent = [k for k in absent if not k.startswith("pooler.")]
    if absent:
        raise CheckpointError(
            f"{where}: of the encoder's weights {_some(absent)} are not in {head.weights}"
        )
    encoder.load_state_dict(inner, strict=False)
    rest = {k: v for k, v in state.items() if k.removeprefix(prefix) not in known}
    for layer, name in zip(model.linear, _linear_names(model, rest, head, where), strict=True):
        layer.load_state_dict({part: rest.pop(f"{name}.{part}") for part in ("weight", "bias")})
    if left := [k for k, v in rest.items() if v.is_floating_point()]:
        raise CheckpointError(
            f"{where}: {_some(left)} of {head.weights} have no place in the head described; "
            "it can have linear layers with biases and an activation between them"
        )
    return model.eval()


def _encoder_prefix(encoder: Any, state: Mapping[str, Tensor]) -> str:
    """Find what stands before the names of the encoder's weights."""
    known = next(name for name in encoder.state_dict() if name.endswith(".weight"))
    found = [name.removesuffix(known) for name in state if name.endswith(known)]
    return min(found, key=len, default="")


def _linear_names(
    model: Described, rest: Mapping[str, Tensor], head: HeadDescription, where: str
) -> list[str]:
    """Find the linear layers of a head by their shapes, in the order of their names."""
    shapes = {key: tuple(value.shape) for key, value in rest.items()}
    names: list[str] = []
    for i, wanted in enumerate(model.shapes):
        fitting = [
            name
            for key, shape in shapes.items()
            if key.endswith(".weight")
            and shape == wanted
            and f"{(name := key.removesuffix('.weight'))}.bias" in rest
            and name not in names
            and (not head.linear or name == head.linear[i])
        ]
        if not fitting:
            named = f" called {head.linear[i]!r}" if head.linear else ""
            raise CheckpointError(
                f"{where}: no linear layer of shape {wanted}{named} in {head.weights}, beside the "
                f"encoder it has {shapes or 'nothing'}; see pooling, layers and labels"
            )
        names.append(min(fitting, key=_natural))
    return names


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(n or 0), text) for text, n in re.findall(r"(\D*)(\d*)", name)]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - 4
    return ", ".join(names[:4]) + (f" and {rest} more" if rest > 0 else "")
