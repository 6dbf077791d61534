"""optimum-intel: OVModelForSequenceClassification, alone and in transformers' pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batching import batched
from optimum.intel import OVModelForSequenceClassification
from torch_peer import by_pipeline
from transformers import AutoTokenizer
from worker import Loaded, Way, decide


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

    def way(by_length: bool) -> Way:
        return Way(
            lambda texts: decide(batched(texts, probabilities, by_length=by_length), options)
        )

    return Loaded(
        {
            "dynamic": way(False),
            "sorted": way(True),
            "pipeline": Way(by_pipeline(model, tokenizer, options)),
        }
    )
