"""Each candidate as two functions that do the same work: before it and after it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.encoding import EncodedBatch
from ov_emotions.machine import cpu_budget

_CHUNK = 256


@dataclass(frozen=True)
class Trial:
    """A candidate.

    :param name: what was changed.
    :param kept: whether the library does it.
    :param predicted: what was expected before it was measured.
    :param before: the work without it.
    :param after: the same work with it.
    """

    name: str
    kept: bool
    predicted: str
    before: Callable[[], object]
    after: Callable[[], object]


def trials(model: str, texts: list[str], cores: int | None) -> Iterator[Trial]:
    """Make the candidates, one at a time: each compiles models of its own.

    :param model: a bundle.
    :param texts: the list that is classified.
    :param cores: to use; all if None.
    :return: yields them.
    """
    bundle = Bundle.load(model)
    threads = cores or cpu_budget().cores
    ours = EmotionClassifier(bundle, threads=threads)
    yield from _tokenising(ours, bundle, texts, threads)
    yield from _batching(ours, bundle, texts, threads)
    yield from _tensors(ours, bundle, texts, threads)
    yield from _around(ours, texts)


def _tokenising(
    ours: EmotionClassifier, bundle: Bundle, texts: list[str], threads: int
) -> Iterator[Trial]:
    plain = EmotionClassifier(bundle, threads=threads)
    plain._encoder._words = None
    yield Trial(
        "words tokenised once, tokenising alone",
        True,
        "5 times as fast once the words are known",
        lambda: plain._encoder.encode(texts),
        lambda: ours._encoder.encode(texts),
    )
    yield Trial(
        "words tokenised once, whole call",
        True,
        "15 % on the tiny model, 2 % on the small one",
        lambda: plain(texts),
        lambda: ours(texts),
    )

    def overlapped() -> None:
        parts = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(ours._encoder.encode, parts[0])
            for part in [*parts[1:], []]:
                encoded = following.result()
                following = pool.submit(ours._encoder.encode, part)
                groups = encoded.groups(ours._batch_tokens)
                ours._join(encoded, groups, ours._backend.infer(encoded.batches(groups)))

    def in_turn() -> None:
        for i in range(0, len(texts), _CHUNK):
            ours.predict_logits(texts[i : i + _CHUNK])

    yield Trial(
        "chunk k+1 tokenised beside the inference of chunk k",
        False,
        "at most the tokenising's share, on idle cores only",
        in_turn,
        overlapped,
    )


def _batching(
    ours: EmotionClassifier, bundle: Bundle, texts: list[str], threads: int
) -> Iterator[Trial]:
    encoded = ours._encoder.encode(texts)

    def with_budget(tokens: int) -> Callable[[], object]:
        batches = list(encoded.batches(encoded.groups(tokens)))
        return lambda: ours._backend.infer(batches)

    base = with_budget(ours._batch_tokens)
    yield Trial(
        "1,024 tokens a thread instead of 4,096 a batch",
        True,
        "5 %, because a thread's activations fit its second-level cache",
        with_budget(4096),
        base,
    )
    yield Trial(
        "512 tokens a thread instead of 1,024",
        False,
        "a gain on the small model, a loss on the tiny one",
        base,
        with_budget(512 * threads),
    )
    if threads > 1:
        many = EmotionClassifier(bundle, threads=threads, streams=threads)
        yield Trial(
            "a stream a thread, lists",
            False,
            "10 %, because threads do not wait for each other",
            lambda: ours(texts),
            lambda: many(texts),
        )
        singles = texts[:50]
        yield Trial(
            "a stream a thread, texts one by one",
            False,
            "a loss of up to the number of threads",
            lambda: [ours(text) for text in singles],
            lambda: [many(text) for text in singles],
        )

    def unique() -> list[Any]:
        different = list(dict.fromkeys(texts))
        found = dict(zip(different, ours(different), strict=True))
        return [found[text] for text in texts]

    yield Trial(
        "equal texts of a list classified once",
        False,
        "no more than the share of repeated texts",
        lambda: ours(texts),
        unique,
    )


def _tensors(
    ours: EmotionClassifier, bundle: Bundle, texts: list[str], threads: int
) -> Iterator[Trial]:
    encoded = ours._encoder.encode(texts)
    batches = list(encoded.batches(encoded.groups(ours._batch_tokens)))
    options = {
        "INFERENCE_PRECISION_HINT": bundle.manifest.inference_precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = ov.Core()
    request = core.compile_model(str(bundle.model_path), "CPU", options).create_infer_request()

    def sync(batch: EncodedBatch, **how: bool) -> Any:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        return request.infer(inputs, **how)["logits"]

    yield Trial(
        "inputs shared instead of copied",
        True,
        "nothing that can be seen: a batch is 16 kB",
        lambda: [sync(batch) for batch in batches],
        lambda: [sync(batch, share_inputs=True) for batch in batches],
    )
    yield Trial(
        "outputs shared as well",
        False,
        "nothing that can be seen: an answer is 28 bytes a text",
        lambda: [sync(batch, share_inputs=True) for batch in batches],
        lambda: [sync(batch, share_inputs=True, share_outputs=True) for batch in batches],
    )
    prepared = ov.preprocess.PrePostProcessor(core.read_model(str(bundle.model_path)))
    for name in ("input_ids", "attention_mask"):
        prepared.input(name).tensor().set_element_type(ov.Type.i32)
    narrow = core.compile_model(prepared.build(), "CPU", options).create_infer_request()
    small = [
        {
            "input_ids": batch.input_ids.astype(np.int32),
            "attention_mask": batch.attention_mask.astype(np.int32),
        }
        for batch in batches
    ]
    yield Trial(
        "int32 ids in the graph",
        False,
        "two conversions fewer of a few kB: under 1 %",
        lambda: [sync(batch, share_inputs=True) for batch in batches],
        lambda: [narrow.infer(inputs, share_inputs=True) for inputs in small],
    )


def _around(ours: EmotionClassifier, texts: list[str]) -> Iterator[Trial]:
    yield Trial(
        "no predictions built (the most that lazy ones could gain)",
        False,
        "1 % on the tiny model",
        lambda: ours(texts),
        lambda: ours.predict_proba(texts),
    )
    name = ours.bundle.folder
    load = f"from ov_emotions import EmotionClassifier as C; C({str(name)!r}, cache_dir={{}})('да')"
    with tempfile.TemporaryDirectory() as cache:
        yield Trial(
            "cold start with a compiled model in the cache",
            True,
            "half a second less",
            lambda: _start(load.format(None)),
            lambda: _start(load.format(repr(cache))),
        )
    yield Trial(
        "OpenVINO imported without its converter",
        True,
        "50 ms less",
        lambda: _start("import openvino"),
        lambda: _start("from ov_emotions.runtime import import_openvino as i; i()"),
    )


def _start(code: str) -> None:
    silent = "import sys; sys.modules['openvino_telemetry'] = None; "
    subprocess.run([sys.executable, "-c", silent + code], check=True)
