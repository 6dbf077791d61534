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
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.classifier import DEFAULT_CHUNK_SIZE
from ov_emotions.encoding import EncodedTexts, TextEncoder
from ov_emotions.runtime.models import default_batch_tokens
from ov_emotions.runtime.packing import Packing
from ov_emotions.tuning.search import sample_texts

TINY = "emotions-ru-tiny"
TEXTS = sample_texts(400, seed=7)
ONE_CORE = default_batch_tokens(1)


class Counter:
    """Counts calls, and passes them on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *watched: tuple[Any, str]) -> None:
        self.calls = {name: 0 for _, name in watched}
        for owner, name in watched:
            monkeypatch.setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return original(*args, **kwargs)

        return count


class Requests:
    """The backend's requests, counting what is started and keeping what it was given."""

    def __init__(self, backend: Any) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.untouched: list[bool] = []
        pool = backend._free
        for request in [pool.get() for _ in range(pool.qsize())]:
            pool.put(_Request(request, self))

    def computed(self) -> int:
        assert all(self.untouched), "OpenVINO copies what is not shared, or not contiguous"
        return sum(rows * columns for rows, columns in self.shapes)


class _Request:
    def __init__(self, request: Any, counts: Requests) -> None:
        self._request, self._counts = request, counts

    def start_async(self, inputs: dict[str, np.ndarray[Any, Any]], **options: Any) -> None:
        self._counts.shapes.append(inputs["input_ids"].shape)
        contiguous = all(array.flags.c_contiguous for array in inputs.values())
        self._counts.untouched.append(contiguous and bool(options.get("share_inputs")))
        self._request.start_async(inputs, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


@pytest.fixture(scope="module", params=SHIPPED)
def encoder(request: pytest.FixtureRequest) -> TextEncoder:
    bundle = Bundle.load(request.param)
    return TextEncoder(bundle.tokenizer(), bundle.manifest.max_length)


@pytest.fixture(scope="module")
def classifier() -> Iterator[EmotionClassifier]:
    """As it is before lists have a model of their own."""
    with EmotionClassifier(TINY, threads=1) as made:
        vars(made._models)["_lists"] = None
        yield made


@pytest.fixture(scope="module")
def packed() -> Iterator[EmotionClassifier]:
    """As it is when they have."""
    with EmotionClassifier(TINY, threads=1) as made:
        made.warm_up()
        yield made


def test_a_packed_list_has_next_to_no_padding_and_is_not_copied(packed: EmotionClassifier) -> None:
    requests = Requests(vars(packed._models)["_lists"]._made)
    packed(TEXTS)
    assert requests.computed() <= 1.03 * len(packed._encoder.encode(TEXTS).ids)


def test_packed_rows_are_few_batches_of_few_shapes(encoder: TextEncoder) -> None:
    shapes = [b.input_ids.shape for b in Packing(encoder.encode(TEXTS), ONE_CORE, 1).batches()]
    assert len(shapes) <= 10, "for both models"
    usual = {(32, 32), (16, 64)}  # the last ones of each width are smaller
    assert sum(shape in usual for shape in shapes) >= 0.4 * len(shapes)
    assert max(rows * columns for rows, columns in shapes) <= ONE_CORE
    for seed in range(30):
        encoded = encoder.encode(sample_texts(7 + 13 * seed, seed=seed))
        shapes += [batch.input_ids.shape for batch in Packing(encoded, ONE_CORE, 1).batches()]
    assert len(set(shapes)) <= 16


def test_a_list_is_few_batches_with_little_padding(encoder: TextEncoder) -> None:
    encoded = encoder.encode(TEXTS)
    shapes = [b.input_ids.shape for b in encoded.batches(encoded.groups(ONE_CORE))]
    assert sum(rows for rows, _ in shapes) == len(TEXTS), "every text once"
    assert len(shapes) in (17, 18), "of the small model and of the tiny one"
    computed = [rows * columns for rows, columns in shapes]
    assert sum(computed) <= 1.1 * len(encoded.ids), "padding is at most ten tokens in a hundred"
    assert max(computed) <= ONE_CORE


@pytest.mark.parametrize(
    ("texts", "shapes"),
    [
        *((["да " * n], [(1, width)]) for n, width in ((1, 16), (9, 16), (20, 32), (40, 48))),
        (["да " * 70], [(1, 72)]),  # no wider than its step
        (["", "...", "😀"] * 20, []),
    ],
)
def test_a_text_is_one_batch_of_one_of_few_widths(
    classifier: EmotionClassifier, texts: list[str], shapes: list[tuple[int, int]]
) -> None:
    requests = Requests(vars(classifier._models)["_plain"])
    classifier(texts)
    assert requests.shapes == shapes
    assert requests.computed() == sum(rows * columns for rows, columns in shapes)


@pytest.mark.parametrize(
    ("kind", "backend", "layout"),
    [
        ("packed", "_lists", ((Packing, "__init__"), (Packing, "batches"))),
        ("classifier", "_plain", ((EncodedTexts, "groups"), (EncodedTexts, "batches"))),
    ],
)
def test_a_list_is_tokenised_laid_out_run_and_joined_once(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    backend: str,
    layout: tuple[tuple[Any, str], ...],
) -> None:
    made: EmotionClassifier = request.getfixturevalue(kind)
    runs = vars(made._models)[backend]
    stages = ((made._encoder, "encode"), (getattr(runs, "_made", runs), "infer"), (made, "_join"))
    counter = Counter(monkeypatch, *layout, *stages)
    made(TEXTS)
    assert len(counter.calls) == 5
    assert counter.calls == dict.fromkeys(counter.calls, 1)


def test_lists_and_chunks_of_a_stream_are_tokenised_and_run_in_one_call(
    classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = classifier._encoder._tokenizer

    class Tokenizer:
        def encode_batch_fast(self, texts: list[str]) -> Any:
            asked.append(len(texts))
            return original.encode_batch_fast(texts)

    monkeypatch.setattr(classifier._encoder, "_tokenizer", Tokenizer())
    counter = Counter(monkeypatch, (vars(classifier._models)["_plain"], "infer"))
    classifier(TEXTS)
    classifier("да")
    assert len(list(classifier.stream(iter(TEXTS)))) == len(TEXTS) < DEFAULT_CHUNK_SIZE
    assert asked == [len(TEXTS), 1, len(TEXTS)]
    assert counter.calls == {"infer": 3}


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

HEAVY = (
    *("torch", "transformers", "pandas", "scipy", "pyarrow", "nncf", "optimum", "matplotlib"),
    *("huggingface_hub", "tritonclient", "grpc", "aiohttp", "requests", "google.protobuf"),
)


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
