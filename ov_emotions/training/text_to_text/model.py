"""A sequence-to-sequence model and its tokeniser, loaded and checked for the task."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from ov_emotions.errors import CheckpointError
from ov_emotions.system import quiet_transformers, require
from ov_emotions.training.text_to_text.manifest import is_text_to_text
from ov_emotions.training.text_to_text.targets import TargetFormat

logger = logging.getLogger(__name__)

TOKENIZER_NAME = "tokenizer.json"


def load_model(base: str) -> Any:
    """Load a sequence-to-sequence model.

    :param base: folder or Hub id.
    :return: a `transformers` model with a language-modelling head, in float32, in evaluation mode;
        whatever generation settings came with it are replaced by plain ones.
    :raises CheckpointError: if there is none, it is of another kind, or its files are damaged.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(base)
            if not config.is_encoder_decoder:
                raise CheckpointError(
                    f"{base} is a {config.model_type} model, which does not write text from text; "
                    "text-to-text needs a sequence-to-sequence one such as ai-forever/ruT5-base"
                )
            model, loaded = AutoModelForSeq2SeqLM.from_pretrained(
                base, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot load a sequence-to-sequence model from {base}: {error}"
        ) from error
    if absent := sorted(loaded["missing_keys"]):
        logger.warning("%s lacks %s; these weights start random", base, ", ".join(absent))
    own = model.generation_config
    settings: Any = GenerationConfig  # it lacks annotations
    # Beam widths, sampling or forbidden repetitions of another task shall not leak into this one.
    model.generation_config = settings(
        decoder_start_token_id=_first(
            own.decoder_start_token_id, getattr(config, "decoder_start_token_id", None)
        ),
        eos_token_id=_first(own.eos_token_id, getattr(config, "eos_token_id", None)),
        pad_token_id=_first(own.pad_token_id, getattr(config, "pad_token_id", None)),
    )
    return model.eval()


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def load_target_tokenizer(base: str) -> Tokenizer:
    """Load a base model's tokeniser as it is, for texts that are normalised and for targets.

    :param base: folder or Hub id.
    :return: a tokeniser without padding and truncation.
    :raises CheckpointError: if there is none.
    :raises MissingExtraError: if what reads a SentencePiece vocabulary is not installed.
    """
    path = Path(base) / TOKENIZER_NAME
    if not path.is_file():
        if is_text_to_text(base):
            raise CheckpointError(f"cannot load the tokeniser of {base}: {path} is missing")
        # Without them transformers asks for tiktoken, which would not help.
        for module in ("google.protobuf", "sentencepiece"):
            require(module, extra="train")
    try:
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        else:
            with quiet_transformers():
                loaded: Any = AutoTokenizer.from_pretrained(base)
            tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"cannot load the tokeniser of {base}: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def check_can_write(base: str, model: Any, tokenizer: Tokenizer, target: TargetFormat) -> None:
    """Check that the tokeniser fits the model and holds what the target texts need.

    :param base: what both were loaded from.
    :param model: the model.
    :param tokenizer: its tokeniser.
    :param target: how labels are written.
    :raises CheckpointError: if a label's name does not survive tokenising (a vocabulary without
        Cyrillic letters, say), a text does not end in the model's end token, or the tokeniser has
        more pieces than the model.
    """
    pieces = model.get_input_embeddings().num_embeddings
    # T5's sentinels stand at the end, in no normalised text, and in some models have no embedding.
    vocab = tokenizer.get_vocab()
    known = 1 + max((i for p, i in vocab.items() if not p.startswith("<extra_id_")), default=-1)
    if known > pieces:
        raise CheckpointError(f"{base}: the tokeniser has {known} pieces and the model {pieces}")
    end = model.generation_config.eos_token_id
    ends = set(end) if isinstance(end, list) else {end}
    for text in (*(target.write([label]) for label in target.labels), target.no_emotion):
        ids = tokenizer.encode(text).ids
        if not ids or ids[-1] not in ends:
            raise CheckpointError(f"{base}: the tokeniser does not end a text with the end token")
        back = tokenizer.decode(ids, skip_special_tokens=True)
        if target.parse(back) != target.parse(text):
            raise CheckpointError(
                f"{base}: the tokeniser cannot write {text!r}: it comes back as {back!r}; choose "
                "other names, or a base with a Russian vocabulary, whose file must be there"
            )


def save_model(folder: Path, model: Any, tokenizer: Tokenizer) -> None:
    """Write weights (float32: T5 overflows in fp16), configuration and tokeniser.

    :param folder: an existing folder.
    :param model: what `load_model` gave.
    :param tokenizer: what `load_target_tokenizer` gave.
    """
    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size="1TB")
    # Not by its own method, whose errors of a full disk are of no kind.
    (folder / TOKENIZER_NAME).write_text(tokenizer.to_str(), encoding="utf-8")
