"""How many tokens an encoder reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OFFSET_BY_PADDING = frozenset(
    {"camembert", "data2vec-text", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl", "xmod"}
)
"""Model types that number positions from the padding token's id plus one on."""


def token_limit(encoder: Mapping[str, Any], default: int) -> int:
    """Tell how many tokens an encoder reads at most, special tokens included.

    :param encoder: its `config.json`.
    :param default: for an encoder that sets no limit.
    :return: the number of tokens.
    """
    positions = encoder.get("max_position_embeddings")
    if positions is None:
        return default
    if encoder.get("model_type") in _OFFSET_BY_PADDING:
        positions -= int(encoder.get("pad_token_id") or 0) + 1
    return int(positions)
