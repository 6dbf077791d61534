"""The compiled models of one shape, which single texts go to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.errors import DeviceError
from ov_emotions.runtime import single as module
from ov_emotions.runtime.single import SingleTextBackends

TEXTS = ["слово", "радость злость слово", "слово " * 20, "злость " * 40]


class Made:
    """Stands for a compiled model."""

    def __init__(self, width: int) -> None:
        self.width, self.closed = width, False

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def few_texts_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAID", 3)


@pytest.fixture
def classifier(tiny_bundle: Bundle) -> Iterator[EmotionClassifier]:
    with EmotionClassifier(tiny_bundle, threads=1) as made:
        yield made


def singles_of(make: Any, max_length: int = 96) -> SingleTextBackends:
    return SingleTextBackends(max_length, make)


def made_widths(singles: SingleTextBackends) -> set[int]:
    return {width for width, model in singles._models.items() if model.made is not None}


def wait() -> None:
    """Wait for what compiles."""
    for thread in threading.enumerate():
        if thread.name.startswith("ov_emotions compiles"):
            thread.join(20)


def test_texts_go_to_the_narrowest_width_that_holds_them() -> None:
    singles = singles_of(Made)
    widths = {n: singles.take(n) for n in (1, 16, 17, 32, 33, 48, 49)}
    assert {n: taken and taken[1] for n, taken in widths.items()} == {
        1: 16,
        16: 16,
        17: 32,
        32: 32,
        33: 48,
        48: 48,
        49: None,
    }
    assert singles_of(Made, max_length=40).take(33) is None, "wider than the model reads"
    assert singles_of(Made, max_length=8).take(8) is None


def test_a_model_is_made_once_texts_of_its_width_go_on_coming() -> None:
    singles = singles_of(Made)
    assert [singles.take(5) for _ in range(3)] == [(None, 16)] * 3
    wait()
    taken = singles.take(5)
    assert taken is not None
    assert cast("Made", taken[0]).width == 16
    assert singles.take(16) == taken
    assert singles.take(17) == (None, 32)


def test_what_cannot_be_made_is_said_once_and_done_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make(_width: int) -> Made:
        raise DeviceError("no room")

    singles = singles_of(make)
    for _ in range(9):
        assert singles.take(5) == (None, 16)
    wait()
    assert [record.message for record in caplog.records] == [
        "texts of up to 16 tokens go without a model of their own: no room"
    ]


def test_what_is_ready_after_the_end_is_let_go() -> None:
    go_on, made = threading.Event(), []

    def make(width: int) -> Made:
        assert go_on.wait(10)
        made.append(Made(width))
        return made[-1]

    singles = singles_of(make)
    for _ in range(3):
        singles.take(5)
    singles.close()
    go_on.set()
    wait()
    assert [one.closed for one in made] == [True]
    assert singles.take(5) == (None, 16)


def test_none_is_begun_after_the_end() -> None:
    singles = singles_of(Made)
    singles.close()
    for _ in range(9):
        assert singles.take(5) == (None, 16)
    assert not [t for t in threading.enumerate() if t.name.startswith("ov_emotions compiles")]


def test_answers_are_those_of_the_other_model(classifier: EmotionClassifier) -> None:
    listed = classifier.predict_proba(TEXTS)
    singles = vars(classifier)["_singles"]
    for _ in range(3):
        alone = np.concatenate([classifier.predict_proba([text]) for text in TEXTS])
        np.testing.assert_allclose(alone, listed, atol=1e-5)
    wait()
    assert made_widths(singles) == {16}, "this model reads no 32 tokens"
    alone = np.concatenate([classifier.predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, listed, atol=1e-5)
    found = classifier.profile(TEXTS[:1], repeats=1)
    assert found.padded_tokens == 16
    classifier.close()
    with pytest.raises(DeviceError, match="was closed"):
        classifier(TEXTS[0])


def test_the_shipped_model_answers_alike_before_and_after() -> None:
    texts = ["ну наконец то доехали я так рада", "да что ж такое опять " * 4, "боюсь " * 20]
    with EmotionClassifier(DEFAULT_MODEL) as classifier:
        first = [classifier.predict_proba([text]) for text in texts]
        for _ in range(3):
            for text in texts:
                classifier(text)
        wait()
        assert made_widths(vars(classifier)["_singles"]) == {16, 32, 48}
        after = [classifier.predict_proba([text]) for text in texts]
    np.testing.assert_allclose(np.concatenate(after), np.concatenate(first), atol=2e-3)


def test_many_threads_may_ask_while_models_are_made(classifier: EmotionClassifier) -> None:
    expected = [classifier(text) for text in TEXTS]
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(20):
            for text, known in zip(TEXTS, expected, strict=True):
                found = classifier(text)
                if found.labels != known.labels:
                    wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wait()
    assert not wrong


@pytest.mark.parametrize("options", [{"streams": 1}, {"streams": 2, "threads": 2}])
def test_who_gives_streams_has_one_model(tiny_bundle: Bundle, options: dict[str, int]) -> None:
    with EmotionClassifier(tiny_bundle, **options) as made:  # type: ignore[arg-type]
        assert made._singles is None
        made(TEXTS[0])


def test_a_heavy_model_is_not_compiled_for_single_texts(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ov_emotions.classifier._LIGHT_BYTES", 10)
    with EmotionClassifier(tiny_bundle) as made:
        assert made._singles is None
