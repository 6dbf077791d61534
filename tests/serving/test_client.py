"""The client's API, against servers on loopback that serve a bundle as Model Server does."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import ssl
import subprocess
import sys
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import openvino as ov
import pytest
from fake_kserve import (
    FAST,
    Reply,
    ServedBundle,
    classify,
    failing,
    grpc_server,
    http_server,
    infers,
    rest,
)
from machine import make_certificate

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.errors import (
    InputError,
    MissingExtraError,
    ServerError,
    ServerMismatchError,
    ServerUnavailableError,
)
from ov_emotions.remote import AsyncEmotionClassifier
from ov_emotions.serving.settings import TextModelConfig
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.system import shared_core

pytest.importorskip("tritonclient", reason="the extra serving is not installed")

LONG = "слово злость " * 30 + "радость " * 12
TEXTS = [
    "какая радость",
    "злость",
    "",
    "слово я рад",
    "?!",
    "чёрт \ud800",
    "\x00",
    "рад\x00ость",
    "слово радость злость",
    LONG,
]
SHORT = TEXTS[:-1]


class ServedIr(ServedBundle):
    """The very IR that `ov-emotions ovms build` publishes, with its facts, run in this process."""

    def __init__(self, bundle: Bundle, config: TextModelConfig) -> None:
        super().__init__(bundle, takes="tokens" if config.token_in else "text")
        model = build_text_model(bundle, config)
        info = model.get_rt_info(["model_info"]).value
        self.facts = {key: model.get_rt_info(["model_info", key]).value for key in info}
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = shared_core().compile_model(model, "CPU", settings)

    def scores(self, tensors: Mapping[str, Any]) -> np.ndarray:
        inputs: dict[str, Any] = dict(tensors)
        if self.takes == "text":
            inputs = {"text": ov.Tensor(np.array([t.decode() for t in tensors["text"]]))}
        found: np.ndarray = self._compiled(inputs)["probabilities"]
        return found


@pytest.mark.parametrize("protocol", ["rest", "rest as JSON", "rest, gzip", "grpc"])
@pytest.mark.parametrize("kind", ["text", "tokens", "logits", "published", "published tokens"])
def test_a_server_gives_what_the_process_gives(tiny_bundle, protocol, kind):
    if kind.startswith("published"):
        config = TextModelConfig(token_in=kind.endswith("tokens"))
        served: ServedBundle = ServedIr(tiny_bundle, config)
    else:
        served = ServedBundle(tiny_bundle, takes="text" if kind == "text" else "tokens")
        served.output = "logits" if kind == "logits" else "probabilities"
    local = EmotionClassifier(tiny_bundle, threads=1, long_texts="truncate")
    options = replace(FAST, binary=protocol != "rest as JSON")
    if protocol == "rest, gzip":
        options = replace(options, headers={"accept-encoding": "gzip, deflate"})
    with http_server(served.rest) as (port, _), grpc_server(served.grpc) as (grpc_port, _):
        beside = f"http://127.0.0.1:{port}"
        url = f"grpc://127.0.0.1:{grpc_port}" if protocol == "grpc" else beside
        with classify(
            f"{url}/emotions",
            model=tiny_bundle,
            metadata_url=beside,
            long_texts="truncate",
            options=options,
        ) as remote:
            assert (remote.labels, remote.thresholds) == (local.labels, local.thresholds)
            found = remote.predict_proba(TEXTS)
            np.testing.assert_allclose(found, local.predict_proba(TEXTS), rtol=0, atol=1e-5)
            assert found.dtype == np.float32
            expected = [(one.labels, one.truncated) for one in local(TEXTS)]
            assert [(one.labels, one.truncated) for one in remote(TEXTS)] == expected
            assert remote(TEXTS[0]).labels == ("joy",)
            assert remote([]) == []
            assert remote.predict_proba([]).shape == (0, 3)
            streamed = remote.stream(iter(TEXTS), chunk_size=2)
            assert [one.labels for one in streamed] == [labels for labels, _ in expected]


def deflated(body: bytes, kind: str) -> bytes:
    import gzip
    import zlib

    if kind == "gzip":
        return gzip.compress(body)
    if kind == "deflate":
        return zlib.compress(body)
    raw = zlib.compressobj(wbits=-15)
    return raw.compress(body) + raw.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
def test_what_is_compressed_is_read_whether_it_was_asked_for_or_not(served, encoding):
    def rule(request: Any) -> Reply:
        reply = served.rest(request)
        name = encoding.removeprefix("raw ")
        headers = {**reply.headers, "Content-Encoding": name}
        return replace(reply, body=deflated(reply.body, encoding), headers=headers)

    with rest(rule) as (url, seen), classify(url, model=served.bundle) as remote:
        assert remote("злость").labels == ("anger",)
        served.bound = 1
        served.scores = lambda _tensors: np.empty((0, 0))
        with pytest.raises(ServerError, match=r"shape \[0, 0\], where float32"):
            remote("злость")
        assert {request.headers["Accept-Encoding"] for request in seen} == {"identity"}
        with pytest.raises(ServerError, match=r"\(404\): Model with requested version"):
            classify(f"{url}/versions/9")  # an error is compressed as well


def test_nul_leaves_in_no_encoding(served):
    sent: list[bytes] = []
    scores = served.scores

    def note(tensors: Mapping[str, Any]) -> np.ndarray:
        sent.extend(tensors["text"])
        return scores(tensors)

    served.scores = note
    with http_server(served.rest) as (port, _), grpc_server(served.grpc) as (grpc_port, _):
        beside = f"http://127.0.0.1:{port}/emotions"
        for url, binary in (
            (beside, True),
            (beside, False),
            (f"grpc://127.0.0.1:{grpc_port}/emotions", True),
        ):
            options = replace(FAST, binary=binary)
            with classify(url, metadata_url=beside, options=options) as remote:
                assert remote("\0радость\0").labels == ("joy",)
    assert sent == [" радость ".encode()] * 3


@pytest.mark.parametrize("takes", ["text", "tokens"])
def test_a_single_label_model_is_known_and_served_as_such(
    tiny_manifest, tiny_tokenizer_json, build_tiny_model, tmp_path, takes
):
    single = msgspec.structs.replace(
        tiny_manifest,
        name="single",
        task="single_label",
        thresholds={"anger": 0.1, "joy": 0.6, "neutral": 0.1},
    )
    bundle = write_bundle(tmp_path / "single", single, build_tiny_model(), tiny_tokenizer_json)
    local = EmotionClassifier(bundle, threads=1, long_texts="window")
    served = ServedBundle(bundle, takes=takes)
    texts = TEXTS if takes == "tokens" else SHORT
    with http_server(served.rest) as (port, _), grpc_server(served.grpc) as (grpc_port, _):
        for url in (f"http://127.0.0.1:{port}", f"grpc://127.0.0.1:{grpc_port}"):
            with classify(f"{url}/emotions", model=bundle) as remote:
                found, expected = remote.predict_proba(texts), local.predict_proba(texts)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
                assert [p.labels for p in remote(texts)] == [p.labels for p in local(texts)]
        if takes == "text":
            served.thresholds["joy"] = 1.1  # never named
            with pytest.raises(ServerMismatchError, match="threshold of joy is higher"):
                classify(f"grpc://127.0.0.1:{grpc_port}/emotions", model=bundle)


def test_a_server_that_takes_tokens_is_given_windows(
    served, rest_url, tiny_bundle, tiny_classifier
):
    served.takes = "tokens"
    with classify(rest_url, model=tiny_bundle) as remote:
        found = remote.predict_proba([LONG, "слово"])
        expected = tiny_classifier.predict_proba([LONG, "слово"])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        assert remote(LONG).truncated is False
    with pytest.raises(InputError, match="takes token ids: give the bundle"):
        classify(rest_url)


def test_long_texts_are_a_matter_of_the_server_that_takes_texts(served, rest_url):
    with classify(rest_url) as remote:  # without its tokeniser, nobody else knows
        assert [found.truncated for found in remote(["слово", LONG])] == [False, None]
    with pytest.raises(InputError, match="does 'truncate' with long ones"):
        classify(rest_url, long_texts="window")
    with pytest.raises(InputError, match="long_texts must be 'window'"):
        classify(rest_url, long_texts="cut")
    served.facts["long_texts"] = "window"
    with classify(rest_url, long_texts="window") as remote:
        assert remote(LONG).truncated is False


def test_thresholds_of_the_caller_decide(rest_url):
    with classify(rest_url, thresholds={"joy": 0.9999999}) as remote:
        assert remote("какая радость").labels == ()
        assert remote.thresholds["joy"] == 0.9999999
    with pytest.raises(InputError, match="which the model lacks"):
        classify(rest_url, thresholds={"boredom": 0.5})


def test_logits_are_those_of_the_probabilities(rest_url, tiny_classifier):
    with classify(rest_url) as remote:
        found = remote.predict_logits(["слово я", ""])
    np.testing.assert_allclose(found, tiny_classifier.predict_logits(["слово я", ""]), atol=1e-4)
    assert np.isneginf(found[1]).all()


def test_a_wrong_text_is_told_by_its_position_and_not_sent(served):
    with rest(served.rest) as (url, seen), classify(url) as remote:
        with pytest.raises(InputError, match="position 1 is a int"):
            remote(["слово", 1])
        assert not infers(seen)


def test_headers_reach_the_server_over_both_protocols(served, tiny_bundle):
    options = replace(FAST, headers={"Authorization": "Bearer token"})
    keys: list[Any] = []

    def rule(name: str, request: Any, metadata: Any) -> Any:
        keys.append(metadata.get("authorization"))
        return served.grpc(name, request, metadata)

    with rest(served.rest) as (url, seen), grpc_server(rule) as (port, _):
        for asked in (url, f"grpc://127.0.0.1:{port}/emotions"):
            with classify(asked, model=tiny_bundle, options=options) as remote:
                remote("слово")
    assert {request.headers.get("Authorization") for request in seen} == {"Bearer token"}
    assert set(keys) == {"Bearer token"}
    with pytest.raises(InputError, match="cannot be sent over gRPC"):
        classify("grpc://127.0.0.1:1/emotions", options=replace(FAST, headers={"a!": "b"}))


def test_a_classifier_serves_many_threads(rest_url, grpc_url, tiny_classifier):
    expected = [tiny_classifier(text).labels for text in SHORT]
    for url in (rest_url, grpc_url):
        with classify(url, metadata_url=rest_url) as remote, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda text, r=remote: r(text).labels, SHORT * 10))
        assert found == expected * 10


def test_asyncio_gives_the_same(rest_url, grpc_url, tiny_classifier):
    async def run(url: str) -> None:
        async def numbered() -> Any:
            for text in SHORT:
                yield text

        async with await AsyncEmotionClassifier.from_server(
            url, metadata_url=rest_url, options=FAST
        ) as remote:
            assert remote.labels == tiny_classifier.labels
            assert remote.thresholds == tiny_classifier.thresholds
            expected = [found.labels for found in tiny_classifier(SHORT)]
            assert [found.labels for found in await remote(SHORT)] == expected
            together = await asyncio.gather(*(remote(text) for text in SHORT))
            assert [found.labels for found in together] == expected
            for texts in (SHORT, numbered()):
                assert [f.labels async for f in remote.stream(texts, chunk_size=2)] == expected
            assert (await remote.predict_proba(SHORT)).shape == (len(SHORT), 3)
            with pytest.raises(InputError, match="position 1"):
                [f async for f in remote.stream(["слово", None])]
        with pytest.raises(ServerError, match="was closed"):
            await remote("слово")

    for url in (rest_url, grpc_url):
        asyncio.run(run(url))


def test_a_call_that_is_cancelled_stops(served):
    async def run(url: str) -> None:
        async with await AsyncEmotionClassifier.from_server(url, options=FAST) as remote:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(remote("слово"), 0.1)
            assert (await remote("злость")).labels == ("anger",)

    with rest(failing(served, [Reply(delay=0.5)])) as (url, _):
        asyncio.run(run(url))


def test_after_closing_nothing_is_sent(served):
    with rest(served.rest) as (url, seen):
        remote = classify(url)
        remote.close()
        remote.close()
        with pytest.raises(ServerError, match="was closed; make a new one"):
            remote("слово")
        assert not infers(seen)


# What stays open, forks, logs and imports


LEFT_OPEN = """
import sys
from ov_emotions import EmotionClassifier
kept = [EmotionClassifier.from_server(url, metadata_url=sys.argv[1]) for url in sys.argv[1:]]
dropped = EmotionClassifier.from_server(sys.argv[1])
del dropped
print([classifier("злость").labels for classifier in kept])
"""


def test_those_that_nobody_closed_are_closed_at_the_end(rest_url, grpc_url):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", LEFT_OPEN, rest_url, grpc_url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.strip() == "[('anger',), ('anger',)]"
    warned = [line for line in done.stderr.splitlines() if "Executing <" not in line]
    assert (done.returncode, warned) == (0, [])


def test_a_copy_connects_by_itself(rest_url):
    with classify(rest_url, thresholds={"joy": 0.3}) as first:
        again = pickle.loads(pickle.dumps(first))
        expected = first(["радость", "слово"])
    with again:
        assert again(["радость", "слово"]) == expected
        assert again.thresholds["joy"] == 0.3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_after_a_fork_a_classifier_says_so_instead_of_waiting_for_ever(rest_url):
    remote = classify(rest_url)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on, a fork with threads around is warned of.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            remote("слово")
            told = "it answered"
        except ServerError as error:
            told = str(error)
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert "before the process was forked" in pipe.read()
    os.waitpid(child, 0)
    remote.close()


def test_texts_and_headers_are_never_logged(served, caplog):
    caplog.set_level(logging.DEBUG)
    options = replace(FAST, headers={"Authorization": "Bearer token"})
    failures = [Reply.of({"error": "busy"}, 503), Reply.of({"error": "no"}, 400)]
    with (
        rest(failing(served, failures)) as (url, _),
        classify(url, options=options) as remote,
        pytest.raises(ServerError),
    ):
        remote("сокровенное")
    assert "attempt 1 failed" in caplog.text
    assert "сокровенное" not in caplog.text
    assert "Bearer" not in caplog.text


def test_a_missing_extra_names_the_command(monkeypatch):
    for module in ("tritonclient", "tritonclient.http", "tritonclient.grpc", "aiohttp"):
        monkeypatch.setitem(sys.modules, module, None)
    for url in ("http://127.0.0.1:1/emotions", "grpc://127.0.0.1:1/emotions"):
        with pytest.raises(MissingExtraError, match=r"pip install 'ov-emotions\[serving\]'"):
            classify(url)


# TLS, with a certificate made for the test


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(served, certificate):
    """Starts a REST server with TLS, which may ask for the client's certificate."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(*, both: bool = False) -> int:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if both:
                context.load_verify_locations(certificate[0])
                context.verify_mode = ssl.CERT_REQUIRED
            return stack.enter_context(http_server(served.rest, ssl_context=context))[0]

        yield start


def test_tls_over_rest(tls, certificate):
    cert, key = certificate
    url = f"https://127.0.0.1:{tls()}/emotions"
    with classify(url, options=replace(FAST, ca_file=cert)) as remote:
        assert remote("злость").labels == ("anger",)
    with pytest.raises(ServerError, match=r"no TLS connection.*certificate") as raised:
        classify(url)
    assert not isinstance(raised.value, ServerUnavailableError), "again would not help"
    url = f"https://127.0.0.1:{tls(both=True)}/emotions"
    with classify(url, options=replace(FAST, ca_file=cert, cert_file=cert, key_file=key)) as remote:
        assert remote("злость").labels == ("anger",)
    with pytest.raises(ServerError):
        classify(url, options=replace(FAST, ca_file=cert))


def test_tls_over_grpc(served, tiny_bundle, certificate):
    import grpc

    cert, key = certificate
    credentials: Any = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    with grpc_server(served.grpc, credentials=credentials) as (port, _):
        url = f"grpcs://localhost:{port}/emotions"
        with classify(url, model=tiny_bundle, options=replace(FAST, ca_file=cert)) as remote:
            assert remote("злость").labels == ("anger",)
        with pytest.raises(ServerUnavailableError, match="cannot be reached"):
            classify(url, model=tiny_bundle)


def test_tls_where_there_is_none(rest_url, tmp_path):
    with pytest.raises(ServerError, match="TLS"):
        classify(rest_url.replace("http", "https"))
    path = tmp_path / "cert.pem"
    path.write_text("nothing")
    with pytest.raises(InputError, match="cannot be used"):
        classify("https://127.0.0.1:1/emotions", options=replace(FAST, ca_file=path))


def test_a_manifest_that_was_altered_is_refused(tiny_bundle):
    served = ServedIr(tiny_bundle, TextModelConfig())
    served.facts["manifest"] = served.facts["manifest"].replace('"seed":1', '"seed":2')
    altered = pytest.raises(ServerMismatchError, match="altered after it was written")
    with rest(served.rest) as (url, _), altered:
        classify(url, model=tiny_bundle)
