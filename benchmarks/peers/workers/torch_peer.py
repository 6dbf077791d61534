"""transformers and torch: the earlier projects' path, dynamic padding, compiled, the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from worker import BATCH, Loaded, Way, batched

EARLIER_LENGTH = 32
"""What the earlier projects padded and cut every text to."""


def build(options: Mapping[str, Any]) -> Loaded:
    """Load a model and make the ways that are asked for.

    :param options: `model` (folder), `dtype`, `compile`, `ways`, `max_length`, `labels`,
        `thresholds`.
    """
    tokenizer = AutoTokenizer.from_pretrained(options["model"])
    model = AutoModelForSequenceClassification.from_pretrained(
        options["model"], trust_remote_code=True, dtype=getattr(torch, options["dtype"])
    ).eval()
    run = torch.compile(model, dynamic=True) if options.get("compile") else model

    @torch.inference_mode()
    def probabilities(texts: list[str], padding: str | bool, length: int) -> Any:
        encoded = tokenizer(
            texts,
            padding=padding,
            truncation=True,
            max_length=length,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        return run(**encoded).logits.float().sigmoid().numpy()

    padded = partial(probabilities, padding="max_length", length=EARLIER_LENGTH)
    dynamic = partial(probabilities, padding=True, length=options["max_length"])
    ways = {
        "padded": batched(padded, options),
        "dynamic": batched(dynamic, options),
        "sorted": batched(dynamic, options, by_length=True),
    }
    if "pipeline" in options["ways"]:
        ways["pipeline"] = by_pipeline(model, tokenizer, options)
    return Loaded({name: ways[name] for name in options["ways"]})


def by_pipeline(model: Any, tokenizer: Any, options: Mapping[str, Any]) -> Way:
    """Classify with transformers' text-classification pipeline, a model of torch or optimum."""
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    cuts = dict(zip(options["labels"], options["thresholds"], strict=True))

    def predict(texts: list[str]) -> list[list[str]]:
        found = classify(
            texts,
            top_k=None,
            function_to_apply="sigmoid",
            batch_size=BATCH,
            padding=True,
            truncation=True,
            max_length=options["max_length"],
        )
        return [[s["label"] for s in row if s["score"] >= cuts[s["label"]]] for row in found]

    return Way(predict)
