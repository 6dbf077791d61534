"""A checkpoint of ours as transformers knows checkpoints, and as ONNX; in the peer's environment.

    PYTHON convert.py CHECKPOINT OUTPUT

The weights and the tokeniser stay the same. OUTPUT becomes a folder for
`AutoModelForSequenceClassification.from_pretrained(..., trust_remote_code=True)`, with model.onnx
in a folder of its own beside it.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

CLASSES = {
    "bert": "MeanPooledBertForSequenceClassification",
    "roberta": "MeanPooledRobertaForSequenceClassification",
}
PAD_TOKENS = ("[PAD]", "<pad>")


def to_transformers(checkpoint: Path, output: Path) -> None:
    """Write the folder.

    :param checkpoint: of `ov-emotions train`, mean-pooled with a head of one layer.
    :param output: the folder to fill.
    """
    head = json.loads((checkpoint / "head.json").read_text(encoding="utf-8"))
    facts = json.loads((checkpoint / "checkpoint.json").read_text(encoding="utf-8"))
    config: Any = AutoConfig.from_pretrained(checkpoint)
    if head["pooling"] != "mean" or head.get("hidden_size"):
        raise SystemExit(f"{checkpoint} has another head than mean pooling and one layer: {head}")
    config.id2label = dict(enumerate(facts["labels"]))
    config.label2id = {label: i for i, label in enumerate(facts["labels"])}
    config.problem_type = "multi_label_classification"
    name = CLASSES[config.model_type]
    config.architectures = [name]
    config.auto_map = {"AutoModelForSequenceClassification": f"pooled.{name}"}
    output.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(output)
    shutil.copy(Path(__file__).with_name("pooled.py"), output / "pooled.py")

    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(output), trust_remote_code=True
    ).float()
    weights = load_file(checkpoint / "model.safetensors")
    prefix = config.model_type + "."
    renamed = {
        prefix + key.removeprefix("encoder.") if key.startswith("encoder.") else key: value.float()
        for key, value in weights.items()
    }
    model.load_state_dict(renamed)
    model.save_pretrained(output)
    # As remote code its class comes from the folder; saving must not have dropped that.
    config.save_pretrained(output)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(checkpoint / "tokenizer.json"), model_max_length=facts["max_length"]
    )
    known = set(tokenizer.get_vocab())
    tokenizer.pad_token = next(token for token in PAD_TOKENS if token in known)
    tokenizer.save_pretrained(output)
    # transformers 5 writes a name that 4, which servers still use, does not know.
    path = output / "tokenizer_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, "tokenizer_class": "PreTrainedTokenizerFast"}))


def to_onnx(folder: Path) -> None:
    """Export the converted checkpoint.

    :param folder: what `to_transformers` wrote; onnx/model.onnx is added.
    """
    # Eager attention: its products are plain MatMul nodes, which quantization knows.
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=True, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    ids = torch.randint(5, 1000, (2, 16))
    (folder / "onnx").mkdir(exist_ok=True)
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            str(folder / "onnx" / "model.onnx"),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={
                "input_ids": {0: batch, 1: tokens},
                "attention_mask": {0: batch, 1: tokens},
            },
            dynamo=True,
            external_data=False,  # 1.4 GB fit; ONNX Runtime's quantization wants one file
        )


def main() -> None:
    """Do both."""
    checkpoint, output = map(Path, sys.argv[1:])
    to_transformers(checkpoint, output)
    to_onnx(output)


if __name__ == "__main__":
    main()
