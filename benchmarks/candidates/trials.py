"""Each candidate as two functions that do the same work: before it and after it."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.encoding import EncodedBatch
from ov_emotions.runtime.models import OpenVINOModels, in_order
from ov_emotions.system import cpu_budget

_CHUNK = 256
_LIST = 200


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
    # One model, so that nothing but the candidate differs.
    ours = EmotionClassifier(bundle, threads=threads, streams=1)
    yield from _tokenising(ours, texts)
    yield from _batching(ours, texts, threads)
    yield from _models(ours, bundle, texts, threads)
    yield from _tensors(ours, bundle, texts, threads)
    yield from _around(ours, texts)


def _opened(ours: EmotionClassifier) -> OpenVINOModels:
    assert isinstance(ours._models, OpenVINOModels)
    return ours._models


def _tokenising(ours: EmotionClassifier, texts: list[str]) -> Iterator[Trial]:
    def overlapped() -> None:
        parts = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(ours._encoder.encode, parts[0])
            for part in [*parts[1:], []]:
                encoded = following.result()
                following = pool.submit(ours._encoder.encode, part)
                groups = encoded.groups(_opened(ours)._batch_tokens)
                found = _opened(ours)._plain.infer(encoded.batches(groups))
                ours._join(encoded, in_order(groups, found))

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


def _batching(ours: EmotionClassifier, texts: list[str], threads: int) -> Iterator[Trial]:
    encoded = ours._encoder.encode(texts)

    def with_budget(tokens: int) -> Callable[[], object]:
        batches = list(encoded.batches(encoded.groups(tokens)))
        return lambda: _opened(ours)._plain.infer(batches)

    base = with_budget(_opened(ours)._batch_tokens)
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

    def in_given_order() -> object:
        size = max(1, _opened(ours)._batch_tokens // int(encoded.lengths.max()))
        rows = np.arange(len(encoded.lengths))
        groups = [rows[i : i + size] for i in range(0, len(rows), size)]
        return _opened(ours)._plain.infer(encoded.batches(groups))

    yield Trial(
        "texts of like length batched together",
        True,
        "twice as fast: the mean text is half as long as the longest of a batch",
        in_given_order,
        base,
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


def _models(
    ours: EmotionClassifier, bundle: Bundle, texts: list[str], threads: int
) -> Iterator[Trial]:
    def one_by_one(classifier: EmotionClassifier) -> Callable[[], object]:
        return lambda: [classifier(text) for text in texts[:50]]

    def lists(classifier: EmotionClassifier) -> Callable[[], object]:
        """Classify lists that differ, as a program's do; every caller gets the same ones."""
        chosen = random.Random(0)
        return lambda: [classifier(chosen.sample(texts, _LIST)) for _ in range(4)]

    with (
        EmotionClassifier(bundle, threads=threads) as whole,
        EmotionClassifier(bundle, threads=threads, streams=threads) as many,
    ):
        whole.warm_up()
        yield Trial(
            "a second model for lists: packed rows, a stream a thread",
            True,
            "20 %: no padding, few shapes, and threads that do not wait for each other",
            lists(ours),
            lists(whole),
        )
        if threads > 1:
            yield Trial(
                "packed rows instead of padded ones, a stream a thread in both",
                True,
                "10 %: the padding and what new shapes cost, less what wider attention does",
                lists(many),
                lists(whole),
            )
            yield Trial(
                "a stream a thread instead of one of all threads, rows padded in both",
                True,
                "10 %, because threads do not wait for each other",
                lists(ours),
                lists(many),
            )
        yield Trial(
            "models of one shape for single texts",
            True,
            "a third less time, because no layer is prepared anew",
            one_by_one(ours),
            one_by_one(whole),
        )
        if threads > 1:
            yield Trial(
                "a stream a thread for single texts too",
                False,
                "a loss of up to the number of threads",
                one_by_one(ours),
                one_by_one(many),
            )
    now = ov.Core().read_model(bundle.model_path)
    former = ov.Core().read_model(bundle.model_path)
    _dequantize_before_looking_up(former)
    yield Trial(
        "embeddings looked up before they are dequantized, time to compile",
        True,
        "a quarter of the time on the tiny model, whose table is most of it",
        lambda: ov.Core().compile_model(former, "CPU"),
        lambda: ov.Core().compile_model(now, "CPU"),
    )


def _dequantize_before_looking_up(model: ov.Model) -> None:
    """Turn the lookup around again, to what NNCF wrote."""
    for scaled in [node for node in model.get_ops() if node.get_type_name() == "Multiply"]:
        converted, scales = (source.get_node() for source in scaled.input_values())
        if converted.get_type_name() != "Convert" or scales.get_type_name() != "Gather":
            continue
        rows = converted.input_value(0).get_node()
        if rows.get_type_name() == "Gather":
            table = ops.multiply(ops.convert(rows.input_value(0), "f32"), scales.input_value(0))
            found = ops.gather(table, rows.input_value(1), rows.input_value(2))
            for target in list(scaled.output(0).get_target_inputs()):
                target.replace_source_output(found.output(0))
    model.validate_nodes_and_infer_types()


def _tensors(
    ours: EmotionClassifier, bundle: Bundle, texts: list[str], threads: int
) -> Iterator[Trial]:
    encoded = ours._encoder.encode(texts)
    batches = list(encoded.batches(encoded.groups(_opened(ours)._batch_tokens)))
    options = {
        "INFERENCE_PRECISION_HINT": bundle.manifest.inference_precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = ov.Core()
    compiled = core.compile_model(str(bundle.model_path), "CPU", options)
    # One each: a request that was given shared arrays copies none of another size any more.
    copying, sharing = compiled.create_infer_request(), compiled.create_infer_request()

    def sync(batch: EncodedBatch, **how: bool) -> Any:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        request = sharing if how else copying
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
        lambda: _start("from ov_emotions.system import import_openvino as i; i()"),
    )


def _start(code: str) -> None:
    silent = "import sys; sys.modules['openvino_telemetry'] = None; "
    subprocess.run([sys.executable, "-c", silent + code], check=True)
