"""The model of packed rows: that it says what the other says, or is not made."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle, shipped
from ov_emotions.encoding import TextEncoder
from ov_emotions.runtime import packed as module
from ov_emotions.runtime.bulk import BulkModel
from ov_emotions.runtime.openvino import OpenVINOBackend
from ov_emotions.runtime.packed import compile_bulk
from ov_emotions.runtime.packed_graph import UnpackableError, pack_graph
from ov_emotions.runtime.packing import Packing
from ov_emotions.tuning.sample import sample_texts

TINY = "emotions-ru-tiny"


@pytest.fixture(scope="module")
def classifier() -> Iterator[EmotionClassifier]:
    with EmotionClassifier(TINY, threads=2) as made:
        yield made


@pytest.fixture
def graph() -> Any:
    bundle = Bundle.load(shipped(TINY))
    return ov.Core().read_model(bundle.model_path)


def bulk_of(classifier: EmotionClassifier) -> BulkModel | None:
    assert classifier._bulk is not None
    return classifier._bulk._model.made


def attention_of(model: ov.Model) -> list[Any]:
    found = [n for n in model.get_ops() if n.get_type_name() == "ScaledDotProductAttention"]
    assert found
    return found


def test_lists_are_answered_as_single_texts_are(classifier: EmotionClassifier) -> None:
    words = [w for text in sample_texts(50) for w in text.split()]
    generator = random.Random(1)
    texts = [" ".join(generator.choices(words, k=generator.randint(1, 90))) for _ in range(400)]
    texts[7], texts[100], texts[399] = "", "...", "слово " * 300
    with EmotionClassifier(TINY, threads=2, streams=1) as plain:
        assert plain._bulk is None
        expected = plain.predict_proba(texts)
        predictions = plain(texts)
    classifier.warm_up()
    made = bulk_of(classifier)
    assert made is not None
    assert made.packed
    # INT8 rounds otherwise in batches of another shape.
    np.testing.assert_allclose(classifier.predict_proba(texts), expected, atol=0.02)
    assert abs(classifier.predict_proba(texts) - expected).mean() < 1e-4
    same = [a.labels == b.labels for a, b in zip(classifier(texts), predictions, strict=True)]
    assert sum(same) >= 398
    for few in (texts[:2], texts[5:9], texts[398:], ["слово " * 300]):
        rows = [texts.index(text) if text in texts else 399 for text in few]
        np.testing.assert_allclose(classifier.predict_proba(few), expected[rows], atol=0.02)


def test_a_text_does_not_depend_on_its_neighbours(classifier: EmotionClassifier) -> None:
    classifier.warm_up()
    texts = ["ну наконец то доехали я так рада", "боюсь"]
    fillers = sample_texts(300, seed=3)
    alone = classifier.predict_proba(texts)
    among = classifier.predict_proba([*fillers[:150], *texts, *fillers[150:]])
    np.testing.assert_allclose(among[150:152], alone, atol=0.01)


def test_a_profile_counts_the_packed_rows(classifier: EmotionClassifier) -> None:
    classifier.warm_up()
    found = classifier.profile(sample_texts(300), repeats=1)
    assert found.windows == 300
    assert found.padding < 0.02
    assert {layer.name for layer in found.layer_types} >= {"FullyConnected"}


def test_one_thread_has_packed_rows_as_well() -> None:
    with EmotionClassifier(TINY, threads=1) as one:
        one.warm_up()
        made = bulk_of(one)
    assert made is not None
    assert made.packed


def test_a_graph_without_attention_stays_as_it_is(
    tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = TextEncoder(tiny_bundle.tokenizer(), tiny_bundle.manifest.max_length)
    plain = OpenVINOBackend(tiny_bundle, threads=1)

    def compiled(*, packed: bool) -> OpenVINOBackend:
        return OpenVINOBackend(tiny_bundle, threads=1, streams=1, packed=packed)

    with caplog.at_level(logging.INFO, logger="ov_emotions"):
        several = compile_bulk(compiled, plain, encoder, threads=2)
    assert several is not None
    assert not several.packed
    assert "the model takes no others: it has no attention of a known kind" in caplog.text
    assert compile_bulk(compiled, plain, encoder, threads=1) is None


def test_a_model_that_says_something_else_packed_is_not_packed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle = Bundle.load(shipped(TINY))
    encoder = TextEncoder(bundle.tokenizer(), bundle.manifest.max_length)
    plain = OpenVINOBackend(bundle, threads=1)

    class Shifted(OpenVINOBackend):
        def infer(self, batches: Any) -> Any:
            found = [b.inputs() for b in batches]
            for inputs in found:
                inputs["segments"][inputs["segments"] > 0] = 1  # all see each other
            return super().infer([cast("Any", Given(inputs)) for inputs in found])

    class Given:
        def __init__(self, inputs: dict[str, Any]) -> None:
            self._inputs, self.input_ids = inputs, inputs["input_ids"]

        def inputs(self) -> dict[str, Any]:
            return self._inputs

    made: list[OpenVINOBackend] = []

    def compiled(*, packed: bool) -> OpenVINOBackend:
        made.append((Shifted if packed else OpenVINOBackend)(bundle, threads=1, packed=packed))
        return made[-1]

    with caplog.at_level(logging.INFO, logger="ov_emotions"):
        found = compile_bulk(compiled, plain, encoder, threads=2)
    assert found == BulkModel(made[1], packed=False)
    assert made[0]._closed
    assert "the model takes no others: it says something else then" in caplog.text


def test_the_probes_differ_in_length_and_share_rows() -> None:
    bundle = Bundle.load(shipped(TINY))
    encoded = TextEncoder(bundle.tokenizer(), 96).encode(module._PROBES)
    assert len(set(encoded.lengths.tolist())) == len(module._PROBES)
    batches = list(Packing(encoded, module._PROBE_TOKENS, 1).batches())
    assert any(batch.segments.max() > 1 for batch in batches)


def _additive_mask(model: ov.Model) -> None:
    node = attention_of(model)[0]
    mask = node.input_value(3)
    added = ops.multiply(ops.convert(mask, "f32"), ops.constant(np.float32(-1e4)))
    for one in attention_of(model):
        one.input(3).replace_source_output(added.output(0))


def _local_mask(model: ov.Model) -> None:
    """Let the last layer see only what is near, as some models do."""
    node = attention_of(model)[-1]
    near = np.abs(np.arange(96)[:, None] - np.arange(96)) < 40
    tokens = ops.gather(ops.shape_of(node.input_value(3)), ops.constant([3]), ops.constant(0))
    cut = ops.slice(
        ops.constant(near),
        ops.constant([0, 0]),
        ops.concat([tokens, tokens], 0),
        ops.constant([1, 1]),
    )
    masked = ops.logical_and(node.input_value(3), cut)
    node.input(3).replace_source_output(masked.output(0))


def _no_positions(model: ov.Model) -> None:
    for node in model.get_ops():
        if node.get_type_name() == "Gather" and "position" in node.get_friendly_name():
            shape = node.get_input_partial_shape(0)
            row = ops.constant(np.zeros((1, 1, shape[1].get_length()), np.float32))
            row = ops.convert(row, node.get_element_type().to_string())
            for target in list(node.output(0).get_target_inputs()):
                target.replace_source_output(row.output(0))


def _second_source(model: ov.Model) -> None:
    """Let the answer depend on an inner layer beside the last one."""
    (result,) = model.get_results()
    inner = attention_of(model)[0]
    mean = ops.reduce_mean(inner, ops.constant([1, 2, 3]), keep_dims=False)
    beside = ops.add(result.input_value(0), ops.unsqueeze(mean, ops.constant(1)))
    result.input(0).replace_source_output(beside.output(0))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_additive_mask, "not masked by yes and no"),
        (_local_mask, "does not look at the whole text alike"),
        (_no_positions, "positions come from 0 places"),
        (_second_source, "other sources than its last states"),
    ],
)
def test_graphs_of_other_kinds_are_refused(
    graph: Any, change: Callable[[Any], None], why: str
) -> None:
    change(graph)
    graph.validate_nodes_and_infer_types()
    with pytest.raises(UnpackableError, match=why):
        pack_graph(graph, 96)


def test_a_graph_with_other_inputs_is_refused(graph: Any) -> None:
    for port in graph.inputs:
        port.get_tensor().set_names({"other"})
    with pytest.raises(UnpackableError, match="no input input_ids"):
        pack_graph(graph, 96)
