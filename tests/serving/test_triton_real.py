"""The client and the Python backend's repository against a real Triton server on loopback."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import pytest
from triton_server import NoTritonError, TritonEnvironment, TritonServer, find_triton

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.cli.main import main
from ov_emotions.client import ServerOptions
from ov_emotions.errors import ServerError, ServerMismatchError, ServerUnavailableError
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.triton import build_repository

pytest.importorskip("tritonclient", reason="the extra serving is not installed")
pytestmark = [pytest.mark.server, pytest.mark.slow]

SHIPPED = "emotions-ru-tiny"
TEXTS = [
    "ну наконец-то доехали я так рада вас всех видеть",
    "какой ужас мне страшно туда идти",
    "да как вы смеете я в ярости",
    "поезд отправляется в девять часов",
    "",
    "?!",
    "так грустно " * 40,
    "Ура!!! 😀 [NAME] https://example.org",
    "\x00 нуль \ud800",
]
QUICK = ServerOptions(timeout=5.0, deadline=10.0, attempts=3, backoff=0.05)
PROTOCOLS = ("http", "grpc")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    try:
        return find_triton(tmp_path_factory.mktemp("triton"))
    except NoTritonError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def triton(environment, tmp_path_factory):
    """Serves the shipped tiny model, as texts and as tokens."""
    folder = tmp_path_factory.mktemp("shipped")
    bundle = Bundle.load(SHIPPED)
    build_repository(bundle, folder / "models", TritonConfig(threads=1))
    tokens = TritonConfig(name="emotions-tokens", token_in=True, threads=1)
    build_repository(bundle, folder / "models", tokens)
    with running(environment, folder) as server:
        yield server


@pytest.fixture
def own_triton(environment, tmp_path, tiny_bundle):
    """Serves the two-word model, for a test that does it harm."""
    build_repository(tiny_bundle, tmp_path / "models", TritonConfig(threads=1))
    with running(environment, tmp_path) as server:
        yield server


@contextmanager
def running(environment: TritonEnvironment, folder: Path) -> Iterator[TritonServer]:
    server = TritonServer(environment, folder / "models", folder / "log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def local():
    return EmotionClassifier(SHIPPED, threads=1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("model", ["emotions", "emotions-tokens"])
def test_triton_gives_what_the_process_gives(triton, local, protocol, binary, model):
    url, options = triton.url(protocol, model), replace(QUICK, binary=binary)
    with EmotionClassifier.from_server(url, model=SHIPPED, options=options) as remote:
        assert (remote.labels, remote.thresholds) == (local.labels, local.thresholds)
        # INT8 scores may differ a little between batches; these are the same batches.
        found, expected = remote.predict_proba(TEXTS), local.predict_proba(TEXTS)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)
        predictions = remote(TEXTS)
        assert [found.labels for found in predictions] == [f.labels for f in local(TEXTS)]
        assert [found.truncated for found in predictions] == [False] * len(TEXTS)
        assert remote(TEXTS[0]).labels == local(TEXTS[0]).labels
        assert remote([]) == []


def test_tokens_that_no_vocabulary_has_are_refused_by_the_token_model(triton):
    body = {
        "inputs": [
            {"name": name, "shape": [1, 2], "datatype": "INT64", "data": data}
            for name, data in (("input_ids", [2, 10**9]), ("attention_mask", [1, 1]))
        ]
    }
    request = urllib.request.Request(
        triton.url("http", "v2/models/emotions-tokens/infer"), data=json.dumps(body).encode()
    )
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as answer:
        assert "input_ids must lie in 0 to" in json.loads(answer.read())["error"]


def test_bad_requests_are_refused_and_the_next_one_is_answered(triton):
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    client = http.InferenceServerClient(triton.url("http").split("/")[2])
    tensor = http.InferInput("text", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([b"\xd1", "слово".encode()], dtype=np.object_))
    with pytest.raises(InferenceServerException, match="position 0 is not UTF-8"):
        client.infer("emotions", [tensor])
    two_dimensional = http.InferInput("text", [1, 1], "BYTES")
    two_dimensional.set_data_from_numpy(np.array([[b"a"]], dtype=np.object_))
    with pytest.raises(InferenceServerException, match="unexpected shape"):
        client.infer("emotions", [two_dimensional])
    client.close()
    for protocol in PROTOCOLS:
        with pytest.raises(ServerError, match=r"unknown model.*check the model's name"):
            EmotionClassifier.from_server(triton.url(protocol, "nope"), options=QUICK)
        with pytest.raises(ServerError, match="version 9"):
            EmotionClassifier.from_server(f"{triton.url(protocol)}/versions/9", options=QUICK)
        with EmotionClassifier.from_server(triton.url(protocol), options=QUICK) as remote:
            assert remote("ура").scores


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_another_model_than_expected_is_refused(triton, protocol, tiny_bundle):
    with pytest.raises(ServerMismatchError, match="serves emotions-ru-tiny, which is not the tiny"):
        EmotionClassifier.from_server(triton.url(protocol), model=tiny_bundle, options=QUICK)


def test_check_tells_that_all_is_well(triton, capsys):
    for protocol in PROTOCOLS:
        command = ["ovms", "check", triton.url(protocol), "--model", SHIPPED, "--requests", "5"]
        assert main(command) == 0
        page = capsys.readouterr().out
        assert "triton 2." in page
        assert "the same as emotions-ru-tiny here" in page


class Traffic:
    """Clients that ask without pause and write down what became of every request."""

    def __init__(self, ask: Callable[[str], tuple[str, ...]], clients: int) -> None:
        self._ask = ask
        self._ending = threading.Event()
        self.sent = itertools.count()
        self.answers: list[tuple[str, tuple[str, ...]]] = []
        self.errors: list[ServerError] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self) -> None:
        for text in itertools.cycle(("злость", "радость")):
            if self._ending.is_set():
                return
            next(self.sent)
            try:
                self.answers.append((text, self._ask(text)))
            except ServerError as error:
                self.errors.append(error)
                time.sleep(0.02)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_args: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request is still waiting"

    def wait_for(self, answers: int) -> None:
        """Wait until so many more answers have come."""
        goal, end = len(self.answers) + answers, time.monotonic() + 60
        while len(self.answers) < goal:
            assert time.monotonic() < end, f"no more answers; errors: {self.errors[-3:]}"
            time.sleep(0.01)

    def check(self) -> None:
        """Every request was answered, rightly, or failed with an error of ours."""
        assert len(self.answers) + len(self.errors) == next(self.sent)
        expected = {"злость": ("anger",), "радость": ("joy",)}
        assert all(labels == expected[text] for text, labels in self.answers)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_reload_under_load_loses_nothing(own_triton, tiny_bundle, tmp_path, protocol):
    with EmotionClassifier.from_server(
        own_triton.url(protocol), model=tiny_bundle, options=QUICK
    ) as remote:
        with Traffic(lambda text: remote(text).labels, clients=4) as traffic:
            traffic.wait_for(20)
            # The same bundle under a new version: other names in the answers for curl.
            published = build_repository(
                tiny_bundle, tmp_path / "models", TritonConfig(threads=1, names="en")
            )
            assert published.version == 2
            own_triton.load()
            traffic.wait_for(20)
        traffic.check()
        assert not traffic.errors
        with pytest.raises(ServerError, match="version 1"):
            EmotionClassifier.from_server(f"{own_triton.url(protocol)}/versions/1", options=QUICK)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_new_model_with_other_thresholds_ends_old_clients_loudly(
    own_triton, tiny_manifest, tiny_tokenizer_json, build_tiny_model, tmp_path, protocol
):
    thresholds = {"anger": 0.1, "joy": 0.2, "neutral": 0.3}
    manifest = msgspec.structs.replace(tiny_manifest, thresholds=thresholds)
    other = write_bundle(tmp_path / "other", manifest, build_tiny_model(), tiny_tokenizer_json)
    url = own_triton.url(protocol)
    with (
        EmotionClassifier.from_server(url, options=QUICK) as remote,
        EmotionClassifier.from_server(url, on_model_change="follow", options=QUICK) as follower,
    ):
        assert remote("злость").labels == follower("злость").labels == ("anger",)
        build_repository(other, tmp_path / "models", TritonConfig(threads=1))
        own_triton.load()
        with pytest.raises(ServerMismatchError, match=r"version 2.*make a new classifier"):
            remote("злость")
        assert "anger" in follower("злость").labels
        assert follower.thresholds == thresholds
    with EmotionClassifier.from_server(url, options=QUICK) as remote:
        assert remote.thresholds == thresholds


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_a_killed_server_the_patient_hear_nothing_and_the_impatient_go_on_after_it(
    own_triton, protocol
):
    url = own_triton.url(protocol)
    patient = ServerOptions(timeout=10, deadline=60, attempts=1000, backoff=0.05, max_backoff=0.5)
    impatient = ServerOptions(timeout=5, deadline=5, attempts=1)
    with (
        EmotionClassifier.from_server(url, options=patient) as one,
        EmotionClassifier.from_server(url, options=impatient) as other,
    ):
        with (
            Traffic(lambda text: one(text).labels, clients=3) as waiting,
            Traffic(lambda text: other(text).labels, clients=3) as hurried,
        ):
            for step in ("before", "after"):
                if step == "after":
                    own_triton.stop(signal.SIGKILL)
                    time.sleep(0.5)
                    own_triton.start()
                for traffic in (waiting, hurried):
                    traffic.wait_for(20)
        for traffic in (waiting, hurried):
            traffic.check()
        assert not waiting.errors
        assert hurried.errors
        assert all(isinstance(error, ServerUnavailableError) for error in hurried.errors)
