"""What the client makes of servers: overloaded, loading, wrong, changed, broken, too small."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    http_server,
    infers,
    raw_server,
    rest,
)

from ov_emotions.client import verify
from ov_emotions.client.probes import PROBES, Known
from ov_emotions.errors import InputError, ServerError, ServerMismatchError, ServerUnavailableError

pytest.importorskip("tritonclient", reason="the extra serving is not installed")

OTHER_CUTS = '{"anger": 0.7, "joy": 0.61, "neutral": 0.9}'


@contextmanager
def both(served: ServedBundle) -> Iterator[dict[str, str]]:
    """Serves over REST and gRPC; the URLs by protocol."""
    with (
        http_server(lambda request: served.rest(request)) as (port, _),
        grpc_server(lambda *call: served.grpc(*call)) as (grpc_port, _),
    ):
        yield {
            "rest": f"http://127.0.0.1:{port}/emotions",
            "grpc": f"grpc://127.0.0.1:{grpc_port}/emotions",
        }


# How requests are split


def test_batches_are_split_by_texts_bytes_and_tokens_and_order_is_kept(
    served, tiny_bundle, tiny_classifier
):
    texts = ["радость " * (1 + i % 7) for i in range(20)]
    expected = tiny_classifier.predict_proba(texts)
    for limit, least in (
        ({"batch_texts": 3}, 7),
        ({"batch_bytes": 60}, 10),
        ({"batch_tokens": 20}, 6),
    ):
        served.takes = "tokens" if "batch_tokens" in limit else "text"
        with rest(served.rest) as (url, seen):
            options = replace(FAST, concurrency=2, **limit)
            with classify(url, model=tiny_bundle, options=options) as remote:
                np.testing.assert_allclose(remote.predict_proba(texts), expected, rtol=0, atol=1e-6)
            assert len(infers(seen)) >= least


@pytest.mark.parametrize("told", ["nowhere", "shape", "rt_info"])
@pytest.mark.parametrize("takes", ["text", "tokens"])
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_server_s_bound_of_a_batch_is_kept(served, tiny_bundle, protocol, takes, told):
    sizes: list[int] = []
    served.takes, served.bound = takes, 5
    run = served.run

    def note(tensors: Any) -> Any:
        sizes.append(len(next(iter(tensors.values()))))
        return run(tensors)

    served.run = note
    if told == "rt_info":
        served.facts["batch_size"] = "1:5"
    if told == "shape":
        served.shape = "1:5"
    texts = ["радость " * (1 + i % 3) for i in range(23)]
    with (
        both(served) as urls,
        classify(
            urls[protocol], model=tiny_bundle, metadata_url=urls["rest"], options=FAST
        ) as remote,
    ):
        assert [found.labels for found in remote(texts)] == [("joy",)] * 23
        refused = [size for size in sizes if size > 5]
        assert len(refused) <= (1 if told == "nowhere" else 0) * FAST.concurrency
        sizes.clear()
        remote(texts)
        assert max(sizes) <= 5, "what was learned is kept"


def test_no_more_requests_are_under_way_than_allowed(served):
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

    options = replace(FAST, batch_texts=1, concurrency=3)
    with rest(rule) as (url, _), classify(url, options=options) as remote:
        remote(["слово"] * 12)
    assert most == 3


# What is tried again, and for how long


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again(served, status):
    failures = [Reply.of({"error": "busy"}, status), Reply(status, b"<html>busy</html>")]
    with rest(failing(served, failures)) as (url, seen), classify(url) as remote:
        assert remote("злость").labels == ("anger",)
        assert len(infers(seen)) == 3


@pytest.mark.parametrize("status", [400, 401, 413, 500])
def test_what_was_refused_is_not_tried_again(served, status):
    failures = [Reply.of({"error": "no, not this"}, status)] * 5
    with rest(failing(served, failures)) as (url, seen), classify(url) as remote:
        with pytest.raises(ServerError, match=rf"\({status}\): no, not this") as raised:
            remote("злость")
        assert not isinstance(raised.value, ServerUnavailableError)
        assert len(infers(seen)) == 1


def test_a_broken_connection_is_made_anew(served):
    with rest(failing(served, [Reply(drop=True), Reply(drop=True)])) as (url, seen):
        with classify(url) as remote:
            assert remote("злость").labels == ("anger",)
        assert len(infers(seen)) == 3


def test_a_server_that_stays_away_is_told_after_the_last_attempt(served):
    failures = [Reply.of({"error": "busy"}, 503)] * 9
    with rest(failing(served, failures)) as (url, seen), classify(url) as remote:
        with pytest.raises(ServerUnavailableError, match=r"\(503\): busy \(tried 3 times\)"):
            remote("злость")
        assert len(infers(seen)) == 3
    for url in ("http://127.0.0.1:1/emotions", "grpc://127.0.0.1:1/emotions"):
        with pytest.raises(ServerUnavailableError, match=r"refused.*\(tried 3 times\)"):
            classify(url)


def test_a_slow_answer_is_asked_for_again_until_the_deadline(served):
    options = replace(FAST, timeout=0.2, deadline=0.5, attempts=9)
    with rest(failing(served, [Reply(delay=1.0)] * 9)) as (url, seen):
        late = pytest.raises(ServerUnavailableError, match="did not answer within")
        with classify(url, options=options) as remote, late:
            remote("злость")
        assert 2 <= len(infers(seen)) <= 4


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_overloaded_server_is_asked_again_until_the_deadline(served, tiny_bundle, protocol):
    served.threads = 1
    options = replace(FAST, batch_texts=1, concurrency=12)
    with both(served) as urls:
        with classify(urls[protocol], model=tiny_bundle, options=options) as remote:
            assert [found.labels for found in remote(["злость"] * 40)] == [("anger",)] * 40
        served.threads = 0
        with classify(urls["rest"], options=replace(options, deadline=0.3)) as remote:
            start = time.monotonic()
            told = r"cannot answer now \(429\): Server Threadpool Exhausted \(tried \d+ times\)"
            with pytest.raises(ServerUnavailableError, match=told):
                remote("злость")
            assert time.monotonic() - start < 2
        once = pytest.raises(ServerUnavailableError, match="tried once")
        with classify(urls["rest"], options=replace(options, attempts=1)) as remote, once:
            remote("злость")


def test_a_bad_request_over_grpc_is_not_tried_again(served, tiny_bundle):
    with both(served) as urls, classify(urls["grpc"], model=tiny_bundle) as remote:

        def refuse(_tensors: Any) -> Any:
            raise Abort("INVALID_ARGUMENT", "no, not this")

        served.run = refuse
        with pytest.raises(ServerError, match=r"\(INVALID_ARGUMENT\): no, not this$"):
            remote("злость")


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_loads_its_models_is_waited_for(served, tiny_bundle, protocol):
    with both(served) as urls:

        def load(seconds: float) -> None:
            served.loading = True
            threading.Timer(seconds, lambda: setattr(served, "loading", False)).start()

        load(0.6)
        options = replace(FAST, attempts=2)
        with classify(urls[protocol], model=tiny_bundle, options=options) as remote:
            load(0.6)
            assert remote("злость").labels == ("anger",)
        served.loading = True
        with pytest.raises(ServerError, match=r"requested name is not found"):
            classify(urls[protocol], options=replace(FAST, deadline=0.3))
        served.loading = False
        start = time.monotonic()
        with pytest.raises(ServerError, match=r"requested name is not found; check the model's"):
            classify(urls[protocol].replace("/emotions", "/nope"))
        assert time.monotonic() - start < 1, "a server that is ready does not have it"


def test_a_model_that_comes_between_two_questions_is_found(served, tiny_bundle):
    def rule(request: Request) -> Reply:
        if request.path == "/v2/health/ready":
            served.loading = False
        return served.rest(request)

    served.loading = True
    with rest(rule) as (url, _), classify(url, model=tiny_bundle) as remote:
        assert remote("злость").labels == ("anger",)


# What is no answer


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
def test_answers_that_are_no_probabilities_are_refused(served, spoil, problem):
    with both(served) as urls:
        for url in urls.values():
            served.spoil = lambda scores: scores
            with classify(url, metadata_url=urls["rest"]) as remote:
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
def test_answers_that_are_not_kserves_are_told(served, reply):
    with rest(failing(served, [reply])) as (url, _), classify(url) as remote:
        with pytest.raises(ServerError, match="emotions gave"):
            remote("злость")
        assert remote("злость").labels == ("anger",), "the next answer counts again"


def test_servers_of_another_kind_are_told(served):
    around = Reply(307, b"", {"Location": "/v2/models/emotions/infer"})
    circle = pytest.raises(ServerError, match="redirects the request in a circle")
    with rest(failing(served, [around] * 99)) as (url, _), classify(url) as remote, circle:
        remote("злость")
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    broken = pytest.raises(ServerUnavailableError, match=r"broke the connection.*3 times")
    with raw_server(half) as port, broken:
        classify(f"http://127.0.0.1:{port}/emotions")
    welcome = pytest.raises(ServerError, match="not KServe's")
    with rest(lambda _request: Reply(200, b"<html>welcome</html>")) as (url, _), welcome:
        classify(url)


@pytest.mark.parametrize("scheme", ["http", "https", "grpc"])
def test_a_server_that_takes_connections_and_says_nothing_is_told_in_time(scheme):
    options = replace(FAST, timeout=0.3, deadline=0.5, attempts=2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/emotions"
        start = time.monotonic()
        with pytest.raises(ServerUnavailableError, match="did not answer within"):
            classify(url, options=options)
        assert time.monotonic() - start < 3


# What is verified, by facts


def test_facts_are_verified_before_any_text_is_sent(served, tiny_bundle):
    served.facts["thresholds"] = OTHER_CUTS
    with rest(served.rest) as (url, seen):
        with pytest.raises(ServerMismatchError, match=r"serves tiny.*joy is 0\.61 and not 0\.6"):
            classify(url, model=tiny_bundle)
        assert not infers(seen)
        with classify(url) as remote:
            assert remote.thresholds["joy"] == 0.61, "without a bundle the server's facts count"
        served.facts = {}
        with pytest.raises(ServerMismatchError, match="REST URL as metadata_url, or the bundle"):
            classify(url)


def test_over_grpc_facts_come_from_beside(tiny_bundle, rest_url, grpc_url):
    with pytest.raises(ServerMismatchError, match="give its REST URL as metadata_url"):
        classify(grpc_url)
    base = rest_url.removesuffix("/emotions")
    for beside in (base, rest_url, f"{base}/v2"):
        with classify(grpc_url, metadata_url=beside) as remote:
            assert remote("злость").labels == ("anger",)
    with pytest.raises(InputError, match="metadata_url asks for the model 'other'"):
        classify(grpc_url, metadata_url=f"{base}/other")
    with pytest.raises(InputError, match="must start with one of http://, https://"):
        classify(grpc_url, metadata_url=grpc_url)
    other = ServedBundle(tiny_bundle, takes="tokens")
    another = pytest.raises(ServerMismatchError, match="at metadata_url serves another model")
    with rest(other.rest) as (url, _), another:
        classify(grpc_url, metadata_url=url)


def test_tritons_parameters_are_facts_over_both_protocols(served, tiny_bundle):
    served.parameters, served.facts = served.facts, {}
    with both(served) as urls:
        for url in urls.values():
            with classify(url, model=tiny_bundle) as remote:
                assert remote("злость").labels == ("anger",)
        served.parameters = {"unrelated": "1"}
        with pytest.raises(ServerMismatchError, match="does not tell"):
            classify(urls["rest"])


def test_believing_needs_a_bundle_and_asks_for_nothing(served, tiny_bundle):
    served.facts = {"labels": "nonsense"}
    with rest(served.rest) as (url, seen):
        with pytest.raises(InputError, match="verify=False believes a bundle"):
            classify(url, verify=False)
        with classify(url, model=tiny_bundle, verify=False) as remote:
            assert not infers(seen)
            assert remote("злость").labels == ("anger",)


@pytest.mark.parametrize("takes", ["text", "tokens"])
def test_over_grpc_the_right_model_is_known_by_its_answers(served, grpc_url, tiny_bundle, takes):
    served.takes = takes
    with classify(grpc_url, model=tiny_bundle) as remote:
        assert remote("злость").labels == ("anger",)


# What is verified, by answers: gRPC tells no facts


@pytest.mark.parametrize("takes", ["text", "tokens"])
def test_over_grpc_another_model_is_refused(served, grpc_url, rest_url, tiny_bundle, takes):
    served.takes = takes
    served.spoil = lambda scores: np.clip(scores + 0.1 * (scores > 0.5) - 0.2, 0, 1)
    with pytest.raises(ServerMismatchError, match=r"does not answer as tiny.*there and.*here") as e:
        classify(grpc_url, model=tiny_bundle)
    assert "metadata_url" in str(e.value)
    served.facts = {}  # nor without facts over REST
    with pytest.raises(ServerMismatchError, match="does not answer as tiny"):
        classify(rest_url, model=tiny_bundle)
    with classify(grpc_url, model=tiny_bundle, verify=False) as remote:
        assert remote("злость").scores["anger"] < 0.95, "believed, as was asked for"


@pytest.mark.parametrize(("label", "cut"), [("joy", 0.99), ("anger", 0.001)])
def test_over_grpc_other_thresholds_are_seen_in_the_labels(
    served, grpc_url, tiny_bundle, label, cut
):
    served.thresholds[label] = cut
    side = "higher" if cut > 0.5 else "lower"
    with pytest.raises(ServerMismatchError, match=f"threshold of {label} is {side} than 0"):
        classify(grpc_url, model=tiny_bundle)


def test_a_bundle_to_which_all_known_texts_are_alike_cannot_be_verified_by_answers(
    grpc_url, tiny_bundle, monkeypatch
):
    dull = Known(np.full((len(PROBES), 3), 0.2, np.float32), 0.02)
    monkeypatch.setattr(verify, "known_answers", lambda *_expected: dull)
    with pytest.raises(ServerMismatchError, match=r"cannot be verified by.*as metadata_url, or"):
        classify(grpc_url, model=tiny_bundle)


# What changes under a session


def change(served: ServedBundle, version: str, facts: dict[str, str]) -> None:
    served.version, served.versions = version, [version]
    served.facts_by_version[version] = served.facts | facts


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_another_model_under_the_same_name_is_noticed_at_its_first_answer(served, protocol):
    with both(served) as urls:
        with classify(urls[protocol], metadata_url=urls["rest"]) as remote:
            assert remote("злость").labels == ("anger",)
            change(served, "2", {"manifest_sha256": "1" * 64})
            assert remote("злость").labels == ("anger",), "other weights, the same decisions"
            change(served, "3", {"thresholds": OTHER_CUTS})
            for _ in range(2):
                with pytest.raises(ServerMismatchError, match=r"version 3.*joy is 0\.61.*follow'"):
                    remote("злость")
        with classify(urls[protocol], metadata_url=urls["rest"]) as remote:
            assert remote.thresholds["joy"] == 0.61


def test_a_changed_model_is_followed_where_that_was_asked_for(served):
    with both(served) as urls:
        options = replace(FAST, batch_texts=2)
        with classify(
            urls["grpc"],
            metadata_url=urls["rest"],
            on_model_change="follow",
            thresholds={"anger": 0.5},
            options=options,
        ) as remote:
            assert remote.thresholds["joy"] == 0.6
            change(served, "2", {"thresholds": '{"anger": 0.7, "joy": 0.999, "neutral": 0.9}'})
            assert [found.labels for found in remote(["радость"] * 5)] == [()] * 5
            assert remote.thresholds == {"anger": 0.5, "joy": 0.999, "neutral": 0.9}
            change(
                served,
                "3",
                {
                    "labels": '["anger", "calm", "neutral"]',
                    "thresholds": '{"anger": 0.7, "calm": 0.5, "neutral": 0.9}',
                },
            )
            assert remote("радость").labels == ("calm",)
            assert remote.labels == ("anger", "calm", "neutral")
            change(served, "4", {"normalizer": "asr-9"})
            with pytest.raises(ServerMismatchError, match="normalizer is 'asr-9'"):
                remote("радость")
    with pytest.raises(InputError, match="on_model_change must be"):
        classify("http://127.0.0.1:1/emotions", on_model_change="ignore")


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("how", ["version", "time", "restart"])
def test_another_model_than_the_bundle_is_noticed_over_both_protocols(
    served, tiny_bundle, protocol, how
):
    options = replace(FAST, recheck=0.2) if how == "time" else FAST
    with (
        both(served) as urls,
        classify(urls[protocol], model=tiny_bundle, options=options) as remote,
    ):
        assert remote("злость").labels == ("anger",)
        served.facts["manifest_sha256"] = "1" * 64
        served.spoil = lambda scores: 1 - scores
        if how == "version":
            change(served, "2", {})
        if how == "time":
            time.sleep(0.3)
        if how == "restart":
            served.loading = True
            threading.Timer(0.2, lambda: setattr(served, "loading", False)).start()
        with pytest.raises(ServerMismatchError, match=r"other weights|does not answer as tiny"):
            remote("злость")


def test_a_version_that_was_asked_for_is_the_one_that_answers(served, tiny_bundle):
    served.versions = ["1", "2"]
    with rest(served.rest) as (url, seen):
        with classify(f"{url}/versions/1", model=tiny_bundle) as remote:
            remote("злость")
        assert infers(seen)[0].path == "/v2/models/emotions/versions/1/infer"
        with pytest.raises(ServerError, match=r"\(404\): Model with requested version"):
            classify(f"{url}/versions/7")
