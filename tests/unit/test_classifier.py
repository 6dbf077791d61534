from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import itertools
import json
import pickle
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ov_emotions import EmotionClassifier, Prediction
from ov_emotions import classifier as module
from ov_emotions.bundle import Bundle
from ov_emotions.classifier import ClassifierOptions
from ov_emotions.errors import DeviceError, InputError
from ov_emotions.prediction import as_texts

LONG_JOY_LAST = "слово злость " * 30 + "радость " * 12


def test_a_text_gives_a_prediction_and_a_list_a_list(tiny_classifier: EmotionClassifier) -> None:
    one = tiny_classifier("Какая радость, радость!")
    assert isinstance(one, Prediction)
    assert one.labels == ("joy",)
    assert list(one.scores) == sorted(one.scores, key=lambda label: -one.scores[label])
    assert set(one.scores) == set(tiny_classifier.labels)
    assert one.truncated is False
    assert tiny_classifier(["Какая радость, радость!"]) == [one]
    assert tiny_classifier(("Какая радость, радость!",)) == [one]
    assert tiny_classifier([]) == []


def test_labels_are_those_that_reach_their_threshold_best_first(tiny_bundle: Bundle) -> None:
    low = {"anger": 1e-9, "joy": 1e-9, "neutral": 1e-9}
    classifier = EmotionClassifier(tiny_bundle, thresholds=low, threads=1)
    prediction = classifier("слово")
    assert prediction.labels == tuple(prediction.scores)
    least, score = list(prediction.scores.items())[-1]
    exact = EmotionClassifier(tiny_bundle, thresholds={**low, least: score}, threads=1)
    assert least in exact("слово").labels, "reaching the threshold is enough"


def test_thresholds_of_the_caller_replace_those_of_their_labels(tiny_bundle: Bundle) -> None:
    classifier = EmotionClassifier(tiny_bundle, thresholds={"joy": 0.999999}, threads=1)
    assert list(classifier.thresholds.items()) == [
        ("anger", 0.7),
        ("joy", 0.999999),
        ("neutral", 0.9),
    ]
    assert classifier("радость слово").labels == ()
    classifier.thresholds["joy"] = 0.1
    assert classifier.thresholds["joy"] == 0.999999


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"thresholds": {"boredom": 0.5}}, "'boredom'.*anger, joy, neutral"),
        ({"thresholds": {"joy": 0.0}}, r"of joy must lie in \(0, 1\)"),
        *(({"thresholds": {"joy": bad}}, "of joy") for bad in (1, True, float("nan"), "0.5", None)),
        ({"thresholds": [0.5, 0.5, 0.5]}, "not be a list"),
        *(({"thresholds": bad}, "threshold") for bad in (0, 1.0, True, "0.5")),
        ({"long_texts": "cut"}, "'window' or 'truncate'"),
        *(
            ({name: bad}, name)
            for name in ("threads", "streams", "batch_tokens")
            for bad in (0, 1.5, True, np.float64(1), np.int64(0), np.True_)
        ),
    ],
)
def test_options_that_make_no_sense(
    tiny_bundle: Bundle, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        EmotionClassifier(tiny_bundle, **options)


def test_numbers_of_numpy_are_numbers_and_one_threshold_is_for_all(tiny_bundle: Bundle) -> None:
    one: Any = np.int64(1)
    with EmotionClassifier(
        tiny_bundle, threads=one, streams=one, batch_tokens=one, thresholds=np.float32(0.5)
    ) as classifier:
        assert classifier("радость").labels == ("joy",)
        assert classifier.thresholds == dict.fromkeys(classifier.labels, 0.5)


def test_the_typed_options_are_those_of_the_constructor() -> None:
    named = inspect.signature(EmotionClassifier).parameters.values()
    options = {p.name for p in named if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert options == set(ClassifierOptions.__annotations__)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "?!…", "😀🎉", "[NAME]", "\ud800", "\x00"])
def test_a_text_without_letters_or_digits_never_reaches_the_model(
    tiny_bundle: Bundle, text: str
) -> None:
    classifier = EmotionClassifier(tiny_bundle, threads=1)
    classifier.close()  # from here on, whatever reaches the model raises
    expected = Prediction((), {"anger": 0.0, "joy": 0.0, "neutral": 0.0})
    assert classifier(text) == expected
    assert classifier([text, text]) == [expected, expected]
    assert classifier.predict_proba([text]).tolist() == [[0.0, 0.0, 0.0]]
    with pytest.raises(DeviceError, match="closed"):
        classifier("слово")


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (None, "NoneType"),
        (b"bytes", "bytes"),
        ({"a": 1}, "dict"),
        ([None], "position 0 is a NoneType"),
        (["a", b"b"], "position 1 is a bytes"),
        (["a", ["b"]], "position 1 is a list"),
        (["a", float("nan")], "position 1 is a float .NaN"),
        (range(3), "position 0 is a int"),
        (np.array("a"), "ndarray"),
        (np.array(["a", np.nan], dtype=object), "position 1 is a float .NaN"),
    ],
)
def test_what_is_not_text_is_refused_with_its_position(
    tiny_classifier: EmotionClassifier, texts: Any, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        tiny_classifier(texts)
    with pytest.raises(InputError, match=problem):
        tiny_classifier.predict_proba(texts)


def test_a_generator_is_sent_to_stream_and_a_text_is_no_list(
    tiny_classifier: EmotionClassifier,
) -> None:
    generator: Any = (text for text in ["слово"])
    with pytest.raises(InputError, match=r"stream\(\)"):
        tiny_classifier(generator)
    text: Any = "слово"
    with pytest.raises(InputError, match="list of texts"):
        tiny_classifier.predict_proba(text)


def test_columns_of_other_libraries_are_lists_of_texts(tiny_classifier: EmotionClassifier) -> None:
    pa = pytest.importorskip("pyarrow")
    texts = ["ура", "мне грустно", "ура"]
    column = pa.chunked_array([texts[:2], texts[2:]])
    columns = [
        np.array(texts),
        np.array(texts, dtype=object),
        column,
        column.combine_chunks(),
        column.cast(pa.string_view()),
        column.cast(pa.large_string()),
        column.dictionary_encode(),
    ]
    for name in ("pandas", "polars"):
        with suppress(ImportError):
            columns.append(importlib.import_module(name).Series(texts))
    expected = tiny_classifier(texts)
    for given in columns:
        assert list(as_texts(given)) == texts
        assert tiny_classifier(given) == expected
        assert list(tiny_classifier.stream(given)) == expected
    assert tiny_classifier(np.array(texts)[0]) == expected[0]
    with pytest.raises(InputError, match="position 1 is a NoneType"):
        tiny_classifier(pa.array(["да", None]))
    with pytest.raises(InputError, match="position 0 is a int"):
        list(tiny_classifier.stream(pa.array([1])))


def test_predict_proba_has_a_row_a_text_and_a_column_a_label(
    tiny_classifier: EmotionClassifier,
) -> None:
    texts = ["злость", "", "радость", "слово " * 200]
    probabilities = tiny_classifier.predict_proba(texts)
    assert probabilities.shape == (4, 3)
    assert probabilities.dtype == np.float32
    for row, prediction in zip(probabilities, tiny_classifier(texts), strict=True):
        assert prediction.scores == dict(zip(tiny_classifier.labels, row.tolist(), strict=True))
    empty = tiny_classifier.predict_proba([])
    assert empty.shape == (0, 3)
    assert empty.dtype == np.float32


def test_logits_of_an_empty_text_are_minus_infinity(tiny_classifier: EmotionClassifier) -> None:
    logits = tiny_classifier.predict_logits(["", "слово"])
    assert np.isneginf(logits[0]).all()
    np.testing.assert_allclose(
        1 / (1 + np.exp(-logits[1])), tiny_classifier.predict_proba(["слово"])[0], atol=1e-6
    )


def test_windows_are_merged_by_their_maximum(tiny_bundle: Bundle) -> None:
    windows = EmotionClassifier(tiny_bundle, threads=1)
    truncate = EmotionClassifier(tiny_bundle, long_texts="truncate", threads=1)
    seen, cut = windows(LONG_JOY_LAST), truncate(LONG_JOY_LAST)
    assert seen.labels[0] == "joy"
    assert not seen.truncated, "windows leave nothing out"
    assert "joy" not in cut.labels
    assert cut.truncated
    assert not truncate("слово").truncated
    # The windows of sixteen tokens hold fourteen words and step by ten.
    words = LONG_JOY_LAST.split()
    parts = [" ".join(words[i : i + 14]) for i in range(0, len(words) - 4, 10)]
    best = windows.predict_proba(parts).max(axis=0)
    np.testing.assert_allclose(windows.predict_proba([LONG_JOY_LAST])[0], best, atol=1e-6)


def test_a_hundred_thousand_characters_take_bounded_memory(tiny_bundle: Bundle) -> None:
    classifier = EmotionClassifier(tiny_bundle, threads=1, batch_tokens=512)
    text = "слово " * 16_667
    tracemalloc.start()
    try:
        prediction = classifier(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6
    assert max(prediction.scores.values()) > 0


def test_the_order_is_restored_whatever_the_batches(tiny_bundle: Bundle) -> None:
    texts = [("слово " * (i * 7 % 23)) + ("радость" if i % 2 else "злость") for i in range(60)]
    expected = EmotionClassifier(tiny_bundle, threads=1).predict_proba(texts)
    assert len(np.unique(expected, axis=0)) > 20
    for batch_tokens in (1, 40, 300):
        other = EmotionClassifier(tiny_bundle, threads=1, batch_tokens=batch_tokens)
        np.testing.assert_allclose(other.predict_proba(texts), expected, atol=1e-6)


def test_stream_is_lazy_ordered_and_the_same_as_a_list(
    tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        for i in itertools.count():
            read.append(i)
            yield "радость" if i % 3 else "злость"

    predictions = tiny_classifier.stream(endless(), chunk_size=4)
    assert read == []
    first = list(itertools.islice(predictions, 10))
    assert len(read) == 12
    assert first == tiny_classifier(["радость" if i % 3 else "злость" for i in range(10)])
    assert list(tiny_classifier.stream([])) == []
    read.clear()
    monkeypatch.setattr(module, "_STREAM_CHARACTERS", 10)
    next(tiny_classifier.stream(endless()))
    assert len(read) == 2, "a chunk of long texts closes early"


def test_stream_gives_what_came_before_a_bad_item(tiny_classifier: EmotionClassifier) -> None:
    texts: Any = ["слово", "радость", None, "слово"]
    predictions = tiny_classifier.stream(iter(texts))
    assert [next(predictions), next(predictions)] == tiny_classifier(["слово", "радость"])
    with pytest.raises(InputError, match="position 2 is a NoneType"):
        next(predictions)

    def broken() -> Iterator[str]:
        yield from ["слово"] * 5
        raise LookupError("gone")

    found = tiny_classifier.stream(broken(), chunk_size=2)
    assert len([next(found) for _ in range(4)]) == 4
    with pytest.raises(LookupError, match="gone"):
        next(found)
    assert tiny_classifier("радость").labels == ("joy",)


@pytest.mark.parametrize("texts", ["слово", b"x", None, 3])
def test_stream_refuses_what_it_cannot_iterate_at_once(
    tiny_classifier: EmotionClassifier, texts: Any
) -> None:
    with pytest.raises(InputError, match=r"stream\(\) takes an iterable"):
        tiny_classifier.stream(texts)
    with pytest.raises(InputError, match="chunk_size"):
        tiny_classifier.stream([], chunk_size=0)


def test_threads_share_one_classifier(tiny_bundle: Bundle) -> None:
    classifier = EmotionClassifier(tiny_bundle, threads=2, streams=2, batch_tokens=64)
    texts = [f"{'слово ' * (i % 30)}радость" for i in range(40)]
    expected = classifier(texts)
    alone = classifier("злость\ud800")
    with ThreadPoolExecutor(8) as pool:
        many = [pool.submit(classifier, texts) for _ in range(20)]
        single = [pool.submit(classifier, "злость\ud800") for _ in range(40)]
        assert all(call.result(timeout=60) == alone for call in single)
        for call in many:
            for one, other in zip(call.result(timeout=60), expected, strict=True):
                assert one.labels == other.labels
                assert one.scores == pytest.approx(other.scores, abs=1e-6)


def test_a_model_that_overflows_is_told_not_hidden(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = EmotionClassifier(tiny_bundle, threads=1)
    broken = [np.full((1, 3), np.nan, dtype=np.float32)]
    monkeypatch.setattr(classifier._models._plain, "infer", lambda _: broken)
    with pytest.raises(DeviceError, match="not finite"):
        classifier("слово")


def test_predictions_are_values() -> None:
    one = Prediction(("joy",), {"joy": 0.75, "anger": 0.25})
    assert one == Prediction(("joy",), {"joy": 0.75, "anger": 0.25})
    assert one != Prediction(("joy",), {"joy": 0.75, "anger": 0.5})
    assert one != Prediction(("joy",), {"joy": 0.75, "anger": 0.25}, truncated=True)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert len({one, copy.copy(one)}) == 1
    assert json.loads(json.dumps(one.to_dict())) == {
        "labels": ["joy"],
        "scores": {"joy": 0.75, "anger": 0.25},
        "truncated": False,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.labels = ()  # type: ignore[misc]


def test_saving_and_loading_gives_the_same_predictions(
    tiny_classifier: EmotionClassifier, tmp_path: Path
) -> None:
    tiny_classifier.save_pretrained(tmp_path / "saved")
    with EmotionClassifier.from_pretrained(tmp_path / "saved", threads=1) as loaded:
        assert loaded.bundle.folder == tmp_path / "saved"
        assert loaded("злость и радость") == tiny_classifier("злость и радость")
    with pytest.raises(DeviceError, match="closed"):
        loaded("слово")


def test_a_tilde_in_cache_dir_is_the_home_folder(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    EmotionClassifier(tiny_bundle, cache_dir="~/compiled")("да")
    assert list((tmp_path / "compiled").glob("*/*"))
