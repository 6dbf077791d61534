from __future__ import annotations

import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.errors import DeviceError, InputError

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
