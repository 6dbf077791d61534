"""Which compiled model runs what: the later ones, when they are made, and what they answer."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.errors import DeviceError
from ov_emotions.runtime import models as module
from ov_emotions.runtime.packing import PackedBatch
from ov_emotions.system import CpuBudget
from ov_emotions.tuning.search import sample_texts

TINY = "emotions-ru-tiny"
LONG = ["радость злость слово " * 3] * 2000


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the tests mean the same on a machine of one core."""
    monkeypatch.setattr("ov_emotions.runtime.models.cpu_budget", lambda: CpuBudget(2, "a test"))


@pytest.fixture
def classifier(tiny_bundle: Bundle) -> Iterator[EmotionClassifier]:
    with EmotionClassifier(tiny_bundle, threads=2) as made:
        yield made


def for_lists(classifier: EmotionClassifier) -> Any:
    later = classifier._models._lists
    return later and later._made


def wait() -> None:
    """Wait for what compiles."""
    for thread in threading.enumerate():
        if thread.name.startswith("ov_emotions compiles"):
            thread.join(20)


class Made:
    """Stands for a compiled model."""

    closed = False

    def close(self) -> None:
        self.closed = True


def later_of(make: Callable[[], Any], pays: int = 800) -> Any:
    return module._Later("lists", make, pays)


def test_work_that_adds_up_has_a_model_made_once_and_beside_the_calls() -> None:
    made: list[Made] = []
    go_on = threading.Event()

    def make() -> Made:
        assert go_on.wait(10)
        made.append(Made())
        return made[-1]

    later = later_of(make)
    assert [later.get(399) for _ in range(5)] == [None] * 5
    go_on.set()
    wait()
    assert [later.get(work) for work in (2, 399, 10**6)] == made * 3


def test_work_that_pays_alone_waits_for_its_model_but_not_for_anothers() -> None:
    assert later_of(Made).get(799) is None
    assert later_of(Made).get(800) is not None
    begun, go_on = threading.Event(), threading.Event()

    def make() -> Made:
        begun.set()
        assert go_on.wait(10)
        return Made()

    later = later_of(make)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(later.get, 10**6)
        assert begun.wait(10)
        assert later.get(10**6) is None
        go_on.set()
        assert first.result(10) is not None


def test_single_texts_get_models_of_their_widths_once_they_pay(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SINGLES_THAT_PAY", 3)
    texts = ["слово", "радость злость слово", "слово " * 12]
    with EmotionClassifier(tiny_bundle, threads=1) as made:
        first = [made.predict_proba([text])[0] for text in texts]
        singles = made._models._singles
        assert set(singles) == {16}, "the bundle's windows have 16 tokens"
        wait()
        assert singles[16]._made is not None
        again = [made.predict_proba([text])[0] for text in texts]
    np.testing.assert_allclose(again, first, atol=1e-5)


def test_a_graph_that_is_not_packed_has_streams_for_long_lists(
    classifier: EmotionClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    one = classifier.predict_proba(LONG[:1])[0]
    assert for_lists(classifier) is None, "nothing long came yet"
    with caplog.at_level(logging.INFO, logger="ov_emotions"):
        many = classifier.predict_proba(LONG)
    np.testing.assert_allclose(many, np.tile(one, (len(LONG), 1)), atol=1e-5)
    assert "the model takes no others: it has no attention of a known kind" in caplog.text
    made = for_lists(classifier)
    assert not made.packed
    assert made._config["NUM_STREAMS"] == 2
    plan = classifier._models.plan(classifier._encoder.encode(LONG[:10]))
    assert plan.backend is classifier._models._plain, "a short list keeps no two streams busy"
    found = classifier.profile(LONG, repeats=1)
    assert found.stages.infer > 0
    classifier.close()
    for texts in (LONG[:1], LONG):
        with pytest.raises(DeviceError, match="was closed"):
            classifier(texts)


def test_warming_up_makes_all_of_them_at_once(classifier: EmotionClassifier) -> None:
    classifier.warm_up()
    made = for_lists(classifier)
    assert made is not None
    assert classifier._models._singles[16]._made is not None
    classifier.warm_up()
    assert for_lists(classifier) is made


@pytest.mark.parametrize("threads", [1, 2])
def test_packed_lists_are_answered_as_single_texts_are(threads: int) -> None:
    words = [w for text in sample_texts(50) for w in text.split()]
    generator = random.Random(1)
    texts = [" ".join(generator.choices(words, k=generator.randint(1, 90))) for _ in range(150)]
    texts[7], texts[100], texts[149] = "", "...", "слово " * 300
    with EmotionClassifier(TINY, threads=threads, streams=1) as plain:
        expected, predictions = plain.predict_proba(texts), plain(texts)
    with EmotionClassifier(TINY, threads=threads) as classifier:
        classifier.warm_up()
        assert for_lists(classifier).packed
        found = classifier.predict_proba(texts)
        # INT8 rounds otherwise in batches of another shape.
        np.testing.assert_allclose(found, expected, atol=0.02)
        assert abs(found - expected).mean() < 1e-4
        same = [a.labels == b.labels for a, b in zip(classifier(texts), predictions, strict=True)]
        assert sum(same) >= 149
        for few in (slice(0, 2), slice(5, 9), slice(148, 150), slice(149, 150)):
            np.testing.assert_allclose(
                classifier.predict_proba(texts[few]), expected[few], atol=0.02
            )
        profile = classifier.profile(sample_texts(300), repeats=1)
        assert (profile.windows, profile.padding < 0.02) == (300, True)
        assert {layer.name for layer in profile.layer_types} >= {"FullyConnected"}


def test_a_model_that_says_something_else_packed_is_not_packed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_see_each_other(self: PackedBatch) -> dict[str, Any]:
        segments = np.minimum(self.segments, 1)
        return given(self) | {"segments": segments}

    given = PackedBatch.inputs
    monkeypatch.setattr(PackedBatch, "inputs", all_see_each_other)
    with (
        caplog.at_level(logging.INFO, logger="ov_emotions"),
        EmotionClassifier(TINY, threads=2) as classifier,
    ):
        classifier.warm_up()
        assert not for_lists(classifier).packed
    assert "the model takes no others: it says something else then" in caplog.text
