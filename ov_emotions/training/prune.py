"""A base encoder made ready for fine-tuning: our normaliser inside, unused vocabulary out.

After normalising, no upper-case letter, punctuation mark or emoji reaches the tokeniser, so the
pieces that hold them are dead weight; so are the pieces that a large corpus of Russian never uses.
Embeddings are most of a small model, and pruning them changes no other weight. Single characters
stay, so that an unseen word still splits into known pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

from tokenizers import Tokenizer

from ov_emotions.errors import CheckpointError
from ov_emotions.files import atomic_folder
from ov_emotions.schema import write_json
from ov_emotions.system import require
from ov_emotions.training.checkpoint import with_asr_normalizer
from ov_emotions.training.settings import PruneConfig

_EMBEDDINGS = "embeddings.word_embeddings.weight"
_POSITIONS = "embeddings.position_embeddings.weight"


_KEPT = {"cyrillic": r"[а-яё0-9]+", "digits": r"[0-9]+"}
_CHARACTERS = r"[а-яёa-z0-9]?"


def used_pieces(tokenizer: Tokenizer, texts: Iterable[str]) -> set[str]:
    """Collect the pieces that a corpus tokenises to."""
    used: set[int] = set()
    remaining = iter(texts)
    while batch := list(islice(remaining, 4096)):
        for encoding in tokenizer.encode_batch_fast(batch):
            used.update(encoding.ids)
    return {tokenizer.id_to_token(i) for i in used}


def _prune_model(model: dict[str, Any], keep: set[str]) -> tuple[list[str], list[int]]:
    """Cut `model["vocab"]` in place; return the kept pieces and their old ids."""
    vocab = model["vocab"]
    if model["type"] == "Unigram":
        kept = [(i, entry) for i, entry in enumerate(vocab) if entry[0] in keep]
        unknown = vocab[model["unk_id"]][0]
        model["vocab"] = [entry for _, entry in kept]
        pieces = [entry[0] for _, entry in kept]
        model["unk_id"] = pieces.index(unknown)
        return pieces, [i for i, _ in kept]
    if model["type"] == "WordPiece":
        ordered = sorted((i, piece) for piece, i in vocab.items() if piece in keep)
        pieces = [piece for _, piece in ordered]
        model["vocab"] = {piece: new for new, piece in enumerate(pieces)}
        return pieces, [i for i, _ in ordered]
    raise CheckpointError(
        f"a {model['type']} vocabulary cannot be pruned; only WordPiece and Unigram can"
    )


def prune_base(config: PruneConfig, texts: Iterable[str]) -> dict[str, int]:
    """Write a copy of a base encoder with the normaliser inside and a smaller vocabulary.

    :raises CheckpointError: if the base is not of that form.
    """
    base, max_positions = config.base, config.max_positions
    safetensors = require("safetensors.torch", extra="train")
    try:
        tokenizer = with_asr_normalizer(Tokenizer.from_file(str(base / "tokenizer.json")))
        described = json.loads((base / "config.json").read_text(encoding="utf-8"))
        weights = safetensors.load_file(base / "model.safetensors")
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CheckpointError(f"{base} is not a base encoder folder: {error}") from error
    names = [name for name in weights if name.endswith(_EMBEDDINGS)]
    if len(names) != 1:
        raise CheckpointError(f"{base} has no single {_EMBEDDINGS}")

    spec = json.loads(tokenizer.to_str())
    special = {token["content"] for token in spec["added_tokens"]}
    always = re.compile(f"(?:{_KEPT[config.keep]})|{_CHARACTERS}")
    kept_whole = {
        piece
        for piece in tokenizer.get_vocab()
        if always.fullmatch(piece.removeprefix("##").replace("\u2581", ""))
    }
    before = described["vocab_size"]
    keep = special | kept_whole | used_pieces(tokenizer, texts)
    pieces, old_ids = _prune_model(spec["model"], keep)
    new_id = {piece: i for i, piece in enumerate(pieces)}
    for token in spec["added_tokens"]:
        token["id"] = new_id[token["content"]]
    for token in (spec.get("post_processor") or {}).get("special_tokens", {}).values():
        token["ids"] = [new_id[piece] for piece in token["tokens"]]

    embeddings = weights[names[0]]
    for name in weights:
        if name.endswith(_POSITIONS) and len(weights[name]) > max_positions:
            weights[name] = weights[name][:max_positions].contiguous()
            described["max_position_embeddings"] = max_positions
    pad = tokenizer.id_to_token(described["pad_token_id"])
    described |= {"vocab_size": len(pieces), "pad_token_id": new_id[pad]}
    weights[names[0]] = embeddings[old_ids].contiguous()
    with atomic_folder(config.output) as folder:
        write_json(folder / "config.json", described)
        safetensors.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "tokenizer.json").write_text(
            json.dumps(spec, ensure_ascii=False), encoding="utf-8"
        )
    return {"before": before, "after": len(pieces)}
