"""transformers and torch: the earlier projects' path, dynamic padding, compiled, the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from batching import BATCH, EARLIER_LENGTH, batched
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from worker import Loaded, Way, decide

Predict = Callable[[list[str]], list[list[str]]]


def build(options: Mapping[str, Any]) -> Loaded:
    """Load a model and make the ways that are asked for.

    :param options: `model` (folder), `dtype`, `compile`, `ways`, `max_length`, `labels`,
        `thresholds`.
    :return: the ways.
    """
    tokenizer = AutoTokenizer.from_pretrained(options["model"])
    model = AutoModelForSequenceClassification.from_pretrained(
        options["model"], trust_remote_code=True, dtype=getattr(torch, options["dtype"])
    ).eval()
    run = torch.compile(model, dynamic=True) if options.get("compile") else model
    makers: dict[str, Callable[[], Predict]] = {
        "padded": lambda: _by_model(run, tokenizer, options, padded=True),
        "dynamic": lambda: _by_model(run, tokenizer, options),
        "sorted": lambda: _by_model(run, tokenizer, options, by_length=True),
        "pipeline": lambda: by_pipeline(model, tokenizer, options),
    }
    return Loaded({name: Way(makers[name]()) for name in options["ways"]})


def _by_model(
    model: Any,
    tokenizer: Any,
    options: Mapping[str, Any],
    *,
    padded: bool = False,
    by_length: bool = False,
) -> Predict:
    length = EARLIER_LENGTH if padded else options["max_length"]

    def probabilities(texts: list[str]) -> Any:
        encoded = tokenizer(
            texts,
            padding="max_length" if padded else True,
            truncation=True,
            max_length=length,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        return model(**encoded).logits.float().sigmoid().numpy()

    def predict(texts: list[str]) -> list[list[str]]:
        with torch.inference_mode():
            return decide(batched(texts, probabilities, by_length=by_length), options)

    return predict


def by_pipeline(model: Any, tokenizer: Any, options: Mapping[str, Any]) -> Predict:
    """Classify with transformers' text-classification pipeline.

    :param model: of torch, or optimum's.
    :param tokenizer: the model's.
    :param options: `max_length`, `labels`, `thresholds`.
    :return: takes texts, gives labels.
    """
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

    return predict
