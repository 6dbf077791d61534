"""KServe v2 over gRPC: the protocol's own service, as tritonclient brings it.

Beside the protocol there is ModelConfig, Triton's extension, whose parameters are the facts that
clients verify. The calls that manage a server are not offered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ov_emotions import __version__
from ov_emotions.errors import InputError
from ov_emotions.server import kserve
from ov_emotions.server.answers import CLIENT_GONE, RefusedError
from ov_emotions.server.middleware import known, request_id, write_down
from ov_emotions.server.service import Service
from ov_emotions.server.settings import SERVED_VERSION
from ov_emotions.system import require

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_OPEN = ("ServerLive", "ServerReady")


async def start(service: Service, keys: tuple[bytes, ...]) -> tuple[Any, int]:
    """Start to listen, in the running event loop.

    :param service: what answers; its settings say where.
    :param keys: any of them will do; none where no key is asked for.
    :return: the server, and its port.
    :raises MissingExtraError: if the extra `serving` is not installed.
    :raises InputError: if the port cannot be had.
    """
    grpc = require("grpc", extra="serving")
    aio = require("grpc.aio", extra="serving")
    pb = require("tritonclient.grpc.service_pb2", extra="serving")
    stubs = require("tritonclient.grpc.service_pb2_grpc", extra="serving")
    settings = service.settings
    options = [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]
    found = aio.server(options=options, maximum_concurrent_rpcs=settings.max_connections)
    stubs.add_GRPCInferenceServiceServicer_to_server(
        _servicer(service, keys, grpc, pb, stubs.GRPCInferenceServiceServicer), found
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port: int = found.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise InputError(f"cannot listen on {host} port {settings.grpc_port} for gRPC") from error
    await found.start()
    return found, port


def _servicer(service: Service, keys: tuple[bytes, ...], grpc: Any, pb: Any, base: Any) -> Any:
    """Make the service's methods: each call is counted, logged, and refused with a sentence."""
    settings = service.settings

    def called(name: str, answer: Callable[[Any, Any, dict[str, Any]], Awaitable[Any]]) -> Any:
        async def call(_self: Any, request: Any, context: Any) -> Any:
            begun = time.perf_counter()
            headers = {
                key.encode(): value if isinstance(value, bytes) else value.encode()
                for key, value in context.invocation_metadata()
            }
            ident = request_id(headers.get(b"x-request-id", b"").decode("latin-1"))
            context.set_trailing_metadata((("x-request-id", ident),))
            fields: dict[str, Any] = {"request": ident, "method": "gRPC", "path": name}
            status, reason = 200, None
            try:
                if keys and name not in _OPEN and not known(headers, keys):
                    raise RefusedError(
                        401, "no_key", "a key is needed: send authorization: Bearer KEY"
                    )
                return await answer(request, context, fields)
            except RefusedError as error:
                status, reason = error.status, error.reason
                code = getattr(grpc.StatusCode, _CODES.get(status, "INTERNAL"))
                trailing = [("x-request-id", ident)]
                trailing += [(key.lower(), value) for key, value in error.headers.items()]
                await context.abort(code, str(error), tuple(trailing))
            except asyncio.CancelledError:
                status, reason = CLIENT_GONE, "gone"
                raise
            finally:
                seconds = time.perf_counter() - begun
                write_down(service.metrics, f"gRPC {name}", status, seconds, reason, fields)

        return call

    def check(name: str, version: str) -> None:
        if name != settings.name:
            raise RefusedError(404, "bad_request", kserve.NO_MODEL)
        if version not in ("", SERVED_VERSION):
            raise RefusedError(404, "bad_request", kserve.NO_VERSION)

    async def live(*_: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def ready(*_: Any) -> Any:
        return pb.ServerReadyResponse(ready=service.ready)

    async def model_ready(request: Any, *_: Any) -> Any:
        check(request.name, request.version)
        return pb.ModelReadyResponse(ready=service.ready)

    async def server_metadata(*_: Any) -> Any:
        return pb.ServerMetadataResponse(name="ov-emotions", version=__version__)

    async def model_metadata(request: Any, *_: Any) -> Any:
        check(request.name, request.version)
        return pb.ModelMetadataResponse(**kserve.model_metadata(service))

    async def model_config(request: Any, *_: Any) -> Any:
        check(request.name, request.version)
        answer = pb.ModelConfigResponse()
        answer.config.name = settings.name
        for key, fact in service.model.facts.items():
            answer.config.parameters[key].string_value = fact
        return answer

    async def infer(request: Any, context: Any, fields: dict[str, Any]) -> Any:
        check(request.model_name, request.model_version)
        texts = _texts(request)
        fields |= {"texts": len(texts), "characters": sum(map(len, texts))}
        if settings.log_texts:
            fields["contents"] = texts
        left = context.time_remaining()
        seconds = settings.deadline if left is None else min(left, settings.deadline)
        scored = await service.classify(texts, seconds)
        answer = pb.ModelInferResponse(
            model_name=settings.name, model_version=SERVED_VERSION, id=request.id
        )
        wanted = {output.name for output in request.outputs} & set(kserve.OUTPUTS)
        for told, values in kserve.outputs_of(scored, wanted or kserve.OUTPUTS):
            answer.outputs.add(**told)
            answer.raw_output_contents.append(kserve.to_bytes(values))
        return answer

    answers = {
        "ServerLive": live,
        "ServerReady": ready,
        "ModelReady": model_ready,
        "ServerMetadata": server_metadata,
        "ModelMetadata": model_metadata,
        "ModelConfig": model_config,
        "ModelInfer": infer,
    }
    methods = {name: called(name, answer) for name, answer in answers.items()}
    return type("Servicer", (base,), methods)()


def _texts(request: Any) -> list[str]:
    kserve.check_inputs(request.inputs)
    tensor = request.inputs[0]
    if request.raw_input_contents:
        texts = kserve.unpack_texts(request.raw_input_contents[0])
    else:
        found = tensor.contents.bytes_contents
        texts = [kserve.decode_text(raw, position) for position, raw in enumerate(found)]
    kserve.check_count(texts, tensor.shape)
    return texts
