"""A T5 of two layers with random weights, and a small vocabulary of T5's kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from raw_sets import FILLERS, TELLING
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from ov_emotions.labels import EKMAN

SPECIAL = ("<pad>", "</s>", "<unk>")
CORPUS = [*FILLERS, *TELLING.values(), *EKMAN.russian.values(), *EKMAN.labels, "эмоции: нет,"]


def tiny_tokenizer(corpus: Sequence[str] = CORPUS) -> Tokenizer:
    """Make a Unigram vocabulary, as T5's are: the words of a corpus, then its characters.

    Not trained: the trainer of `tokenizers` does not give the same pieces twice.
    """
    text = " ".join(corpus).replace(",", " , ").replace(":", " : ")
    words = dict.fromkeys("\u2581" + word for word in text.split())
    characters = dict.fromkeys("\u2581" + "".join(sorted({*text} - {" "})))
    pieces = [(piece, 0.0) for piece in SPECIAL]
    pieces += [(piece, -1.0) for piece in words] + [(piece, -9.0) for piece in characters]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>")))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", SPECIAL.index("</s>"))]
    )
    return tokenizer


def write_tiny_t5(folder: Path, tokenizer: Tokenizer | None = None) -> Path:
    """Write a base that training starts from."""
    tokenizer = tokenizer or tiny_tokenizer()
    torch.manual_seed(1)
    config = transformers.T5Config(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        dropout_rate=0.05,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
