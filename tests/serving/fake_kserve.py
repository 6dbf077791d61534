"""Servers on loopback that speak KServe v2 as they are told to: answers by rule, or a bundle's."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.client import ServerOptions
from ov_emotions.encoding import EncodedBatch
from ov_emotions.runtime.openvino import OpenVINOBackend
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.triton import facts
from ov_emotions.thresholds import apply_thresholds, to_probabilities

FAST = ServerOptions(timeout=2.0, deadline=5.0, attempts=3, backoff=0.01, max_backoff=0.02)


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False

    @staticmethod
    def of(value: Any, status: int = 200, **rest: Any) -> Reply:
        headers = {"Content-Type": "application/json"}
        return Reply(status, json.dumps(value, ensure_ascii=False).encode(), headers, **rest)


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Rule = Callable[[Request], Reply]


def _compressed(reply: Reply, request: Request) -> Reply:
    """As Model Server has it: gzip for large bodies, to whoever accepts it."""
    accepted = {name.lower(): text for name, text in request.headers.items()}
    if len(reply.body) < 1000 or "gzip" not in accepted.get("accept-encoding", ""):
        return reply
    if any(name.lower() == "content-encoding" for name in reply.headers):
        return reply
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    return replace(reply, body=gzip.compress(reply.body), headers=headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    rule: Rule
    seen: list[Request]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


def answer_by_rule(handler: Any) -> None:
    """Answers as the rule of its server says, and notes what was asked."""
    length = int(handler.headers.get("Content-Length") or 0)
    request = Request(
        handler.command, handler.path, dict(handler.headers.items()), handler.rfile.read(length)
    )
    handler.server.seen.append(request)
    reply = _compressed(handler.server.rule(request), request)
    time.sleep(reply.delay)
    if reply.drop:
        handler.close_connection = True
        handler.connection.close()
        return
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(reply.body)))
    handler.end_headers()
    handler.wfile.write(reply.body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: else each answer waits for an acknowledgement.
    wbufsize = -1
    server: _Server

    do_GET = do_POST = answer_by_rule  # noqa: N815

    def log_message(self, *_args: Any) -> None:
        pass


@contextmanager
def http_server(rule: Rule, *, ssl_context: Any = None) -> Iterator[tuple[int, list[Request]]]:
    """Yields the port, and the requests seen so far."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.rule, server.seen = rule, []
    if ssl_context is not None:
        server.socket = ssl_context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1], server.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw_server(answer: bytes) -> Iterator[int]:
    """Says the same bytes to everybody and hangs up. Yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class Abort(Exception):  # noqa: N818
    """An answer of gRPC that is an error."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(code, details)
        self.code, self.details = code, details


GrpcRule = Callable[[str, Any, Mapping[str, str]], Any]


@contextmanager
def grpc_server(
    rule: GrpcRule, *, port: int = 0, credentials: Any = None
) -> Iterator[tuple[int, list[str]]]:
    """Yields the port, and the names of the calls seen so far."""
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    seen: list[str] = []

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        pass

    def method(name: str) -> Callable[..., Any]:
        def call(_self: Any, request: Any, context: Any) -> Any:
            seen.append(name)
            try:
                return rule(name, request, dict(context.invocation_metadata()))
            except Abort as error:
                context.abort(getattr(grpc.StatusCode, error.code), error.details)

        return call

    for name in dir(service_pb2_grpc.GRPCInferenceServiceServicer):
        if name[0].isupper() and name != "ModelStreamInfer":
            setattr(Servicer, name, method(name))
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    address = f"127.0.0.1:{port}"
    bound = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    server.start()
    try:
        yield bound, seen
    finally:
        server.stop(0).wait()


class ServedBundle:
    """A bundle behind REST and gRPC as Model Server serves it; its fields may be changed."""

    def __init__(self, bundle: Bundle, *, takes: str = "text") -> None:
        self.bundle = bundle
        self.takes = takes
        self.version = "1"
        self.versions = ["1"]
        self.output = "probabilities"
        self.facts: dict[str, str] = facts(bundle, TritonConfig(long_texts="truncate"))
        self.facts_by_version: dict[str, dict[str, str]] = {}
        self.parameters: dict[str, str] | None = None
        self.thresholds = dict(bundle.manifest.thresholds)  # those of the output `labels`
        self.spoil: Callable[[np.ndarray], np.ndarray] = lambda scores: scores
        self.loading = False
        self.bound: int | None = None  # batch_size "1:N" of config.json
        self.shape: Any = -1  # of a batch, as the metadata tells it over REST
        self.threads: int | None = None  # requests under way; one more is refused
        self._running = 0
        self._lock = threading.Lock()
        self._classifier = EmotionClassifier(bundle, threads=1, long_texts="truncate")
        self._tokens = OpenVINOBackend(bundle, threads=1)

    def rest(self, request: Request) -> Reply:
        if request.path == "/v2":
            return Reply.of({"name": "OpenVINO Model Server", "version": "2026.4.1"})
        if request.path == "/v2/health/ready" and self.loading:
            return Reply.of({"error": "Server is not ready"}, 503)
        if request.path in ("/v2/health/live", "/v2/health/ready"):
            return Reply()
        steps = request.path.removeprefix("/v2/models/").split("/")
        if not request.path.startswith("/v2/models/") or steps[0] != "emotions" or self.loading:
            kind = "Pipeline" if steps[-1] == "infer" else "Model"
            return Reply.of({"error": f"{kind} with requested name is not found"}, 404)
        version = steps[2] if len(steps) > 2 and steps[1] == "versions" else ""
        if version and version not in self.versions:
            return Reply.of({"error": "Model with requested version is not found"}, 404)
        if steps[-1] == "ready":
            return Reply()
        if steps[-1] == "config":
            return self._config()
        if steps[-1] == "infer":
            return self._infer_rest(request)
        return Reply.of(self._metadata(version))

    def _config(self) -> Reply:
        if self.parameters is None:
            return Reply.of({"error": "Invalid request URL"}, 400)
        found = {key: {"string_value": text} for key, text in self.parameters.items()}
        return Reply.of({"name": "emotions", "parameters": found})

    def _specs(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        inputs = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        if self.takes == "tokens":
            names = ("attention_mask", "input_ids")
            inputs = [{"name": n, "datatype": "INT64", "shape": [-1, -1]} for n in names]
        width = len(self.bundle.manifest.labels)
        outputs = [{"name": self.output, "datatype": "FP32", "shape": [-1, width]}]
        if self.takes == "text":
            outputs.append({"name": "labels", "datatype": "BYTES", "shape": [-1]})
        return inputs, outputs

    def _metadata(self, version: str) -> dict[str, Any]:
        inputs, outputs = self._specs()
        for spec in inputs:
            spec["shape"] = [self.shape, *spec["shape"][1:]]
        info = self.facts_by_version.get(version or self.version, self.facts)
        return {
            "name": "emotions",
            "versions": self.versions,
            "platform": "OpenVINO",
            "inputs": inputs,
            "outputs": outputs,
            **({"rt_info": {"model_info": info}} if info else {}),
        }

    def scores(self, tensors: Mapping[str, Any]) -> np.ndarray:
        if self.takes == "text":
            texts = [text.decode() for text in tensors["text"]]
            logits = self._classifier.predict_logits(texts)
        else:
            batch = EncodedBatch(tensors["input_ids"], tensors["attention_mask"])
            logits = self._tokens.infer([batch])[0]
        task = self.bundle.manifest.task
        return self.spoil(logits if self.output == "logits" else to_probabilities(logits, task))

    def run(self, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Every output; an overload or a batch beyond the bound is refused."""
        rows = len(next(iter(tensors.values())))
        if self.bound is not None and rows > self.bound:
            told = f"Expected: [1~{self.bound}]; Actual: {rows}; input name: text"
            raise Abort("INVALID_ARGUMENT", f"Invalid batch size - {told}")
        with self._lock:
            self._running += 1
            exhausted = self.threads is not None and self._running > self.threads
        try:
            if exhausted:
                raise Abort("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
            scores = self.scores(tensors)
            if self.threads is not None:
                time.sleep(0.02)  # so that requests meet
        finally:
            with self._lock:
                self._running -= 1
        found: dict[str, np.ndarray] = {self.output: scores}
        if self.takes == "text":
            manifest = self.bundle.manifest
            cuts = [self.thresholds.get(label, 0.0) for label in manifest.labels]
            present = apply_thresholds(scores, np.array(cuts[: scores.shape[1]]), manifest.task)
            names = [manifest.label_names_ru[label] for label in manifest.labels]
            named = [", ".join(np.array(names[: len(row)])[row]) for row in present]
            found["labels"] = np.array([name.encode() for name in named], dtype=np.object_)
        return found

    def _infer_rest(self, request: Request) -> Reply:
        tensors, wanted = _parse_rest(request)
        try:
            arrays = self.run(tensors)
        except Abort as error:
            status = {"INVALID_ARGUMENT": 400, "RESOURCE_EXHAUSTED": 429}[error.code]
            return Reply.of({"error": error.details}, status)
        outputs, raws = [], []
        for spec in wanted:
            array = arrays[spec["name"]]
            datatype = "BYTES" if array.dtype == np.object_ else "FP32"
            found: dict[str, Any] = {
                "name": spec["name"],
                "datatype": datatype,
                "shape": list(array.shape),
            }
            if spec.get("parameters", {}).get("binary_data"):
                raws.append(_raw(array))
                found["parameters"] = {"binary_data_size": len(raws[-1])}
            else:
                plain = array.ravel().tolist()
                found["data"] = [p.decode() for p in plain] if datatype == "BYTES" else plain
            outputs.append(found)
        head = {"model_name": "emotions", "model_version": self.version, "outputs": outputs}
        if not raws:
            return Reply.of(head)
        text = json.dumps(head).encode()
        return Reply(
            200, text + b"".join(raws), {"Inference-Header-Content-Length": str(len(text))}
        )

    def grpc(self, name: str, request: Any, _metadata: Mapping[str, str]) -> Any:
        from tritonclient.grpc import service_pb2 as pb

        asked = getattr(request, "name", "") or getattr(request, "model_name", "")
        version = getattr(request, "version", "") or getattr(request, "model_version", "")
        if name == "ServerLive":
            return pb.ServerLiveResponse(live=True)
        if name == "ServerReady":
            return pb.ServerReadyResponse(ready=not self.loading)
        if name == "ServerMetadata":
            return pb.ServerMetadataResponse(name="OpenVINO Model Server", version="2026.4.1")
        if asked != "emotions" or self.loading:
            raise Abort("NOT_FOUND", "Model with requested name is not found")
        if version and version not in self.versions:
            raise Abort("NOT_FOUND", "Model with requested version is not found")
        if name == "ModelReady":
            return pb.ModelReadyResponse(ready=True)
        if name == "ModelMetadata":
            inputs, outputs = self._specs()
            tensor = pb.ModelMetadataResponse.TensorMetadata
            return pb.ModelMetadataResponse(
                name="emotions",
                versions=self.versions,
                platform="OpenVINO",
                inputs=[tensor(**spec) for spec in inputs],
                outputs=[tensor(**spec) for spec in outputs],
            )
        if name == "ModelInfer":
            return self._infer_grpc(request)
        if name == "ModelConfig" and self.parameters is not None:
            found = pb.ModelConfigResponse()
            for key, text in self.parameters.items():
                found.config.parameters[key].string_value = text
            return found
        raise Abort("UNIMPLEMENTED", "")

    def _infer_grpc(self, request: Any) -> Any:
        from tritonclient.grpc import service_pb2 as pb

        pairs = zip(request.inputs, request.raw_input_contents, strict=True)
        arrays = self.run(
            {spec.name: _tensor(spec.datatype, spec.shape, raw) for spec, raw in pairs}
        )
        wanted = [spec.name for spec in request.outputs]
        output = pb.ModelInferResponse.InferOutputTensor
        return pb.ModelInferResponse(
            model_name="emotions",
            model_version=self.version,
            outputs=[
                output(
                    name=name,
                    datatype="BYTES" if arrays[name].dtype == np.object_ else "FP32",
                    shape=arrays[name].shape,
                )
                for name in wanted
            ],
            raw_output_contents=[_raw(arrays[name]) for name in wanted],
        )


def _raw(array: np.ndarray) -> bytes:
    if array.dtype != np.object_:
        return array.astype("<f4").tobytes()
    return b"".join(struct.pack("<I", len(text)) + text for text in array)


def _tensor(datatype: str, shape: Any, raw: bytes) -> Any:
    if datatype == "INT64":
        return np.frombuffer(raw, dtype="<i8").reshape(tuple(shape))
    texts, offset = [], 0
    while offset < len(raw):
        (size,) = struct.unpack_from("<I", raw, offset)
        texts.append(raw[offset + 4 : offset + 4 + size])
        offset += 4 + size
    return texts


def _parse_rest(request: Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    size = int(headers.get("inference-header-content-length", len(request.body)))
    head, rest = json.loads(request.body[:size]), request.body[size:]
    tensors, offset = {}, 0
    for spec in head["inputs"]:
        length = spec.get("parameters", {}).get("binary_data_size")
        if length is not None:
            raw = rest[offset : offset + length]
            tensors[spec["name"]] = _tensor(spec["datatype"], spec["shape"], raw)
            offset += length
        elif spec["datatype"] == "BYTES":
            tensors[spec["name"]] = [text.encode() for text in spec["data"]]
        else:
            array = np.array(spec["data"], dtype=np.int64).reshape(spec["shape"])
            tensors[spec["name"]] = array
    return tensors, head["outputs"]


def classify(url: str, **arguments: Any) -> EmotionClassifier:
    return EmotionClassifier.from_server(url, **{"options": FAST, **arguments})


@contextmanager
def rest(rule: Any) -> Iterator[tuple[str, list[Request]]]:
    with http_server(rule) as (port, seen):
        yield f"http://127.0.0.1:{port}/emotions", seen


def infers(seen: list[Request]) -> list[Request]:
    return [request for request in seen if request.path.endswith("/infer")]


def failing(served: ServedBundle, failures: list[Reply]) -> Any:
    """Answers inferences with the given failures first."""

    def rule(request: Request) -> Reply:
        if request.path.endswith("/infer") and failures:
            return failures.pop(0)
        return served.rest(request)

    return rule
