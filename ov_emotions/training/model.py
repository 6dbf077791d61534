"""The classifier that is trained: an encoder, a pooling, a head of one layer or two."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from ov_emotions.encoding import Ids
from ov_emotions.errors import CheckpointError, TrainingError
from ov_emotions.files import atomic_folder
from ov_emotions.schema import write_json
from ov_emotions.system import quiet_transformers, require
from ov_emotions.training.checkpoint import (
    CHECKPOINT_NAME,
    HEAD_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    CheckpointFacts,
    HeadConfig,
    check_base,
    read_head,
)
from ov_emotions.training.device import Device
from ov_emotions.training.examples import padded
from ov_emotions.training.settings import Activation, Attention, Pooling

logger = logging.getLogger(__name__)

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
WRAPPER = r"^(?:_orig_mod\.|module\.)+"
"""What torch.compile and DataParallel put before the names of weights."""


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Make one vector of token states: of the first, the mean of those of the text, or both."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    return mean if pooling == "mean" else torch.cat([hidden[:, 0], mean], dim=-1)


class EmotionModel(nn.Module):
    """Encoder, pooling and a head; gives one logit per label.

    The head is dropout and a linear layer, or dropout, a linear layer, an activation, dropout and
    a linear layer.

    :param encoder: a `transformers` encoder with `last_hidden_state`.
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
        features = self.dropout(pool(hidden, attention_mask, self.head.pooling))
        if self.head.hidden_size:
            features = self.hidden_dropout(self.activate(self.hidden(features)))
        logits: Tensor = self.classifier(features)
        return logits

    @property
    def pad_id(self) -> int:
        """The id that fills rows up; 0 where the model names none, since the mask hides it."""
        return int(self.config.pad_token_id or 0)

    def set_dropout(self, dropout: float, hidden_dropout: float) -> None:
        """Change the rates of a head that is trained on."""
        self.head = replace(self.head, dropout=dropout, hidden_dropout=hidden_dropout)
        self.dropout.p = dropout
        if self.head.hidden_size:
            self.hidden_dropout.p = hidden_dropout

    def freeze_embeddings(self) -> None:
        """Take the encoder's embeddings out of training.

        :raises TrainingError: if the encoder has none by a usual name.
        """
        names = [n for n, _ in self.encoder.named_parameters() if "embed" in n.split(".")[0]]
        if not names:
            raise TrainingError("freeze_embeddings: this encoder has no embeddings to freeze")
        for name in names:
            self.encoder.get_parameter(name).requires_grad_(False)

    @staticmethod
    def from_base(base: str, head: HeadConfig, attention: Attention = "auto") -> EmotionModel:
        """Put a fresh head on a pretrained encoder.

        :raises CheckpointError: if the base is no encoder that can be loaded, trained and exported.
        """
        check_base(base)
        return EmotionModel(_pretrained(base, attention), head)

    @staticmethod
    def load(folder: Path, attention: Attention = "auto") -> EmotionModel:
        """Read what `save` wrote.

        :raises CheckpointError: if files are missing or do not fit together.
        """
        head = read_head(folder)
        try:
            with quiet_transformers():
                config = AutoConfig.from_pretrained(folder)
                encoder = _without_pooler(AutoModel.from_config, config, attention)
            model = EmotionModel(encoder.float(), head)
            model.load_state_dict(load_file(folder / WEIGHTS_NAME))
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{folder} is not a usable checkpoint: {error}") from error
        return model.float().eval()

    def save(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write weights, encoder configuration and head."""
        self.config.save_pretrained(folder)
        (folder / HEAD_NAME).write_text(json.dumps(asdict(self.head)), encoding="utf-8")
        state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in self.state_dict().items()}
        save_file(state, folder / WEIGHTS_NAME, metadata={"format": "pt"})


def save_checkpoint(
    folder: Path, model: EmotionModel, tokenizer: Tokenizer, facts: CheckpointFacts
) -> None:
    """Write a checkpoint folder as a whole."""
    with atomic_folder(folder) as temporary:
        model.save(temporary)
        (temporary / TOKENIZER_NAME).write_text(tokenizer.to_str(), encoding="utf-8")
        write_json(temporary / CHECKPOINT_NAME, facts)


def predict_logits(
    model: EmotionModel,
    ids: list[Ids],
    device: Device,
    batch_size: int = 128,
    report: Callable[[int, int], None] = lambda *_: None,
) -> NDArray[np.float32]:
    """Run a model over tokenised rows.

    :param model: put into evaluation mode, and back.
    :param report: told after each batch of how many rows how many are done.
    :return: float32, shape (rows, labels), in the order of `ids`.
    """
    was_training = model.training
    model.eval()
    logits = np.zeros((len(ids), model.head.labels), dtype=np.float32)
    done = 0
    with torch.inference_mode(), device.context():
        order = np.argsort([len(row) for row in ids], kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            tokens, mask = padded([ids[row] for row in rows], model.pad_id)
            out = model(tokens.to(device.torch_device), mask.to(device.torch_device))
            logits[rows] = out.float().cpu().numpy()
            done += len(rows)
            report(done, len(ids))
    model.train(was_training)
    return logits


def _without_pooler(build: Any, source: Any, attention: Attention, **options: Any) -> Any:
    """Build an encoder without the pooler we would not use; some have no such switch."""
    if attention != "auto":
        options["attn_implementation"] = attention
    try:
        return build(source, add_pooling_layer=False, **options)
    except TypeError:
        return build(source, **options)


def _pretrained(base: str, attention: Attention) -> Any:
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(base)
            _check_kind(base, config)
            encoder, loaded = _without_pooler(
                AutoModel.from_pretrained,
                base,
                attention,
                config=config,
                dtype=torch.float32,
                key_mapping={WRAPPER: ""},
                output_loading_info=True,
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"cannot load the base model {base}: {error}") from error
    found = sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler."))
    sizes = {name: value.numel() for name, value in encoder.state_dict().items()}
    share = sum(sizes.get(name, 0) for name in found) / sum(sizes.values())
    if share > 0.5:
        raise CheckpointError(
            f"the weights of {base} are not those of a {config.model_type} encoder: {share:.0%} of "
            f"them would start random ({', '.join(found[:3])}, ...); they were saved under other "
            "names, or belong to another config.json"
        )
    if found:
        logger.warning("%s lacks %s; these weights start random", base, ", ".join(found))
    if any("Classification" in name for name in config.architectures or ()):
        logger.warning(
            "%s is a classifier: its encoder is taken, and its head (%s) is left out for a new one",
            base,
            ", ".join(map(str, (config.id2label or {}).values())),
        )
    encoder.config.use_cache = False  # of keys and values, which only what writes text needs
    return encoder


def _check_kind(base: str, config: Any) -> None:
    if config.is_encoder_decoder:
        raise CheckpointError(
            f"{base} is a {config.model_type} model, which writes text from text; train it by "
            "`train --task text-to-text`"
        )
    if failed := _export_failure(json.dumps(config.to_diff_dict(), sort_keys=True, default=str)):
        raise CheckpointError(
            f"{base} is a {config.model_type} model, and OpenVINO cannot take such a one "
            f"({failed}); it could be trained, and never be served"
        )


@functools.lru_cache(maxsize=8)
def _export_failure(described: str) -> str | None:
    """Take a copy of two layers and random weights to OpenVINO, as the trained one will have to go.

    :return: what it failed at; None where it answers as torch does.
    """
    values = json.loads(described)
    small = copy.deepcopy(AutoConfig.for_model(values.pop("model_type"), **values))
    with contextlib.suppress(AttributeError, ValueError):  # not every kind has all of them
        small.vocab_size = min(small.vocab_size, max(1000, (small.pad_token_id or 0) + 1))
        small.num_hidden_layers = min(2, small.num_hidden_layers)
        small.layer_types = small.layer_types[: small.num_hidden_layers]
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoder = _without_pooler(AutoModel.from_config, small, "auto")
            encoder.config.use_cache = False
            model = EmotionModel(encoder.float(), HeadConfig(3)).eval()
            _check_export(model)
            return None
    except Exception as error:  # of torch, transformers and OpenVINO: whatever they meet
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def _check_export(model: EmotionModel) -> None:
    """Convert and compare as `export` will, on rows shorter and longer than sliding windows."""
    ir = require("ov_emotions.conversion.ir", extra="train")
    modules = require("ov_emotions.conversion.modules", extra="train")
    limit = int(getattr(model.config, "max_position_embeddings", 0) or 64)
    whole = modules.Whole(model, model.encoder)
    # From 2 on: the model's pad_id may be one that positions count from.
    rows = [
        np.random.default_rng(n).integers(2, model.config.vocab_size, min(n, limit - 4))
        for n in (9, 3, 11, 60)
    ]
    check = ir.ParityCheck(
        ir.torch_reference(whole), {"random": rows}, model.pad_id, "an encoder of this kind"
    )
    ir.to_ir(whole, limit - 4, check)
