"""The work that a list of texts costs, counted: what CI can hold, whatever the machine does.

Seconds depend on the machine; batches, padded tokens, calls and copies do not. A number that rises
here is time lost everywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import SHIPPED
from ov_emotions.classifier import DEFAULT_CHUNK_SIZE
from ov_emotions.encoding import EncodedTexts
from ov_emotions.runtime.models import default_batch_tokens
from ov_emotions.runtime.packing import Packing
from ov_emotions.tuning.sample import sample_texts

TEXTS = sample_texts(400, seed=7)
ONE_CORE = default_batch_tokens(1)


class Counter:
    """Counts calls, and passes them on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.calls: dict[str, int] = {}

    def watch(self, owner: Any, name: str, called: str | None = None) -> None:
        original: Callable[..., Any] = getattr(owner, name)
        called = called or name
        self.calls[called] = 0

        def count(*args: Any, **kwargs: Any) -> Any:
            self.calls[called] += 1
            return original(*args, **kwargs)

        self._monkeypatch.setattr(owner, name, count)


class Requests:
    """The backend's requests, counting what is started and keeping what it was given."""

    def __init__(self, backend: Any) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.shared: list[bool] = []
        self.contiguous: list[bool] = []
        pool = backend._free
        for request in [pool.get() for _ in range(pool.qsize())]:
            pool.put(_Request(request, self))


class _Request:
    def __init__(self, request: Any, counts: Requests) -> None:
        self._request, self._counts = request, counts

    def start_async(self, inputs: dict[str, np.ndarray[Any, Any]], **options: Any) -> None:
        self._counts.shapes.append(inputs["input_ids"].shape)
        self._counts.shared.append(bool(options.get("share_inputs")))
        self._counts.contiguous.append(all(a.flags.c_contiguous for a in inputs.values()))
        self._request.start_async(inputs, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


@pytest.fixture(scope="module", params=SHIPPED)
def classifier(request: pytest.FixtureRequest) -> Iterator[EmotionClassifier]:
    """As it is before lists have a model of their own."""
    with EmotionClassifier(request.param, threads=1) as made:
        vars(made._models)["_lists"] = None
        yield made


@pytest.fixture(scope="module", params=SHIPPED)
def packed(request: pytest.FixtureRequest) -> Iterator[EmotionClassifier]:
    """As it is when they have."""
    with EmotionClassifier(request.param, threads=1) as made:
        made.warm_up()
        yield made


def bulk_backend(classifier: EmotionClassifier) -> Any:
    return vars(classifier._models)["_lists"]._made


def passes_each_once(
    classifier: EmotionClassifier,
    backend: Any,
    choose: tuple[Any, str],
    fill: tuple[Any, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check that a list is tokenised, laid out, run and joined once."""
    counter = Counter(monkeypatch)
    for stage in (choose, fill, (classifier._encoder, "encode")):
        counter.watch(*stage)
    counter.watch(backend, "infer")
    counter.watch(classifier, "_join")
    classifier(TEXTS)
    assert len(counter.calls) == 5
    assert counter.calls == dict.fromkeys(counter.calls, 1)


BATCHES = {"emotions-ru-small": 17, "emotions-ru-tiny": 18}
"""Batches of TEXTS on one core."""

PACKED_BATCHES = 10
"""At most as many in packed rows, for both models."""

PACKED_SHAPES = {(32, 32), (16, 64)}
"""What nearly all of them have; the last ones of each width are smaller."""


def test_packed_rows_hold_a_list_with_next_to_no_padding(packed: EmotionClassifier) -> None:
    requests = Requests(bulk_backend(packed))
    packed(TEXTS)
    tokens = len(packed._encoder.encode(TEXTS).ids)
    computed = sum(rows * columns for rows, columns in requests.shapes)
    assert computed <= 1.03 * tokens, "padding is at most three tokens in a hundred"
    assert len(requests.shapes) <= PACKED_BATCHES
    assert sum(shape in PACKED_SHAPES for shape in requests.shapes) >= 0.4 * len(requests.shapes)
    assert max(rows * columns for rows, columns in requests.shapes) <= ONE_CORE
    assert all(requests.shared)
    assert all(requests.contiguous), "OpenVINO copies what is not contiguous"


def test_lists_of_any_kind_have_few_shapes(packed: EmotionClassifier) -> None:
    requests = Requests(bulk_backend(packed))
    for seed in range(30):
        packed(sample_texts(7 + 13 * seed, seed=seed))
    assert len(set(requests.shapes)) <= 16


def test_a_packed_list_passes_each_stage_once(
    packed: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = bulk_backend(packed)
    passes_each_once(packed, backend, (Packing, "__init__"), (Packing, "batches"), monkeypatch)


def test_a_list_is_few_batches_with_little_padding(classifier: EmotionClassifier) -> None:
    requests = Requests(vars(classifier._models)["_plain"])
    classifier(TEXTS)
    tokens = len(classifier._encoder.encode(TEXTS).ids)
    computed = sum(rows * columns for rows, columns in requests.shapes)
    assert sum(rows for rows, _ in requests.shapes) == len(TEXTS), "every text once"
    assert len(requests.shapes) == BATCHES[classifier.bundle.manifest.name]
    assert computed <= 1.1 * tokens, "padding is at most ten tokens in a hundred"
    assert max(rows * columns for rows, columns in requests.shapes) <= ONE_CORE


def test_batches_reach_the_model_without_a_copy(classifier: EmotionClassifier) -> None:
    requests = Requests(vars(classifier._models)["_plain"])
    classifier(TEXTS[:50])
    classifier("слово")
    assert all(requests.shared)
    assert all(requests.contiguous), "OpenVINO copies what is not contiguous"


@pytest.mark.parametrize(("words", "width"), [(1, 16), (9, 16), (20, 32), (40, 48)])
def test_one_text_is_one_batch_of_one_of_few_widths(
    classifier: EmotionClassifier, words: int, width: int
) -> None:
    requests = Requests(vars(classifier._models)["_plain"])
    classifier("да " * words)
    assert requests.shapes == [(1, width)]


def test_a_long_text_is_no_wider_than_its_step(classifier: EmotionClassifier) -> None:
    requests = Requests(vars(classifier._models)["_plain"])
    classifier("да " * 70)
    assert requests.shapes == [(1, 72)]


def test_texts_without_words_cost_no_inference(classifier: EmotionClassifier) -> None:
    requests = Requests(vars(classifier._models)["_plain"])
    classifier(["", "...", "😀"] * 20)
    assert requests.shapes == []


def test_a_list_is_tokenised_in_one_call(
    classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = classifier._encoder._tokenizer

    class Tokenizer:
        def encode_batch_fast(self, texts: list[str]) -> Any:
            asked.append(len(texts))
            return original.encode_batch_fast(texts)

    monkeypatch.setattr(classifier._encoder, "_tokenizer", Tokenizer())
    classifier(TEXTS)
    classifier("да")
    assert asked == [len(TEXTS), 1]


def test_a_call_passes_each_stage_once(
    classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = (EncodedTexts, "groups"), (EncodedTexts, "batches")
    passes_each_once(classifier, vars(classifier._models)["_plain"], *layout, monkeypatch)


def test_a_stream_classifies_whole_chunks(
    classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(monkeypatch)
    counter.watch(vars(classifier._models)["_plain"], "infer")
    predictions = list(classifier.stream(iter(TEXTS)))
    assert len(predictions) == len(TEXTS)
    chunks = -(-len(TEXTS) // DEFAULT_CHUNK_SIZE)
    assert counter.calls["infer"] == chunks


def test_the_production_path_reads_no_clock(
    classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    counter = Counter(monkeypatch)
    for clock in ("perf_counter", "monotonic", "time", "process_time", "perf_counter_ns"):
        counter.watch(time, clock)
    classifier(TEXTS[:20])
    assert not any(counter.calls.values())


IMPORTED = """
import json, sys
import ov_emotions
package = sorted(sys.modules)
from ov_emotions import EmotionClassifier
named = sorted(sys.modules)
classifier = EmotionClassifier(threads=1)
classifier("слово")
print(json.dumps([package, named, sorted(sys.modules)]))
"""

HEAVY = ("torch", "transformers", "pandas", "scipy", "pyarrow", "nncf", "optimum", "matplotlib")


def test_an_import_and_a_prediction_bring_few_modules() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )
    package, named, all_of_it = json.loads(done.stdout)
    assert not {"numpy", "openvino", "tokenizers"} & set(package)
    assert "openvino" not in named, "it is the larger half, and wanted only by a model"
    assert not set(HEAVY) & set(all_of_it)
    assert "openvino.tools.ovc" not in all_of_it, "the converter takes as long as OpenVINO itself"
    ours = [name for name in all_of_it if name.startswith("ov_emotions")]
    assert len(ours) <= 25
    assert not [name for name in ours if name.startswith(("ov_emotions.tuning", "ov_emotions.cli"))]
    assert len(package) <= 130
    assert len(all_of_it) <= 560
