"""The tokeniser of a checkpoint: read as transformers would, checked on Russian words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ov_emotions.errors import CheckpointError
from ov_emotions.schema import read_json
from ov_emotions.system import quiet_transformers, require
from ov_emotions.training.checkpoint import (
    MOST_UNKNOWN,
    TOKENIZER_NAME,
    VOCABULARIES,
    plain_tokenizer,
    token_limit,
    unknown_share,
)

_LOGGER = logging.getLogger(__name__)

LONGEST_WINDOW = 512
"""Tokens that a window has at most where nobody asks for more: attention grows with their square,
and longer texts are read in several windows."""

PROBES = (
    "Здравствуйте! Спасибо вам большое, всё очень понравилось.",
    "да что же это такое опять ничего не работает",
    "Мне грустно: осень, дождь, и ты не звонишь…",
    "Ура, мы выиграли 3:1!!!",
    "я боюсь ходить там вечером одна",
    "Ну и гадость — есть это невозможно.",
    "Как?! Он правда сам приехал?",
    "завтра в десять утра собрание отдела",
    "Ё-моё, ёлка упала прямо на кота :)",
    "Хорошо",
    "ок",
    "Привет, hello, 你好 😀",
)
"""Texts that tokenisers and models are tried on where no others are given."""


def read_tokenizer(folder: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """Read a fast tokeniser as it is.

    :return: the tokeniser, and what tokenizer_config.json says.
    :raises CheckpointError: if there is none, only a slow one, or it knows no Russian.
    """
    path, settings = folder / "tokenizer_config.json", {}
    if path.is_file():
        settings = read_json(path, dict[str, Any], CheckpointError)
    if not any((folder / name).is_file() for name in (TOKENIZER_NAME, *VOCABULARIES)):
        raise CheckpointError(
            f"{folder} has no tokeniser: neither {TOKENIZER_NAME} nor a vocabulary; save it beside "
            "the weights (tokenizer.save_pretrained)"
        )
    tokenizer = plain_tokenizer(str(folder))
    check_words(folder, tokenizer, PROBES)
    return tokenizer, settings


def padding_id(tokenizer: Tokenizer, config: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Find the padding token; what has none is padded with its last token's mark.

    :param config: config.json.
    :param settings: tokenizer_config.json.
    """
    named = settings.get("pad_token") or settings.get("eos_token")
    named = named.get("content") if isinstance(named, dict) else named
    candidates = (
        config.get("pad_token_id"),
        tokenizer.token_to_id(named) if named else None,
        (tokenizer.padding or {}).get("pad_id"),
        config.get("eos_token_id"),
    )
    return next((int(i) for i in candidates if isinstance(i, int) and i >= 0), 0)


def check_words(where: Path, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Refuse a tokeniser that does not know the language.

    :param where: names the checkpoint in messages.
    :raises CheckpointError: if most words hold an unknown token.
    """
    share = unknown_share(tokenizer, texts)
    if share > MOST_UNKNOWN:
        raise CheckpointError(
            f"{share:.0%} of Russian words are unknown to the tokeniser of {where}: it was made "
            "for another language"
        )


def token_window(
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    tokenizer: Tokenizer | None,
    wished: int | None = None,
) -> tuple[int, int]:
    """Tell how many tokens a window has, and how many the encoder reads at most.

    :param config: config.json.
    :param settings: tokenizer_config.json.
    :param tokenizer: whose truncation counts.
    :return: both numbers, special tokens included.
    :raises CheckpointError: if more is wished for than the encoder reads.
    """
    limit = token_limit(config, int(config.get("n_positions") or 1 << 16))
    if wished is not None:
        if not 4 <= wished <= limit:
            raise CheckpointError(f"max_length must be in [4, {limit}], not {wished}")
        return wished, limit
    said = [limit, LONGEST_WINDOW]
    truncation = (tokenizer.truncation if tokenizer is not None else None) or {}
    said += [n for n in (truncation.get("max_length"), settings.get("model_max_length")) if n]
    return int(min(n for n in said if n >= 4)), limit


def same_reading(folder: Path, tokenizer: Tokenizer, texts: Sequence[str]) -> Tokenizer:
    """Hold a tokeniser against transformers' reading of the same folder.

    transformers changes some tokenisers as it loads them; the model was trained with its reading.

    :return: the tokeniser, or transformers' where they differ.
    :raises CheckpointError: if transformers' own is not of the tokenizers library, or gives token
        types that are not 0.
    """
    transformers = require("transformers", extra="train")
    with quiet_transformers():
        loaded = transformers.AutoTokenizer.from_pretrained(folder)
        asked = loaded(list(texts), return_token_type_ids=True)
    if any(any(types) for types in asked.get("token_type_ids", ())):
        raise CheckpointError(
            f"the tokeniser of {folder} gives tokens of a single text types other than 0, which "
            "the model would not get here"
        )
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    if [e.ids for e in plain.encode_batch(list(texts))] == asked["input_ids"]:
        return tokenizer
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise CheckpointError(f"{folder} has a slow tokeniser only ({type(loaded).__name__})")
    _LOGGER.warning(
        "tokenizer.json of %s reads texts otherwise than transformers does; its reading is taken",
        folder,
    )
    return Tokenizer.from_str(backend.to_str())
