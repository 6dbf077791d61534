"""A checkpoint of any size with random weights: to see what memory and time a large model takes.

    python benchmarks/random_checkpoint.py --tokenizer quantize/checkpoints/emotions-ru-tiny \
        --layers 24 --hidden 1024 --heads 16 --output runs/roberta-large-random

RoBERTa-shaped, with the vocabulary, labels and data of the checkpoint that the tokeniser is taken
from. It says of itself that its weights are random, so that no report scores it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import torch
from transformers import RobertaConfig, RobertaModel

from ov_emotions.system import environment
from ov_emotions.training.checkpoint import (
    DataFacts,
    HeadConfig,
    load_tokenizer,
    read_checkpoint_facts,
)
from ov_emotions.training.model import EmotionModel, save_checkpoint


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True, help="a checkpoint folder")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    facts = read_checkpoint_facts(args.tokenizer)
    tokenizer = load_tokenizer(str(args.tokenizer))
    torch.manual_seed(args.seed)
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        intermediate_size=4 * args.hidden,
        max_position_embeddings=514,
        pad_token_id=tokenizer.token_to_id("[PAD]") or 0,
        type_vocab_size=1,
    )
    model = EmotionModel(
        RobertaModel(config, add_pooling_layer=False), HeadConfig(len(facts.labels))
    )
    random = msgspec.structs.replace(
        facts,
        random_weights=True,
        base_model=f"random weights, RoBERTa-shaped, {args.layers} x {args.hidden}",
        training={"seed": args.seed},
        earlier_training=None,
        training_rows=None,
        drawn_rows=None,
        data=DataFacts(manifest_sha256=facts.data.manifest_sha256, sources=()),
        selection=None,
        step=0,
        provenance=environment("torch", "transformers"),
    )
    save_checkpoint(args.output, model, tokenizer, random)
    print(f"wrote {args.output}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
