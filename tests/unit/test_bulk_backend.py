"""The second compiled model, which lists go to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.errors import DeviceError
from ov_emotions.runtime.bulk import BulkBackend, BulkModel
from ov_emotions.runtime.runner import Runner
from ov_emotions.system import CpuBudget
from ov_emotions.tuning.profile import Settings, TuningProfile, fingerprint, model_sha256

if TYPE_CHECKING:
    from ov_emotions.runtime.openvino import OpenVINOBackend

LONG = ["слово радость злость " * 4] * 2000


class Made:
    """Stands for a compiled model."""

    closed = False

    def close(self) -> None:
        self.closed = True


def bulk_of(make: Any, *, packed: bool = True) -> BulkBackend:
    """One of two streams and batches of 50 tokens: lists of 800 tokens pay for it."""
    return BulkBackend(2, 50, lambda: BulkModel(cast("OpenVINOBackend", make()), packed))


def wait() -> None:
    """Wait for what compiles."""
    for thread in threading.enumerate():
        if thread.name == "ov_emotions compiles for lists":
            thread.join(20)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the tests mean the same on a machine of one core."""
    monkeypatch.setattr("ov_emotions.classifier.cpu_budget", lambda: CpuBudget(2, "a test"))


@pytest.fixture
def classifier(tiny_bundle: Bundle) -> Iterator[EmotionClassifier]:
    with EmotionClassifier(tiny_bundle, threads=2) as made:
        yield made


def second_model(classifier: EmotionClassifier) -> Any:
    assert classifier._bulk is not None
    made = classifier._bulk._model.made
    return made and made.backend


def test_lists_get_it_once_they_pay_and_it_is_made_once_and_beside_the_calls() -> None:
    made: list[Made] = []
    go_on = threading.Event()

    def make() -> Made:
        assert go_on.wait(10)
        made.append(Made())
        return made[-1]

    bulk = bulk_of(make)
    assert [bulk.take(399) for _ in range(5)] == [None] * 5
    go_on.set()
    wait()
    taken = [bulk.take(tokens) for tokens in (2, 399, 10**6)]
    assert taken == [Runner(cast("OpenVINOBackend", made[0]), 50, packed_streams=2)] * 3
    assert len(made) == 1


def test_lists_that_do_not_pay_do_not_get_it() -> None:
    bulk = bulk_of(Made)
    assert [bulk.take(399) for _ in range(2)] == [None] * 2
    wait()
    assert bulk._model.made is None


def test_a_list_that_pays_alone_gets_it_at_once() -> None:
    assert bulk_of(Made).take(799) is None
    assert bulk_of(Made).take(800) is not None


def test_one_that_is_not_packed_is_for_long_lists() -> None:
    bulk = bulk_of(Made, packed=False)
    bulk.make_now()
    assert bulk.take(199) is None, "no list that keeps two streams busy"
    budgets = [(taken := bulk.take(n)) and taken.batch_tokens for n in (200, 799, 800)]
    assert budgets == [25, 25, 50]
    taken = bulk.take(200)
    assert taken is not None
    assert taken.packed_streams is None


def test_a_call_does_not_wait_while_another_compiles_it() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def make() -> Made:
        begun.set()
        assert go_on.wait(10)
        return Made()

    bulk = bulk_of(make)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(bulk.take, 10**6)
        assert begun.wait(10)
        assert bulk.take(10**6) is None
        go_on.set()
        assert first.result(10) is not None
    assert bulk.take(10**6) == first.result()


def test_where_it_cannot_be_made_lists_go_on_without(caplog: pytest.LogCaptureFixture) -> None:
    tried = 0

    def make() -> Made:
        nonlocal tried
        tried += 1
        raise DeviceError("no room")

    bulk = bulk_of(make)
    assert bulk.take(10**6) is bulk.take(10**6) is None
    assert tried == 1
    assert [record.message for record in caplog.records] == [
        "lists go without a model of their own: no room"
    ]


def test_where_there_is_no_use_in_it_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    bulk = BulkBackend(1, 100, lambda: None)
    assert bulk.take(10**6) is bulk.take(10**6) is None
    assert not caplog.records


def test_a_closed_one_is_made_no_more() -> None:
    bulk = bulk_of(Made)
    found = bulk.take(10**6)
    assert found is not None
    bulk.close()
    assert cast("Made", found.backend).closed
    unused = bulk_of(Made)
    unused.close()
    assert unused.take(10**6) is None


def test_a_long_list_is_answered_as_a_short_one_is(classifier: EmotionClassifier) -> None:
    one = classifier.predict_proba(LONG[:1])[0]
    assert second_model(classifier) is None, "nothing long came yet"
    many = classifier.predict_proba(LONG)
    np.testing.assert_allclose(many, np.tile(one, (len(LONG), 1)), atol=1e-5)
    pool = second_model(classifier)._free
    request = pool.get()
    pool.put(request)
    assert request.get_compiled_model().get_property("NUM_STREAMS") == 2


def test_a_profile_of_a_long_list_is_of_the_model_it_runs_on(
    classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier._backend, "infer", None)
    found = classifier.profile(LONG, repeats=1)
    assert found.texts == len(LONG)
    assert found.stages.infer > 0


def test_a_closed_classifier_answers_neither_short_nor_long(classifier: EmotionClassifier) -> None:
    classifier(LONG)
    classifier.close()
    for texts in (LONG[:1], LONG):
        with pytest.raises(DeviceError, match="was closed"):
            classifier(texts)


@pytest.mark.parametrize("options", [{"streams": 1}, {"streams": 2}, {"threads": 2, "streams": 1}])
def test_who_gives_streams_has_one_model(tiny_bundle: Bundle, options: dict[str, int]) -> None:
    with EmotionClassifier(tiny_bundle, **options) as made:  # type: ignore[arg-type]
        assert made._bulk is None


def test_more_threads_than_cores_make_no_more_streams(tiny_bundle: Bundle) -> None:
    with EmotionClassifier(tiny_bundle, threads=64) as made:
        assert made._bulk is not None
        assert made._bulk._share == 2 * 1024


def test_chunks_of_a_stream_grow_with_the_cores(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    for cores in (1, 2, 8, 64):
        monkeypatch.setattr(
            "ov_emotions.classifier.cpu_budget", lambda n=cores: CpuBudget(n, "a test")
        )
        with EmotionClassifier(tiny_bundle) as made:
            sizes.append(made._chunk_size)
    assert sizes == [1024, 1024, 3072, 22528]


def test_it_is_made_at_once_where_that_is_wanted(classifier: EmotionClassifier) -> None:
    assert second_model(classifier) is None
    classifier.warm_up()
    made = second_model(classifier)
    assert made is not None
    assert vars(classifier)["_singles"]._models[16].made is not None
    classifier.warm_up()
    classifier(LONG)
    assert second_model(classifier) is made


def test_a_profile_of_several_streams_has_one_model_and_of_one_has_others_beside_it(
    tiny_bundle: Bundle,
) -> None:
    for streams, beside in ((1, True), (2, False)):
        profile = TuningProfile(
            model=tiny_bundle.manifest.name,
            model_sha256=model_sha256(tiny_bundle.manifest),
            goal="balanced",
            fingerprint=fingerprint(),
            cores=2,
            settings=Settings(threads=2, streams=streams, batch_tokens=512, chunk_size=77),
        )
        with EmotionClassifier(tiny_bundle, profile=profile) as made:
            assert (made._bulk is not None) is (made._singles is not None) is beside
            assert made._chunk_size == 77
            if made._bulk is not None:
                assert made._bulk._batch_tokens == 512
