"""The legacy client against a server that speaks ovmsclient's own protobufs, and its REST API."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_kserve import FAST, Reply, Request, ServedBundle, http_server, raw_server

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.cli.main import main
from ov_emotions.errors import (
    InputError,
    MissingExtraError,
    ServerError,
    ServerMismatchError,
    ServerUnavailableError,
)

pytest.importorskip("ovmsclient", reason="the extra ovms-legacy is not installed")

TEXTS = ["какая радость", "злость", "", "слово я рад", "чёрт \x00"]
LONG = "слово злость " * 30 + "радость " * 12


class TfsModel:
    """A bundle behind the TensorFlow Serving API, as Model Server up to 2026.2.1 had it."""

    def __init__(self, served: ServedBundle) -> None:
        self.served = served
        self.server_version: str | None = "2026.2.1"
        self.refusals: list[Any] = []

    def specs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs = {"text": ("DT_STRING", [-1])}
        if self.served.takes == "tokens":
            inputs = dict.fromkeys(("input_ids", "attention_mask"), ("DT_INT64", [-1, -1]))
        width = len(self.served.bundle.manifest.labels)
        outputs = {"probabilities": ("DT_FLOAT", [-1, width])}
        if self.served.takes == "text":
            outputs["labels"] = ("DT_STRING", [-1])
        return inputs, outputs

    # REST

    def rest(self, request: Request) -> Reply:
        if request.path == "/v2":
            if self.server_version is None:
                return Reply.of({"error": "Invalid request URL"}, 400)
            told = {"name": "OpenVINO Model Server", "version": self.server_version}
            return Reply.of(told)
        if not request.path.startswith("/v1/models/emotions/versions/"):
            return Reply.of({"error": "Model with requested name is not found"}, 404)
        if self.refusals:
            found: Reply = self.refusals.pop(0)
            return found
        if request.path.endswith(":predict"):
            return self._predict(json.loads(request.body)["inputs"])
        if request.path.endswith("/metadata"):
            return Reply.of(self._metadata())
        status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK"}}
        status["status"]["error_message"] = "OK"
        return Reply.of({"model_version_status": [status]})

    def _metadata(self) -> dict[str, Any]:
        def told(specs: dict[str, Any]) -> dict[str, Any]:
            return {
                name: {"dtype": dtype, "tensorShape": {"dim": [{"size": str(d)} for d in shape]}}
                for name, (dtype, shape) in specs.items()
            }

        inputs, outputs = self.specs()
        signature = {"inputs": told(inputs), "outputs": told(outputs)}
        definition = {"signature_def": {"signatureDef": {"serving_default": signature}}}
        return {"modelSpec": {"name": "emotions", "version": "1"}, "metadata": definition}

    def _predict(self, inputs: dict[str, Any]) -> Reply:
        if self.served.takes == "text":
            tensors: dict[str, Any] = {
                "text": [base64.b64decode(text["b64"]) for text in inputs["text"]]
            }
        else:
            tensors = {name: np.array(value, np.int64) for name, value in inputs.items()}
        found = self.served.run(tensors)
        outputs: dict[str, Any] = {"probabilities": found["probabilities"].tolist()}
        outputs["labels"] = [name.decode() for name in found.get("labels", ())]
        return Reply.of({"outputs": outputs})


@contextmanager
def grpc_model(model: TfsModel, *, implemented: bool = True) -> Iterator[int]:
    """The same over gRPC; a newer server has no such services."""
    import grpc
    from google.protobuf.any_pb2 import Any as AnyMessage
    from ovmsclient.tfs_compat.grpc.tensors import make_ndarray, make_tensor_proto
    from ovmsclient.tfs_compat.protos.tensorflow.core.framework.types_pb2 import DataType
    from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    def check(request: Any, context: Any) -> None:
        if request.model_spec.name != "emotions":
            context.abort(grpc.StatusCode.NOT_FOUND, "Model with requested name is not found")
        if model.refusals:
            context.abort(model.refusals.pop(0), "busy")

    class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
            check(request, context)
            tensors: dict[str, Any] = {}
            for name, proto in request.inputs.items():
                strings = proto.dtype == DataType.Value("DT_STRING")
                tensors[name] = list(proto.string_val) if strings else make_ndarray(proto)
            response = predict_pb2.PredictResponse()
            found = model.served.run(tensors)
            scores = make_tensor_proto(found["probabilities"].astype(np.float32))
            response.outputs["probabilities"].CopyFrom(scores)
            if "labels" in found:
                labels = make_tensor_proto(found["labels"].astype(np.bytes_))
                response.outputs["labels"].CopyFrom(labels)
            return response

        def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            check(request, context)
            definition = get_model_metadata_pb2.SignatureDefMap()
            signature = definition.signature_def["serving_default"]
            for specs, where in zip(
                model.specs(), (signature.inputs, signature.outputs), strict=True
            ):
                for name, (dtype, shape) in specs.items():
                    where[name].dtype = DataType.Value(dtype)
                    for size in shape:
                        where[name].tensor_shape.dim.add(size=size)
            packed = AnyMessage()
            packed.Pack(definition)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = "emotions"
            response.model_spec.version.value = 1
            response.metadata["signature_def"].CopyFrom(packed)
            return response

    class Status(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
            check(request, context)
            response = get_model_status_pb2.GetModelStatusResponse()
            response.model_version_status.add(version=1, state=30)
            return response

    server = grpc.server(futures.ThreadPoolExecutor(4))
    if implemented:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(Status(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


@contextmanager
def tfs_server(model: TfsModel, protocol: str) -> Iterator[str]:
    if protocol == "grpc":
        with grpc_model(model) as port:
            yield f"tfs+grpc://127.0.0.1:{port}/emotions"
    else:
        with http_server(model.rest) as (port, _):
            yield f"tfs+http://127.0.0.1:{port}/emotions"


@pytest.fixture
def model(tiny_bundle):
    return TfsModel(ServedBundle(tiny_bundle))


def classify(url: str, bundle: Bundle | None, **arguments: Any) -> EmotionClassifier:
    return EmotionClassifier.from_server(url, model=bundle, **{"options": FAST, **arguments})


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("takes", ["text", "tokens"])
def test_an_old_server_gives_what_the_process_gives(model, tiny_bundle, protocol, takes):
    model.served.takes = takes
    local = EmotionClassifier(tiny_bundle, threads=1, long_texts="truncate")
    options = replace(FAST, batch_texts=2, batch_tokens=20)
    with (
        tfs_server(model, protocol) as url,
        classify(url, tiny_bundle, long_texts="truncate", options=options) as remote,
    ):
        assert remote.labels == local.labels
        found, expected = remote.predict_proba([*TEXTS, LONG]), local.predict_proba([*TEXTS, LONG])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        told = [(one.labels, one.truncated) for one in local([*TEXTS, LONG])]
        assert [(one.labels, one.truncated) for one in remote([*TEXTS, LONG])] == told
        assert remote([]) == []


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_another_model_or_none_is_refused(model, tiny_bundle, protocol):
    with tfs_server(model, protocol) as url:
        with pytest.raises(ServerMismatchError, match="does not tell the labels and thresholds"):
            classify(url, None)
        model.served.thresholds["joy"] = 0.999
        with pytest.raises(ServerMismatchError, match="threshold of joy is higher"):
            classify(url, tiny_bundle)
        with pytest.raises(ServerError, match="Model with requested name is not found"):
            classify(url.replace("/emotions", "/nope"), tiny_bundle)
    with pytest.raises(ServerUnavailableError, match=r"refused.*\(tried 3 times\)"):
        classify(f"tfs+{protocol}://127.0.0.1:1/emotions", tiny_bundle)


def test_a_newer_server_is_refused_and_told_what_to_use(model, tiny_bundle, capsys):
    model.server_version = "2026.3.0"
    newer = r"no TensorFlow Serving API \(OpenVINO Model Server 2026\.3\.0\).*use http://"
    with tfs_server(model, "http") as url:
        with pytest.raises(ServerError, match=newer):
            classify(url, tiny_bundle)
        assert main(["ovms", "check", url]) == 1
        assert "use http://" in capsys.readouterr().out
        model.server_version = None  # of unknown version it is taken at its word
        with classify(url, tiny_bundle) as remote:
            assert remote("злость").labels == ("anger",)
            model.refusals = [Reply.of({"error": "Functionality not implemented"}, 500)]
            with pytest.raises(ServerError, match="has no TensorFlow Serving API"):
                remote("слово")
    with (
        grpc_model(model, implemented=False) as port,
        pytest.raises(ServerError, match=r"use grpc:// .*ov-emotions\[serving\]"),
    ):
        classify(f"tfs+grpc://127.0.0.1:{port}/emotions", tiny_bundle)


def test_what_passes_is_tried_again(model, tiny_bundle):
    import grpc

    passing = {
        "grpc": [grpc.StatusCode.UNAVAILABLE] * 2 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 5,
        "http": [Reply.of({"error": "busy"}, 503), Reply(drop=True)],
    }
    final = {"grpc": grpc.StatusCode.INVALID_ARGUMENT, "http": Reply.of({"error": "busy"}, 400)}
    for protocol, refusals in passing.items():
        with tfs_server(model, protocol) as url, classify(url, tiny_bundle) as remote:
            model.refusals = list(refusals)
            assert remote("злость").labels == ("anger",)
            model.refusals = [final[protocol]]
            with pytest.raises(ServerError, match=r"refused the request \(.*busy"):
                remote("злость")
            assert remote("злость").labels == ("anger",)
    options = replace(FAST, timeout=0.2, deadline=0.5, attempts=2)
    with tfs_server(model, "http") as url, classify(url, tiny_bundle, options=options) as remote:
        model.refusals = [Reply(delay=0.6)] * 2
        with pytest.raises(ServerUnavailableError, match="did not answer in time"):
            remote("злость")


def test_answers_that_make_no_sense_are_told(model, tiny_bundle):
    senseless = [Reply(200, b"<html></html>"), Reply(200, b"[" * 100_000), Reply.of([])]
    with tfs_server(model, "http") as url, classify(url, tiny_bundle) as remote:
        for reply in [*senseless, Reply.of({"outputs": {"x": [1]}})]:
            model.refusals = [reply]
            with pytest.raises(ServerError):
                remote("злость")
            assert remote("злость").labels == ("anger",)
    for protocol in ("grpc", "http"):
        for answer in (b"what?\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n[["):
            with raw_server(answer) as port, pytest.raises(ServerError, match=f"127.0.0.1:{port}"):
                classify(f"tfs+{protocol}://127.0.0.1:{port}/emotions", tiny_bundle)


def test_what_the_old_client_cannot_do_is_told(tiny_bundle, monkeypatch):
    with pytest.raises(InputError, match="sends no headers"):
        classify("tfs+http://h:1/emotions", tiny_bundle, options=replace(FAST, headers={"a": "b"}))
    with pytest.raises(InputError, match="not under /prefix"):
        classify("tfs+http://h:1/prefix/v2/models/emotions", tiny_bundle)
    with pytest.raises(InputError, match="needs ca_file for TLS"):
        classify("tfs+grpcs://h:1/emotions", tiny_bundle)
    monkeypatch.setitem(sys.modules, "ovmsclient", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ov-emotions\[ovms-legacy\]'"):
        classify("tfs+grpc://127.0.0.1:1/emotions", tiny_bundle)
