"""The limit: the bare IR fed arrays that are tokenised, sorted by length and hold no padding."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
from tokenizers import Tokenizer
from worker import Loaded, Way, decide, sigmoid

BATCH_TOKENS = (1024, 2048, 4096, 8192)
Prepared = tuple[int, list[tuple[Any, dict[str, Any]]]]


def build(options: Mapping[str, Any]) -> Loaded:
    """Compile the IR, once for latency and once with a stream a core.

    :param options: `model` (.xml), `tokenizer` (file), `precision`, `max_length`, `labels`,
        `thresholds`, `trial` (texts that the settings are chosen on).
    :return: the ways `offline`, at the fastest settings, and `single`.
    """
    tokenizer = Tokenizer.from_file(options["tokenizer"])
    tokenizer.no_padding()
    tokenizer.enable_truncation(options["max_length"])
    hint = {"INFERENCE_PRECISION_HINT": options["precision"]}
    core = ov.Core()
    latency = core.compile_model(options["model"], "CPU", {**hint, "PERFORMANCE_HINT": "LATENCY"})
    streams = core.compile_model(
        options["model"], "CPU", {**hint, "PERFORMANCE_HINT": "THROUGHPUT"}
    )

    def prepare(texts: list[str], batch_tokens: int) -> Prepared:
        ids = [np.array(e.ids, dtype=np.int64) for e in tokenizer.encode_batch(texts)]
        return len(texts), _equal_lengths(ids, batch_tokens)

    queues = {
        name: ov.AsyncInferQueue(
            compiled, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + 1
        )
        for name, compiled in (("LATENCY", latency), ("THROUGHPUT", streams))
    }
    seconds = {}
    for name, queue in queues.items():
        for batch_tokens in BATCH_TOKENS:
            prepared = prepare(options["trial"], batch_tokens)
            _offline(queue, prepared)
            started = time.perf_counter()
            _offline(queue, prepared)
            seconds[name, batch_tokens] = time.perf_counter() - started
    hint_name, batch_tokens = min(seconds, key=lambda key: seconds[key])
    best = queues[hint_name]
    request = latency.create_infer_request()

    def prepare_and_meet(texts: list[str]) -> Prepared:
        # Shapes of exact lengths are new to OpenVINO with every round; a limit knows them all.
        prepared = prepare(texts, batch_tokens)
        _offline(best, prepared)
        return prepared

    def meet_alone(texts: list[str]) -> Any:
        given = prepare(texts, batch_tokens)[1][0][1]
        request.infer(given, share_inputs=True, share_outputs=True)
        return given

    def labels(found: Any) -> list[list[str]]:
        return decide(sigmoid(found), options)

    return Loaded(
        {
            "offline": Way(
                lambda prepared: _offline(best, prepared),
                prepare_and_meet,
                labels,
            ),
            "single": Way(
                lambda given: request.infer(given, share_inputs=True, share_outputs=True)[0],
                meet_alone,
                labels,
            ),
        },
        report=lambda: {"hint": hint_name, "batch_tokens": batch_tokens},
    )


def _equal_lengths(ids: list[Any], batch_tokens: int) -> list[tuple[Any, dict[str, Any]]]:
    """Put texts of one length together, the longest first: nothing has to be padded."""
    lengths = np.array([len(row) for row in ids])
    batches = []
    for length in sorted(set(lengths.tolist()), reverse=True):
        rows = np.flatnonzero(lengths == length)
        size = max(1, batch_tokens // length)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            stacked = np.stack([ids[i] for i in part])
            given = {"input_ids": stacked, "attention_mask": np.ones_like(stacked)}
            batches.append((part, given))
    return batches


def _offline(queue: Any, prepared: Prepared) -> Any:
    texts, batches = prepared
    found: list[Any] = [None] * len(batches)

    def keep(request: Any, place: int) -> None:
        found[place] = request.get_output_tensor(0).data.copy()

    queue.set_callback(keep)
    for place, (_, given) in enumerate(batches):
        queue.start_async(given, place, share_inputs=True)
    queue.wait_all()
    logits = np.empty((texts, found[0].shape[1]), dtype=np.float32)
    for (rows, _), part in zip(batches, found, strict=True):
        logits[rows] = part
    return logits
