"""optimum-intel: OVModelForSequenceClassification, alone and in transformers' pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimum.intel import OVModelForSequenceClassification
from torch_peer import by_pipeline
from transformers import AutoTokenizer
from worker import Loaded, batched


def build(options: Mapping[str, Any]) -> Loaded:
    """Load a model.

    :param options: `model` (folder), `max_length`, `labels`, `thresholds`.
    :return: the ways `dynamic`, `sorted` and `pipeline`.
    """
    tokenizer = AutoTokenizer.from_pretrained(options["model"])
    model = OVModelForSequenceClassification.from_pretrained(options["model"])

    def probabilities(texts: list[str]) -> Any:
        encoded = tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=options["max_length"],
            return_tensors="pt",
            return_token_type_ids=False,
        )
        return model(**encoded).logits.sigmoid().numpy()

    return Loaded(
        {
            "dynamic": batched(probabilities, options),
            "sorted": batched(probabilities, options, by_length=True),
            "pipeline": by_pipeline(model, tokenizer, options),
        }
    )
