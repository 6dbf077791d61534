"""How requests are split and repeated, and which answers are refused."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_kserve import (
    FAST,
    Abort,
    Reply,
    Request,
    ServedBundle,
    classify,
    failing,
    grpc_server,
    infers,
    raw_server,
    rest,
)

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.errors import (
    ServerError,
    ServerUnavailableError,
)


def test_batches_are_split_by_texts_and_bytes_and_order_is_kept(
    served: ServedBundle, tiny_classifier: EmotionClassifier
) -> None:
    texts = ["радость " * (1 + i % 7) for i in range(20)]
    expected = tiny_classifier.predict_proba(texts)
    for limit, least in ({"batch_texts": 3}, 7), ({"batch_bytes": 60}, 10):
        with rest(served.rest) as (url, seen):
            options = replace(FAST, concurrency=2, **limit)
            with classify(url, options=options) as remote:
                np.testing.assert_allclose(remote.predict_proba(texts), expected, rtol=0, atol=1e-6)
            assert len(infers(seen)) >= least


def test_no_more_requests_are_under_way_than_allowed(served: ServedBundle) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def rule(request: Request) -> Reply:
        nonlocal running, most
        if not request.path.endswith("/infer"):
            return served.rest(request)
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.02)
        reply = served.rest(request)
        with lock:
            running -= 1
        return reply

    with (
        rest(rule) as (url, _),
        classify(url, options=replace(FAST, batch_texts=1, concurrency=3)) as remote,
    ):
        remote(["слово"] * 12)
    assert most == 3


def test_tokens_are_split_too(
    served: ServedBundle, tiny_bundle: Bundle, tiny_classifier: EmotionClassifier
) -> None:
    served.takes = "tokens"
    texts = ["радость " * (1 + i % 7) for i in range(20)]
    with rest(served.rest) as (url, seen):
        with classify(url, model=tiny_bundle, options=replace(FAST, batch_tokens=20)) as remote:
            found = remote.predict_proba(texts)
        assert len(infers(seen)) > 5
    np.testing.assert_allclose(found, tiny_classifier.predict_proba(texts), rtol=0, atol=1e-6)


# What is tried again.


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again(served: ServedBundle, status: int) -> None:
    failures = [Reply.of({"error": "busy"}, status), Reply(status, b"<html>busy</html>")]
    with rest(failing(served, failures)) as (url, seen), classify(url) as remote:
        assert remote("злость").labels == ("anger",)
        assert len(infers(seen)) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_what_was_refused_is_not_tried_again(served: ServedBundle, status: int) -> None:
    failures = [Reply.of({"error": "no, not this"}, status)] * 5
    with rest(failing(served, failures)) as (url, seen), classify(url) as remote:
        with pytest.raises(ServerError, match=rf"\({status}\): no, not this") as raised:
            remote("злость")
        assert not isinstance(raised.value, ServerUnavailableError)
        assert len(infers(seen)) == 1


def test_a_broken_connection_is_made_anew(served: ServedBundle) -> None:
    with rest(failing(served, [Reply(drop=True), Reply(drop=True)])) as (url, seen):
        with classify(url) as remote:
            assert remote("злость").labels == ("anger",)
        assert len(infers(seen)) == 3


def test_a_server_that_stays_away_is_told_after_the_last_attempt(served: ServedBundle) -> None:
    failures = [Reply.of({"error": "busy"}, 503)] * 9
    with rest(failing(served, failures)) as (url, seen), classify(url) as remote:
        with pytest.raises(ServerUnavailableError, match=r"\(503\): busy \(tried 3 times\)"):
            remote("злость")
        assert len(infers(seen)) == 3


def test_a_slow_answer_is_asked_for_again_until_the_deadline(served: ServedBundle) -> None:
    options = replace(FAST, timeout=0.2, deadline=0.5, attempts=9)
    with rest(failing(served, [Reply(delay=1.0)] * 9)) as (url, seen):
        with (
            classify(url, options=options) as remote,
            pytest.raises(ServerUnavailableError, match="did not answer within"),
        ):
            remote("злость")
        assert 2 <= len(infers(seen)) <= 4


def test_over_grpc_too(served: ServedBundle, tiny_bundle: Bundle) -> None:
    failures = ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
    refusals: list[str] = []

    def rule(name: str, request: Any, metadata: Any) -> Any:
        if name == "ModelInfer" and failures:
            raise Abort(failures.pop(), "busy")
        if name == "ModelInfer" and refusals:
            raise Abort(refusals.pop(), "no, not this")
        return served.grpc(name, request, metadata)

    with grpc_server(rule) as (port, seen):
        url = f"grpc://127.0.0.1:{port}/emotions"
        with classify(url, model=tiny_bundle) as remote:
            assert remote("злость").labels == ("anger",)
            assert seen.count("ModelInfer") == 3
            refusals.append("INVALID_ARGUMENT")
            with pytest.raises(ServerError, match=r"\(INVALID_ARGUMENT\): no, not this"):
                remote("злость")
            assert seen.count("ModelInfer") == 4


def test_nobody_listens() -> None:
    for url in ("http://127.0.0.1:1/emotions", "grpc://127.0.0.1:1/emotions"):
        with pytest.raises(ServerUnavailableError, match=r"refused.*\(tried 3 times\)"):
            classify(url)


# Answers that make no sense.


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda scores: scores[:, :2], r"shape \[1, 2\], where float32 \[1, 3\]"),
        (lambda scores: scores[:0], r"shape \[0, 3\]"),
        (lambda scores: scores * np.nan, "no probabilities"),
        (lambda scores: scores + 1, "no probabilities"),
        (lambda scores: -scores, "no probabilities"),
    ],
)
def test_answers_that_are_no_probabilities_are_refused(
    served: ServedBundle, rest_url: str, grpc_url: str, spoil: Any, problem: str
) -> None:
    for url in (rest_url, grpc_url):
        served.spoil = lambda scores: scores
        with classify(url, metadata_url=rest_url) as remote:
            served.spoil = spoil
            with pytest.raises(ServerError, match=problem):
                remote("злость")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>welcome</html>"),
        Reply(200, b""),
        Reply.of([]),
        Reply.of({}),
        Reply.of({"outputs": []}),
        Reply.of({"outputs": [{"name": "probabilities"}]}),
        Reply.of(
            {"outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [9], "data": [1]}]}
        ),
        Reply(200, b'{"outputs": []}', {"Inference-Header-Content-Length": "many"}),
        Reply(200, b"\xff\xfe"),
        Reply(200, b"[" * 100_000),
        Reply(200, b"xx", {"Content-Encoding": "gzip"}),
        Reply(200, b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"}),
        Reply(200, b"xx", {"Content-Encoding": "deflate"}),
    ],
)
def test_answers_that_are_not_kserves_are_told(served: ServedBundle, reply: Reply) -> None:
    with rest(failing(served, [reply])) as (url, _), classify(url) as remote:
        with pytest.raises(ServerError, match="emotions gave"):
            remote("злость")
        assert remote("злость").labels == ("anger",), "the next answer counts again"


def test_a_circle_of_redirections_is_told(served: ServedBundle) -> None:
    around = Reply(307, b"", {"Location": "/v2/models/emotions/infer"})
    with (
        rest(failing(served, [around] * 99)) as (url, _),
        classify(url) as remote,
        pytest.raises(ServerError, match="redirects the request in a circle"),
    ):
        remote("злость")


def test_a_server_that_stops_in_the_middle_of_an_answer_is_asked_again_and_told() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    with (
        raw_server(half) as port,
        pytest.raises(ServerUnavailableError, match=r"broke the connection.*3 times"),
    ):
        classify(f"http://127.0.0.1:{port}/emotions")


@pytest.mark.parametrize("scheme", ["http", "https", "grpc"])
def test_a_server_that_takes_connections_and_says_nothing_is_told_in_time(scheme: str) -> None:
    options = replace(FAST, timeout=0.3, deadline=0.5, attempts=2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/emotions"
        start = time.monotonic()
        with pytest.raises(ServerUnavailableError, match="did not answer within"):
            classify(url, options=options)
        assert time.monotonic() - start < 3


def test_a_server_of_another_kind_is_told() -> None:
    with (
        rest(lambda _request: Reply(200, b"<html>welcome</html>")) as (url, _),
        pytest.raises(ServerError, match="not KServe's"),
    ):
        classify(url)
