"""A checkpoint of any size with random weights: to see what memory and time a large model takes.

    python -m benchmarks.random_checkpoint --tokenizer quantize/checkpoints/emotions-ru-tiny \
        --layers 24 --hidden 1024 --heads 16 --output runs/roberta-large-random

RoBERTa-shaped, with the vocabulary, labels and data of the checkpoint that the tokeniser is taken
from. It says of itself that its weights are random, so that no report scores it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import RobertaConfig, RobertaModel

from benchmarks.common import SEED, command
from ov_emotions.schema import Count
from ov_emotions.system import environment
from ov_emotions.training.checkpoint import (
    DataFacts,
    HeadConfig,
    load_tokenizer,
    read_checkpoint_facts,
)
from ov_emotions.training.model import EmotionModel, save_checkpoint


def make(
    *,
    tokenizer: Path,
    output: Path,
    layers: Count = 24,
    hidden: Count = 1024,
    heads: Count = 16,
    seed: int = SEED,
) -> None:
    """Make it.

    :param tokenizer: a checkpoint folder.
    :param output: a folder.
    """
    facts, words = read_checkpoint_facts(tokenizer), load_tokenizer(str(tokenizer))
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=514,
        pad_token_id=words.token_to_id("[PAD]") or 0,
        type_vocab_size=1,
    )
    encoder = RobertaModel(config, add_pooling_layer=False)
    model = EmotionModel(encoder, HeadConfig(len(facts.labels)))
    random = facts.replace(
        random_weights=True,
        base_model=f"random weights, RoBERTa-shaped, {layers} x {hidden}",
        training={"seed": seed},
        earlier_training=None,
        training_rows=None,
        drawn_rows=None,
        data=DataFacts(manifest_sha256=facts.data.manifest_sha256, sources=()),
        selection=None,
        step=0,
        provenance=environment("torch", "transformers"),
    )
    save_checkpoint(output, model, words, random)
    print(f"wrote {output}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    sys.exit(command("benchmarks.random_checkpoint", make))
