"""`/v2` of `ov-emotions serve`: the recorded transcript, the clients of the project, bytes."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from live_server import Live, live

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.main import main
from ov_emotions.errors import ServerError, ServerMismatchError

TEXTS = ["какая радость", "злость", "слово", "", "чёрт " * 40, "?!"]
INFER = "/v2/models/cls_str/infer"


@pytest.fixture(scope="module")
def server(tiny_classifier: EmotionClassifier) -> Iterator[Live]:
    with live(tiny_classifier, name="cls_str") as found:
        yield found


@pytest.fixture(scope="module")
def http(server: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def tensor(texts: list[Any], **changed: Any) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts} | changed


def infer(http: httpx.Client, *inputs: Any, **rest: Any) -> httpx.Response:
    return http.post(INFER, json={"inputs": list(inputs), **rest})


# --- the recorded transcript --------------------------------------------------------------------

DIFFERENT = {
    # by method and path or note: (Model Server's status, ours), each named in kserve.py
    "strings empty list": (500, 200),
    "POST /v2/health/live": (406, 405),
    "PUT /v2": (406, 405),
    "GET /v2/models/cls/infer": (406, 405),
    "OPTIONS /v2/models/cls/infer": (200, 405),
    "GET /v1/config": (200, 404),
    "GET /v1/models": (200, 404),
    "GET /v3/models": (200, 404),
    "GET /v1/models/cls": (200, 404),
    "GET /v1/models/nope": (500, 404),
    "GET /": (400, 405),
    "GET /nope": (400, 404),
    "TFS predict": (500, 404),
    "TFS metadata": (500, 404),
    "mp-off": (500, 404),
    "POST /v1/config/reload": (200, 404),
}


Replay = tuple[str, dict[str, Any], httpx.Response]
"""The name of a recorded request, what was recorded, and the answer here."""


@pytest.fixture(scope="module")
def replayed(shared: Path, http: httpx.Client) -> list[Replay]:
    """Every entry that is about a model that takes texts, or about no model's tensors at all."""
    path = shared / "ovms" / "kserve_transcript_v2026.3.json"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    found = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        if entry["proto"] != "rest" or b"INT64" in body_of(entry, "req_body"):
            continue
        method, body = entry["method"], body_of(entry, "req_body")
        address = re.sub(r"/models/cls(?=/|$)", "/models/cls_str", entry["path"])
        answer = http.request(method, address, content=body, headers=entry["req_headers"] or {})
        found.append((str(entry["note"] or f"{method} {entry['path']}"), entry, answer))
    return found


def body_of(entry: dict[str, Any], side: str) -> bytes:
    body = entry[side] or {"text": ""}
    return base64.b64decode(body["base64"]) if "base64" in body else body["text"].encode()


def test_every_recorded_status_is_ours_or_a_difference_by_choice(replayed: list[Replay]) -> None:
    for name, entry, answer in replayed:
        theirs, ours = DIFFERENT.get(name, (entry["status"], entry["status"]))
        assert (entry["status"], answer.status_code) == (theirs, ours), (name, answer.text)
    names = {name for name, _, _ in replayed}
    assert set(DIFFERENT) <= names, "a difference that is none any more"
    assert len(replayed) > 45


def test_the_words_of_errors_are_model_servers(replayed: list[Replay]) -> None:
    checked = 0
    for name, entry, answer in replayed:
        if name in DIFFERENT or entry["status"] == 200:
            continue
        theirs, ours = json.loads(body_of(entry, "resp_body")), answer.json()
        if entry["status"] == 412:  # what the parser found is each parser's own
            beginning = "The file is not valid json - Error: "
            assert ours["error"].startswith(beginning) and theirs["error"].startswith(beginning)
        else:
            assert ours == theirs, name
        checked += 1
    assert checked >= 19


def test_the_form_of_answers_is_model_servers(replayed: list[Replay]) -> None:
    def form(value: Any, tensors: bool = False) -> Any:
        """Keys and kinds; of tensors only those of the first, for other models have others."""
        if isinstance(value, dict):
            return {
                key: form(part, key in ("inputs", "outputs"))
                for key, part in value.items()
                if key not in ("model_info", "shape", "data", "datatype")
            }
        if isinstance(value, list):
            return [form(value[0])] if tensors and value else "list"
        return type(value).__name__

    checked = 0
    for name, entry, answer in replayed:
        answered = entry["status"] == 200 and entry["path"].startswith("/v2/models/cls_str")
        if answered and name not in DIFFERENT:
            theirs = json.loads(body_of(entry, "resp_body"))
            assert form(answer.json()) == form(theirs), name
            checked += 1
    assert checked >= 6


# --- the project's own clients ------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
def test_the_client_verifies_it_and_gets_the_classifiers_answers(
    server: Live, tiny_bundle: Bundle, tiny_classifier: EmotionClassifier, binary: bool
) -> None:
    pytest.importorskip("tritonclient", reason="the extra serving is not installed")
    from ov_emotions.client import ServerOptions

    with EmotionClassifier.from_server(
        server.model_url, model=tiny_bundle, options=ServerOptions(binary=binary)
    ) as remote:
        assert remote.thresholds == tiny_classifier.thresholds
        assert remote.long_texts == "window"
        found, expected = remote(TEXTS), tiny_classifier(TEXTS)
        assert remote(["я\ud800 рад"])[0].labels == tiny_classifier("я рад").labels
    assert [one.labels for one in found] == [one.labels for one in expected]
    assert [one.truncated for one in found] == [False] * len(TEXTS)
    for ours, theirs in zip(found, expected, strict=True):
        assert dict(ours.scores) == pytest.approx(dict(theirs.scores), abs=1e-6)


def test_a_client_that_expects_another_model_refuses_it(server: Live) -> None:
    pytest.importorskip("tritonclient", reason="the extra serving is not installed")
    with pytest.raises(ServerMismatchError, match="its labels are anger, joy, neutral and not"):
        EmotionClassifier.from_server(server.model_url, model="emotions-ru-tiny")
    with pytest.raises(ServerError, match="404"):
        EmotionClassifier.from_server(f"{server.url}/other")
    with EmotionClassifier.from_server(f"{server.model_url}/versions/1") as remote:
        assert remote("радость").labels == ("joy",)


def test_the_check_finds_all_well(
    server: Live, tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tritonclient", reason="the extra serving is not installed")
    command = ["ovms", "check", server.model_url, "--model", str(tiny_bundle.folder), "--json"]
    assert main([*command, "--requests", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert [step["name"] for step in told["steps"]][-2:] == ["inference", "speed"]


# --- tensors as JSON and as bytes ---------------------------------------------------------------


def test_both_outputs_come_unless_one_is_asked_for(
    http: httpx.Client, tiny_classifier: EmotionClassifier
) -> None:
    whole = infer(http, tensor(TEXTS), id="42").json()
    assert (whole["id"], whole["model_name"], whole["model_version"]) == ("42", "cls_str", "1")
    labels, probabilities = whole["outputs"]
    assert labels["data"] == ["радость", "гнев", "", "", "", ""]
    assert probabilities["shape"] == [6, 3]
    found = np.array(probabilities["data"], np.float32).reshape(6, 3)
    np.testing.assert_allclose(found, tiny_classifier.predict_proba(TEXTS), atol=1e-6)
    for name in ("labels", "probabilities"):
        [only] = infer(http, tensor(TEXTS), outputs=[{"name": name}]).json()["outputs"]
        assert only["name"] == name
    unknown = infer(http, tensor(TEXTS), outputs=[{"name": "nope"}]).json()["outputs"]
    assert [output["name"] for output in unknown] == ["labels", "probabilities"]


def test_the_names_of_labels_may_be_english(tiny_classifier: EmotionClassifier) -> None:
    with live(tiny_classifier, label_names="en") as server:
        body = {"inputs": [tensor(["радость"])], "outputs": [{"name": "labels"}]}
        answer = httpx.post(f"{server.url}/v2/models/emotions/infer", json=body)
    assert answer.json()["outputs"][0]["data"] == ["joy"]


def packed(texts: list[bytes], size: int | None = None, **changed: Any) -> tuple[bytes, int]:
    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    parameters = {"binary_data_size": len(raw) if size is None else size}
    one = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "parameters": parameters}
    head = json.dumps({"inputs": [one | changed]}).encode()
    return head + raw, len(head)


def send_packed(http: httpx.Client, body: bytes, head: object) -> httpx.Response:
    headers = {"Inference-Header-Content-Length": str(head)}
    return http.post(INFER, content=body, headers=headers)


def test_bytes_in_and_out(http: httpx.Client) -> None:
    body, size = packed(["радость".encode(), b"", "злость".encode()])
    head = json.loads(body[:size])
    head["outputs"] = [
        {"name": "labels", "parameters": {"binary_data": True}},
        {"name": "probabilities", "parameters": {"binary_data": True}},
    ]
    text = json.dumps(head).encode()
    answer = send_packed(http, text + body[size:], len(text))
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    labels, probabilities = json.loads(answer.content[:length])["outputs"]
    first = labels["parameters"]["binary_data_size"]
    raw = answer.content[length:]
    assert raw[4:18] == "радость".encode()
    assert (
        raw[:first]
        == struct.pack("<I", 14)
        + "радость".encode()
        + bytes(4)
        + struct.pack("<I", 8)
        + "гнев".encode()
    )
    found = np.frombuffer(raw[first:], "<f4").reshape(probabilities["shape"])
    whole = infer(http, tensor(["радость", "", "злость"])).json()["outputs"][1]["data"]
    np.testing.assert_array_equal(found.ravel(), np.array(whole, np.float32))


GOOD, SIZE = packed([b"ab"])


@pytest.mark.parametrize(
    ("body", "head", "words"),
    [
        (GOOD, "x", "must be the length of the JSON part"),
        (GOOD, len(GOOD) + 1, "must be the length of the JSON part"),
        (GOOD[:-1], SIZE, "Received buffer size is smaller than binary_data_size"),
        (*packed([b"ab"], 10**18), "Received buffer size is smaller"),
        (*packed([b"ab"], -6), "binary_data_size must be a number of bytes"),
        (*packed([b"ab"], 5), "end within the text at position 0"),
        (GOOD[:SIZE] + b"\xff\xff\xff\xffab", SIZE, "end within the text at position 0"),
        (*packed([b"ok", b"\xff\xfe"]), "the text at position 1 is not UTF-8"),
        (*packed([b"ok"], shape=[2]), "Expected: 2 values; Actual: 1 values"),
    ],
)
def test_bad_bytes_are_told(http: httpx.Client, body: bytes, head: object, words: str) -> None:
    answer = send_packed(http, body, head)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": []}, "missing inputs"),
        ({"inputs": [tensor(["a"]), tensor(["b"])]}, "Expected: 1; Actual: 2"),
        ({"inputs": [tensor(["a"], name="texts")]}, "Required input: text"),
        ({"inputs": [tensor(["a"], datatype="FP32")]}, "Expected: BYTES; Actual: FP32"),
        ({"inputs": [tensor(["a"], shape=[1, 1])]}, "Expected: (-1); Actual: (1,1)"),
        ({"inputs": [tensor(["a"], shape=1)]}, "shape must be a list of sizes"),
        ({"inputs": [tensor(["a"], shape=[True])]}, "shape must be a list of sizes"),
        ({"inputs": [tensor(["a"], shape=[3])]}, "Expected: 3 values; Actual: 1 values"),
        ({"inputs": [tensor(["a"], shape=[10**30])]}, "values; Actual: 1 values"),
        ({"inputs": [tensor(["a"], data=[None])]}, "Not valid ndarray detected"),
        ({"id": 5}, "id must be a string"),
        ({"outputs": 5}, "outputs must be objects"),
        ({"outputs": [{"name": "labels", "parameters": {"binary_data": 1}}]}, "true or false"),
    ],
)
def test_a_bad_request_is_told(http: httpx.Client, body: dict[str, Any], words: str) -> None:
    answer = http.post(INFER, json={"inputs": [tensor(["a"])]} | body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


def test_the_limits_hold_here_too(tiny_classifier: EmotionClassifier) -> None:
    with (
        live(tiny_classifier, max_texts=3, max_body_bytes=2000) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        path = "/v2/models/emotions/infer"
        many = http.post(path, json={"inputs": [tensor(["a"] * 4)]})
        large = http.post(path, json={"inputs": [tensor(["a" * 2000])]})
        zipped = http.post(path, content=b"x", headers={"Content-Encoding": "deflate"})
    assert (many.status_code, large.status_code, zipped.status_code) == (422, 413, 415)
