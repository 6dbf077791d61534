"""What the client makes of every answer that was recorded of a real OpenVINO Model Server."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_kserve import FAST, Abort, Reply, Request, grpc_server, http_server

from ov_emotions import EmotionClassifier
from ov_emotions.client.caller import connect
from ov_emotions.client.transport import Answer, ModelMetadata, Tensor, Transport
from ov_emotions.client.url import parse_url
from ov_emotions.errors import OvEmotionsError, ServerError, ServerMismatchError

pytest.importorskip("tritonclient", reason="the extra serving is not installed")

IDS = np.array([[1, 2, 3]], dtype=np.int64)
TOKENS = [Tensor("input_ids", "INT64", IDS), Tensor("attention_mask", "INT64", np.ones_like(IDS))]

Call = Callable[[Transport], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "live": lambda t: t.health("live", 2),
    "ready": lambda t: t.health("ready", 2),
    "server": lambda t: t.server(2),
    "model_ready": lambda t: t.health("model", 2),
    "metadata": lambda t: t.metadata("", 2),
    "parameters": lambda t: t.parameters("", 2),
    "infer": lambda t: t.infer(TOKENS, ["logits"], "", 2),
}
RPCS = {
    "ServerLive": "live",
    "ServerReady": "ready",
    "ServerMetadata": "server",
    "ModelReady": "model_ready",
    "ModelMetadata": "metadata",
    "ModelConfig": "parameters",
    "ModelInfer": "infer",
}


@pytest.fixture(scope="module")
def transcript(shared):
    path = shared / "ovms" / "kserve_transcript_v2026.3.json"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    assert len(entries) == 101
    return entries


def reply_of(entry: dict[str, Any]) -> Reply:
    body = entry["resp_body"]
    raw = base64.b64decode(body["base64"]) if "base64" in body else body["text"].encode()
    kept = ("content-type", "inference-header-content-length")
    headers = {name: value for name, value in entry["resp_headers"].items() if name in kept}
    return Reply(entry["status"], raw, headers)


def call_of(entry: dict[str, Any]) -> str | None:
    """The client's call whose answer this is, if the client makes that call at all."""
    if entry["proto"] == "grpc":
        return RPCS.get(entry["rpc"])
    path = entry["path"]
    if entry["method"] != "POST" and path.endswith("/infer") and entry["status"] == 200:
        return None
    last = path.rstrip("/").rpartition("/")[2]
    if path == "/v2":
        return "server"
    if path.startswith("/v2/health/"):
        return last
    if path.startswith("/v2/models/"):
        named = {"ready": "model_ready", "config": "parameters", "infer": "infer"}
        return named.get(last, "metadata" if last != "stats" else None)
    return None


def outcome(url: str, call: Call) -> Any:
    async def run() -> Any:
        transport = connect(parse_url(url), FAST)
        try:
            return await call(transport)
        except OvEmotionsError as error:
            return error
        finally:
            await transport.close()

    return asyncio.run(run())


@contextmanager
def replay(entry: dict[str, Any]) -> Iterator[str]:
    """A server that gives this one answer to whatever it is asked."""
    if entry["proto"] == "rest":
        with http_server(lambda _request: reply_of(entry)) as (port, _):
            yield f"http://127.0.0.1:{port}/cls"
        return

    def rule(name: str, _request: Any, _metadata: Any) -> Any:
        if entry["code"] != "OK" or entry["rpc"] != name:
            code = entry["code"] if entry["code"] != "OK" else "UNIMPLEMENTED"
            raise Abort(code, entry.get("details", ""))
        return message_of(entry)

    with grpc_server(rule) as (port, _):
        yield f"grpc://127.0.0.1:{port}/cls"


def message_of(entry: dict[str, Any]) -> Any:
    from google.protobuf import text_format
    from tritonclient.grpc import service_pb2

    return text_format.Parse(entry["resp"], getattr(service_pb2, f"{entry['rpc']}Response")())


def check(entry: dict[str, Any], name: str, found: Any) -> None:
    """What the call must have made of its own answer."""
    good = entry.get("status", entry.get("code")) in (200, "OK")
    if name in ("live", "ready", "model_ready") and entry["proto"] == "rest":
        assert found is good  # only the status counts
    elif not good:
        assert isinstance(found, ServerError), found
        told = error_text(entry) if entry["proto"] == "rest" else entry["details"]
        assert told in str(found)
        status = entry.get("status", entry.get("code"))
        assert str(status) in str(found)
        assert "\n" not in str(found)
    elif name == "metadata":
        assert isinstance(found, ModelMetadata)
        assert found.outputs[0].shape == (-1, 2)
    elif name == "infer":
        assert isinstance(found, Answer), found
        assert found.version == "1"
        assert found.arrays["logits"].shape[1] == 2
        assert found.arrays["logits"].dtype == np.float32
    elif name == "server":
        assert found == "OpenVINO Model Server 2026.3.0-local"
    else:
        assert found is True


def error_text(entry: dict[str, Any]) -> str:
    # Long ones are cut: one line shall stay one.
    return str(json.loads(reply_of(entry).body)["error"])[:290]


def test_every_answer_is_understood_or_told_as_an_error_of_ours(transcript):
    checked = 0
    for entry in transcript:
        if (name := call_of(entry)) is not None:
            with replay(entry) as url:
                check(entry, name, outcome(url, CALLS[name]))
            checked += 1
    assert checked == 81, "the others are of calls that the client never makes"


def test_an_answer_to_another_question_is_an_error_and_never_a_crash(transcript):
    for entry in transcript:
        if entry["proto"] != "rest":
            continue
        with replay(entry) as url:
            for name in ("server", "metadata", "parameters", "infer"):
                found = outcome(url, CALLS[name])
                if name != call_of(entry) and not isinstance(found, OvEmotionsError):
                    # An object without "parameters" is a configuration without any, and the
                    # server's, too, has a name.
                    assert name in ("parameters", "server") and entry["status"] == 200, entry
                    assert found == {} or isinstance(found, str)


def test_logits_are_the_same_as_json_as_bytes_and_over_grpc(transcript):
    found = []
    for note in ("ok flat+id", "binary output", "contents", "raw"):
        (entry,) = [e for e in transcript if e["note"] == note]
        with replay(entry) as url:
            found.append(outcome(url, CALLS["infer"]).arrays["logits"])
    for array in found[1:]:
        np.testing.assert_array_equal(array, found[0])


@pytest.mark.parametrize("model", ["cls", "cls_str"])
def test_a_model_that_does_not_tell_its_facts_as_json_is_refused(transcript, model):
    answers = {
        (entry["method"], entry["path"]): reply_of(entry)
        for entry in transcript
        if entry["proto"] == "rest"
    }
    missing = Reply.of({"error": "Invalid request URL"}, 400)
    with http_server(lambda r: answers.get((r.method, r.path), missing)) as (port, _):
        with pytest.raises(ServerMismatchError, match=r"another kind of model|schema_version"):
            EmotionClassifier.from_server(f"http://127.0.0.1:{port}/{model}", options=FAST)
        with pytest.raises(ServerError, match=r"404.*Model with requested name is not found"):
            EmotionClassifier.from_server(f"http://127.0.0.1:{port}/nope", options=FAST)


# The project's own text model, on a server that compresses and was recorded from its start


@pytest.fixture(scope="module")
def recorded(shared):
    path = shared / "ovms" / "text_model_recorded.json"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    assert len(entries) == 30
    return entries


def recorded_reply(entry: dict[str, Any]) -> Reply:
    """The answer, byte for byte as it came over the wire."""
    kept = ("content-type", "content-encoding", "inference-header-content-length")
    headers = {name: value for name, value in entry["resp_headers"].items() if name in kept}
    return Reply(entry["status"], base64.b64decode(entry["resp_body_b64"] or ""), headers)


def recorded_call(entry: dict[str, Any]) -> Call | None:
    path = entry["path"]
    if path.startswith("/v2/health/"):
        return lambda t: t.health(path.rpartition("/")[2], 2)
    if path.endswith("/ready"):
        return lambda t: t.health("model", 2)
    if path.endswith("/infer"):
        texts = Tensor("text", "BYTES", np.array([b"x"], dtype=np.object_))
        return lambda t: t.infer([texts], ["probabilities", "labels"], "", 2)
    return (lambda t: t.metadata("", 2)) if path.startswith("/v2/models/") else None


def test_every_recorded_answer_of_the_text_model_is_understood(recorded):
    compressed = 0
    for entry in recorded:
        call = recorded_call(entry)
        if call is None:
            continue
        reply = recorded_reply(entry)
        compressed += "content-encoding" in reply.headers
        with http_server(lambda _request, r=reply: r) as (port, _):
            found = outcome(f"http://127.0.0.1:{port}/emotions", call)
        if "/ready" in entry["path"] or "/live" in entry["path"]:
            assert found is (entry["status"] == 200)
        elif entry["status"] != 200:
            assert isinstance(found, ServerError)
            assert json.loads(reply.body)["error"] in str(found)
        elif isinstance(found, ModelMetadata):
            assert "manifest" in found.facts
        else:
            assert isinstance(found, Answer), found
            assert found.arrays["probabilities"].shape[1] == 7
            assert len(found.arrays["labels"]) == len(found.arrays["probabilities"])
    assert compressed == 4


@pytest.mark.parametrize("accepts", [None, "identity", "gzip", "gzip, deflate"])
def test_the_recorded_server_is_waited_for_verified_and_answers_as_the_process(recorded, accepts):
    loading = {e["path"]: e for e in recorded if "loading" in e["note"] and e["status"] != 200}
    infer = [e for e in recorded if e["path"].endswith("/infer") and e["status"] == 200]
    metadata = [e for e in recorded if e["note"].startswith("metadata, ")]
    (many,) = [e for e in infer if e["note"] == "infer 64 texts, Accept-Encoding gzip"]
    one = infer[0]
    calls = 0

    def rule(request: Request) -> Reply:
        nonlocal calls
        calls += 1
        if calls <= 6:
            return recorded_reply(loading[request.path])
        if request.path == "/v2/health/ready":
            return Reply()
        if request.method == "GET":
            asked = request.headers["Accept-Encoding"]
            (entry,) = [e for e in metadata if e["req_headers"].get("Accept-Encoding") == asked]
            return recorded_reply(entry)
        body = json.loads(request.body)
        entry = one if body["inputs"][0]["shape"] == [1] else many
        if entry is many and "gzip" not in request.headers["Accept-Encoding"]:
            (entry,) = [e for e in infer if e["note"] == "infer 64 texts, Accept-Encoding None"]
        sent = json.loads(base64.b64decode(entry["req_body_b64"]))
        assert body["inputs"] == sent["inputs"]
        return recorded_reply(entry)

    headers = {} if accepts is None else {"Accept-Encoding": accepts}
    options = replace(FAST, binary=False, headers=headers)
    texts = json.loads(base64.b64decode(many["req_body_b64"]))["inputs"][0]["data"]
    (text,) = json.loads(base64.b64decode(one["req_body_b64"]))["inputs"][0]["data"]
    with http_server(rule) as (port, _):
        url = f"http://127.0.0.1:{port}/emotions"
        with EmotionClassifier.from_server(url, options=options) as remote:
            assert remote(text).labels == ("joy",)
            found = remote.predict_proba(texts)
        # The model was recorded; another one ships since.
        with pytest.raises(ServerMismatchError, match="emotions-ru-small"):
            EmotionClassifier.from_server(url, model="emotions-ru-small", options=options)
    np.testing.assert_array_equal(found, _probabilities(many))


def _probabilities(entry: dict[str, Any]) -> np.ndarray:
    body = base64.b64decode(entry["resp_body_b64"])
    if entry["resp_headers"].get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    (told,) = [one for one in json.loads(body)["outputs"] if one["name"] == "probabilities"]
    return np.array(told["data"], dtype=np.float32).reshape(told["shape"])
