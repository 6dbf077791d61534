from __future__ import annotations

import json

import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.errors import DeviceError, InputError
from ov_emotions.remote import ServerClassifier
from ov_emotions.runtime.profiling import LayerCounter, summarise_layers

TEXTS = ["слово", "я рад", "злость " * 40, "", "радость слово"]


def test_a_profile_says_what_was_done_and_where_the_time_went(
    tiny_classifier: EmotionClassifier,
) -> None:
    profile = tiny_classifier.profile(TEXTS, repeats=2)
    encoded = tiny_classifier._encoder.encode(TEXTS)
    assert profile.texts == 5
    assert profile.windows == len(encoded.lengths) > 4, "the long text has several"
    assert profile.tokens == len(encoded.ids)
    assert profile.padded_tokens >= profile.tokens
    assert profile.padding == pytest.approx(1 - profile.tokens / profile.padded_tokens)
    assert profile.batches >= 1
    shares = profile.stages.shares
    assert list(shares) == ["tokenize", "group", "infer", "threshold", "results"]
    assert sum(shares.values()) == pytest.approx(1)
    assert all(seconds > 0 for seconds in shares.values())
    assert profile.whole_s > 0


def test_layers_are_counted_on_a_copy(tiny_classifier: EmotionClassifier) -> None:
    before = tiny_classifier(TEXTS)
    # OpenVINO counts whole microseconds: a layer needs some work to have any.
    profile = tiny_classifier.profile(TEXTS * 100, repeats=1)
    assert profile.layer_types
    assert sum(layer.share for layer in profile.layer_types) == pytest.approx(1, abs=1e-6)
    assert tiny_classifier(TEXTS) == before
    request = tiny_classifier._models._plain._free.get()  # type: ignore[attr-defined]
    tiny_classifier._models._plain._free.put(request)  # type: ignore[attr-defined]
    assert request.get_compiled_model().get_property("PERF_COUNT") == "NO"


def test_a_profile_is_plain_json(tiny_classifier: EmotionClassifier) -> None:
    plain = json.loads(json.dumps(tiny_classifier.profile(TEXTS, repeats=1).to_dict()))
    assert plain["stages"]["total"] == pytest.approx(
        sum(plain["stages"][name] for name in plain["stages"]["shares"])
    )
    assert plain["texts_per_second"] == pytest.approx(5 / plain["whole_s"])


def test_texts_that_never_reach_the_model_have_no_layers(
    tiny_classifier: EmotionClassifier,
) -> None:
    profile = tiny_classifier.profile(["", "!"], repeats=1)
    assert (profile.batches, profile.padding, profile.layer_types) == (0, 0.0, ())


def test_what_cannot_be_profiled_is_said(
    tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="at least one text"):
        tiny_classifier.profile([])
    with pytest.raises(InputError, match="repeats"):
        tiny_classifier.profile(["слово"], repeats=0)
    with pytest.raises(InputError, match="position 0"):
        tiny_classifier.profile([None])  # type: ignore[list-item]
    monkeypatch.setattr(tiny_classifier, "_models", object())
    with pytest.raises(DeviceError, match="in OpenVINO"):
        tiny_classifier.profile(["слово"])


def test_layers_are_added_up_by_type_the_longest_first() -> None:
    counters = [
        LayerCounter("a", "MatMul", "brgemm", 3.0),
        LayerCounter("b", "Add", "jit", 2.0),
        LayerCounter("c", "MatMul", "ref", 5.0),
    ]
    types, top = summarise_layers(counters, top=2)
    assert [(t.name, t.layers, t.seconds, t.share) for t in types] == [
        ("MatMul", 2, 8.0, 0.8),
        ("Add", 1, 2.0, 0.2),
    ]
    assert types[0].implementations == ("brgemm", "ref")
    assert [layer.name for layer in top] == ["c", "a"]
    assert summarise_layers([]) == ((), ())


def test_a_classifier_that_runs_elsewhere_says_that_it_cannot_be_profiled() -> None:
    elsewhere = ServerClassifier.__new__(ServerClassifier)
    with pytest.raises(DeviceError, match="in OpenVINO"):
        elsewhere.profile(["слово"])
