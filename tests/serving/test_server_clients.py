"""Clients that exist work unchanged: KServe's SDK, Hugging Face's, tritonclient, our own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from live_server import Live, live

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import ServerError

TEXTS = ["какая радость", "злость", "слово", ""]

KSERVE = """
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

async def main(url, texts, binary):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    tensor = InferInput("text", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([t.encode() for t in texts], dtype=object), binary)
    found = await client.infer(url, InferRequest("emotions", [tensor]), "emotions")
    outputs = {one.name: one.as_numpy() for one in found.outputs}
    print(json.dumps({
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "emotions"),
        "probabilities": outputs["probabilities"].tolist(),
        "labels": [one if isinstance(one, str) else one.decode() for one in outputs["labels"]],
    }))

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] == "binary"))
"""


@pytest.fixture(scope="module")
def server(tiny_classifier: EmotionClassifier) -> Iterator[Live]:
    with live(tiny_classifier) as found:
        yield found


@pytest.mark.parametrize("form", ["json", "binary"])
def test_kserves_sdk(server: Live, tiny_classifier: EmotionClassifier, form: str) -> None:
    """It holds other packages back: OV_EMOTIONS_KSERVE_PYTHON names a Python of its own."""
    python = os.environ.get("OV_EMOTIONS_KSERVE_PYTHON", sys.executable)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    there = subprocess.run(
        [python, "-c", "import kserve"], capture_output=True, check=False, env=environment
    )
    if there.returncode:
        pytest.skip("kserve is not installed in the Python of OV_EMOTIONS_KSERVE_PYTHON")
    done = subprocess.run(
        [python, "-c", KSERVE, server.url, json.dumps(TEXTS), form],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["live"], told["ready"], told["model"]) == (True, True, True)
    assert told["labels"] == ["радость", "гнев", "", ""]
    expected = tiny_classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(
        np.reshape(told["probabilities"], expected.shape), expected, atol=1e-6
    )


def test_the_health_answers_are_the_open_inference_protocols(server: Live) -> None:
    for path, answer in (
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/emotions/ready", {"name": "emotions", "ready": True}),
        ("/v2/models/emotions/versions/1/ready", {"name": "emotions", "ready": True}),
    ):
        assert httpx.get(f"{server.url}{path}").json() == answer


# --- Hugging Face -------------------------------------------------------------------------------


def test_hugging_faces_inference_client(server: Live, tiny_classifier: EmotionClassifier) -> None:
    hub = pytest.importorskip("huggingface_hub")
    client = hub.InferenceClient(base_url=server.url, token="none")
    found = client.text_classification("какая радость")
    expected = tiny_classifier("какая радость").scores
    assert [one.label for one in found] == list(expected)
    assert [one.score for one in found] == pytest.approx(list(expected.values()), abs=1e-5)
    assert len(client.text_classification("какая радость", top_k=1)) == 1
    client = hub.InferenceClient(server.url, token="none", provider="hf-inference")
    assert client.health_check() is True
    told = client.get_endpoint_info()
    assert told["model_type"]["classifier"]["label2id"] == {"anger": 0, "joy": 1, "neutral": 2}
    assert told["max_client_batch_size"] == 10_000


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        ("злость", "anger"),
        (["злость"], "anger"),
        ([["злость"], ["радость"]], ["anger", "joy"]),
    ],
)
def test_text_embeddings_inferences_predict(server: Live, inputs: Any, labels: Any) -> None:
    body = {"inputs": inputs, "truncate": True, "raw_scores": False}
    answer = httpx.post(f"{server.url}/predict", json=body).json()
    firsts = [one[0] if isinstance(one, list) else one for one in answer]
    if isinstance(labels, str):
        assert (answer[0]["label"], len(answer)) == (labels, 3)
        assert answer == sorted(answer, key=lambda one: -one["score"])
    else:
        assert [one["label"] for one in firsts] == labels


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": ["a", "b"]}, "no pairs of texts"),
        ({"inputs": [["a", "b"]]}, "no pairs of texts"),
        ({"inputs": 5}, "inputs must be a text"),
        ({"inputs": [["a"], 5]}, "inputs must be a text"),
        ({}, "inputs is missing"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, "top_k"),
    ],
)
def test_what_predict_cannot_do_is_told(server: Live, body: Any, words: str) -> None:
    answer = httpx.post(f"{server.url}/predict", json=body)
    assert (answer.status_code, words in answer.json()["error"]) == (422, True), answer.text


# --- gRPC ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grpc_server(tiny_classifier: EmotionClassifier) -> Iterator[Live]:
    pytest.importorskip("tritonclient.grpc", reason="the extra serving is not installed")
    with live(tiny_classifier, grpc_port=0) as found:
        yield found


def test_tritonclient_over_grpc(grpc_server: Live, tiny_classifier: EmotionClassifier) -> None:
    triton = pytest.importorskip("tritonclient.grpc")
    client = triton.InferenceServerClient(f"127.0.0.1:{grpc_server.runner.grpc_port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("emotions")
    assert client.get_server_metadata().name == "ov-emotions"
    metadata = client.get_model_metadata("emotions")
    assert [(one.name, list(one.shape)) for one in metadata.outputs] == [
        ("labels", [-1]),
        ("probabilities", [-1, 3]),
    ]
    tensor = triton.InferInput("text", [len(TEXTS)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in TEXTS], dtype=object))
    found = client.infer("emotions", [tensor], request_id="7")
    assert found.get_response().id == "7"
    assert [one.decode() for one in found.as_numpy("labels")] == ["радость", "гнев", "", ""]
    np.testing.assert_allclose(
        found.as_numpy("probabilities"), tiny_classifier.predict_proba(TEXTS), atol=1e-6
    )
    only = client.infer(
        "emotions", [tensor], outputs=[triton.InferRequestedOutput("probabilities")]
    )
    assert only.as_numpy("labels") is None
    told = httpx.get(f"{grpc_server.url}/metrics").text
    assert 'ov_emotions_requests_total{endpoint="gRPC ModelInfer",status="200"} 2.0' in told


def test_our_own_client_over_grpc_needs_no_metadata_url(
    grpc_server: Live, tiny_bundle: Bundle, tiny_classifier: EmotionClassifier
) -> None:
    port = grpc_server.runner.grpc_port
    url = f"grpc://127.0.0.1:{port}/emotions"
    for model in (None, tiny_bundle):
        with EmotionClassifier.from_server(url, model=model) as remote:
            assert remote.thresholds == tiny_classifier.thresholds
            assert [one.labels for one in remote(TEXTS)] == [
                one.labels for one in tiny_classifier(TEXTS)
            ]
    with pytest.raises(ServerError, match="not found"):
        EmotionClassifier.from_server(f"grpc://127.0.0.1:{port}/other")


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"name": "texts"}, "INVALID_ARGUMENT", "Required input: text"),
        ({"datatype": "FP32"}, "INVALID_ARGUMENT", "Expected: BYTES"),
        ({"shape": [1, 1]}, "INVALID_ARGUMENT", "Actual: (1,1)"),
        ({"shape": [2]}, "INVALID_ARGUMENT", "Expected: 2 values"),
        ({"raw": b"\xff\xff\xff\xffa"}, "INVALID_ARGUMENT", "end within the text at position 0"),
        ({"raw": b"\x01\x00\x00\x00\xff"}, "INVALID_ARGUMENT", "is not UTF-8"),
        ({"model": "other"}, "NOT_FOUND", "is not found"),
        ({"text": "x" * 30_000}, "INVALID_ARGUMENT", "30,000 characters"),
    ],
)
def test_what_grpc_refuses(
    grpc_server: Live, changed: dict[str, Any], code: str, words: str
) -> None:
    grpc = pytest.importorskip("grpc")
    pb = pytest.importorskip("tritonclient.grpc.service_pb2")
    stubs = pytest.importorskip("tritonclient.grpc.service_pb2_grpc")
    request = pb.ModelInferRequest(model_name=changed.get("model", "emotions"))
    tensor = request.inputs.add(
        name=changed.get("name", "text"), datatype=changed.get("datatype", "BYTES")
    )
    tensor.shape.extend(changed.get("shape", [1]))
    if "raw" in changed:
        request.raw_input_contents.append(changed["raw"])
    else:
        tensor.contents.bytes_contents.append(changed.get("text", "слово").encode())
    address = f"127.0.0.1:{grpc_server.runner.grpc_port}"
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as error:
        stubs.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    assert error.value.code() is getattr(grpc.StatusCode, code)
    assert words in error.value.details()
    assert dict(error.value.trailing_metadata())["x-request-id"]


def test_grpc_asks_for_the_key_too(
    tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton = pytest.importorskip("tritonclient.grpc")
    monkeypatch.setenv("OV_EMOTIONS_API_KEY", "secret")
    with live(tiny_classifier, grpc_port=0) as server:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.runner.grpc_port}")
        assert client.is_server_live()
        with pytest.raises(triton.InferenceServerException, match="a key is needed"):
            client.get_model_metadata("emotions")
        key = {"authorization": "Bearer secret"}
        assert client.get_model_metadata("emotions", headers=key).name == "emotions"


# --- the page of the API ------------------------------------------------------------------------


def test_the_docs_are_a_page_that_fetches_nothing_from_elsewhere(server: Live) -> None:
    answer = httpx.get(f"{server.url}/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "connect-src 'self'" in answer.headers["content-security-policy"]
    assert (
        re.findall(r"(?:src|href)=|https?://", answer.text.replace('href="openapi.json"', "")) == []
    )


def test_the_docs_show_every_operation_and_try_it(server: Live) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server.url}/docs")
        page.wait_for_selector("details")
        operations = sum(
            len(one) for one in httpx.get(f"{server.url}/openapi.json").json()["paths"].values()
        )
        assert page.locator("details").count() == operations
        block = page.locator("details").first
        block.locator("summary").click()
        block.get_by_role("button", name="Send").click()
        block.locator("pre[aria-live]").get_by_text('"joy"').first.wait_for()
        browser.close()
    assert all(url.startswith(server.url) for url in asked)
