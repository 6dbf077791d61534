"""`/v2`: KServe v2 over REST, so that whatever talks to OpenVINO Model Server talks to this.

The answers are those that were recorded of Model Server 2026.3 for a model that takes texts, down
to the wording. Differences by choice:

- the probes answer with JSON objects, `{"live": true}`, as the Open Inference Protocol has it and
  KServe's Python SDK needs it; Model Server's have no body;
- an empty list of texts gets an empty answer, where Model Server fails (500);
- a wrong method gets 405 with the header Allow, where Model Server says 406, and so does OPTIONS
  without CORS, to which it says 200;
- only the outputs that are asked for are in an answer (both if none of them is known);
- an answer with bytes in it is `application/octet-stream`, as KServe has it, not JSON;
- halves of surrogate pairs in JSON are let through, and dropped by the normaliser;
- long texts are read whole, in windows, unless `long_texts` says otherwise;
- there are limits (413, 415, 422), a queue that can be full (429), deadlines (408, 504), a key
  (401), and no CORS headers unless origins are named;
- the server tells its `extensions`; of Model Server's own API (`/v1/config`, `/v3`) there is none.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from fastapi import APIRouter, Path, Request, Response

from ov_emotions import __version__
from ov_emotions.normalize import replace_surrogates
from ov_emotions.server.answers import (
    JSON,
    NotJsonError,
    RefusedError,
    UnfitError,
    json_answer,
    pack,
    read_json,
)
from ov_emotions.server.middleware import Direct, read_body
from ov_emotions.server.routes import REFUSALS
from ov_emotions.server.schemas import (
    ErrorAnswer,
    InferAnswer,
    InferRequest,
    LiveAnswer,
    ModelMetadata,
    ReadyAnswer,
    ServerMetadata,
    takes,
)
from ov_emotions.server.service import Scored, Service
from ov_emotions.server.settings import SERVED_VERSION

INVALID_URL = "Invalid request URL"
NO_MODEL = "Model with requested name is not found"
NO_VERSION = "Model with requested version is not found"
_NO_PIPELINE = "Pipeline with requested name is not found"

HEADER = "Inference-Header-Content-Length"
INPUT = "text"
OUTPUTS = ("labels", "probabilities")

_UNFIT = {
    "inputs": "Invalid JSON structure, missing inputs",
    "outputs": "Invalid JSON structure, outputs must be objects with a name",
    "id": "Invalid JSON structure, id must be a string",
    "shape": "Invalid JSON structure, shape must be a list of sizes",
    "data": "Could not parse input content. Not valid ndarray detected",
    "name": f"Missing input with specific name - Required input: {INPUT}",
    "binary_data": "Invalid JSON structure, binary_data must be true or false",
    "binary_data_size": "binary_data_size must be a number of bytes",
}
_OF_INPUT = f"; input name: input name: {INPUT}"
_LENGTH = struct.Struct("<I")
_DIGITS = 20

_MISSING: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "No such address."},
    404: {"model": ErrorAnswer, "description": "No such model or version."},
}
_READY: dict[int | str, dict[str, Any]] = {
    200: {"model": ReadyAnswer, "description": "Yes."},
    503: {"model": ErrorAnswer, "description": "The server is stopping."},
}
_INFER: dict[int | str, dict[str, Any]] = {
    **REFUSALS,
    200: {
        "model": InferAnswer,
        "description": "The tensors.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    400: {"model": ErrorAnswer, "description": "Not what the model takes."},
    404: {"model": ErrorAnswer, "description": "No such model or version."},
    412: {"model": ErrorAnswer, "description": "Not JSON."},
}
_TAKES = takes(
    InferRequest,
    "With the header Inference-Header-Content-Length, JSON of that many bytes and the tensors as "
    "bytes after it (KServe's binary tensor extension).",
)


def bad(message: str) -> RefusedError:
    """Make the refusal of a request that is not what the model takes."""
    return RefusedError(400, "bad_request", message)


def build_router(service: Service) -> tuple[APIRouter, dict[str, Direct]]:
    """Make the routes; also gives the busiest of their handlers."""
    router = APIRouter(prefix="/v2")
    settings = service.settings
    named = Path(json_schema_extra={"enum": [settings.name]})
    numbered = Path(json_schema_extra={"enum": [SERVED_VERSION]})

    def ready(**named: str) -> Response:
        if not service.ready:
            raise RefusedError(503, "stopping", "the server is stopping")
        return json_answer({**named, "ready": True})

    @router.get(
        "",
        summary="The server",
        responses={200: {"model": ServerMetadata, "description": "Name and version."}},
    )
    async def server_metadata() -> Response:
        return json_answer(
            {"name": "ov-emotions", "version": __version__, "extensions": ["binary_tensor_data"]}
        )

    @router.get(
        "/health/live",
        summary="Whether the server runs",
        responses={200: {"model": LiveAnswer, "description": "Yes."}},
    )
    async def live() -> Response:
        return json_answer({"live": True})

    @router.get("/health/ready", summary="Whether requests are taken", responses=_READY)
    async def server_ready() -> Response:
        return ready()

    async def metadata(_request: Request) -> Response:
        facts = {"rt_info": {"model_info": service.model.facts}}
        return json_answer(model_metadata(service) | facts)

    async def model_ready(_request: Request) -> Response:
        return ready(name=settings.name)

    async def infer(request: Request) -> Response:
        body = await read_body(request, settings, json_only=False)
        texts, ident, outputs = _read(body, request.headers)
        scored = await service.score(request, texts)
        return _answer(request, settings.name, ident, outputs, scored)

    def add(
        path: str,
        kind: str,
        summary: str,
        act: Callable[[Request], Awaitable[Response]],
        missing: str = NO_MODEL,
        **more: Any,
    ) -> Callable[..., Awaitable[Response]]:
        """Add an address of the model, and one of its version; gives what answers the first."""

        async def model(request: Request, name: str = named) -> Response:
            if name != settings.name:
                raise RefusedError(404, "bad_request", missing)
            return await act(request)

        async def version(request: Request, name: str = named, version: str = numbered) -> Response:
            if not (version.isascii() and version.isdecimal()):
                raise bad(INVALID_URL)
            if name == settings.name and version != SERVED_VERSION:
                raise RefusedError(404, "bad_request", NO_VERSION)
            return await model(request, name)

        address = "/models/{name}"
        router.add_api_route(
            f"{address}{path}", model, name=f"model_{kind}", summary=summary, **more
        )
        router.add_api_route(
            f"{address}/versions/{{version}}{path}",
            version,
            name=f"version_{kind}",
            summary=f"{summary}, by version",
            **more,
        )
        return model

    told = {200: {"model": ModelMetadata, "description": "Tensors and facts."}, **_MISSING}
    described = add("", "metadata", "The model", metadata, responses=told)
    router.add_api_route("/models/{name}/", described, include_in_schema=False)
    add(
        "/ready",
        "ready",
        "Whether the model takes requests",
        model_ready,
        responses={**_READY, **_MISSING},
    )
    add(
        "/infer",
        "infer",
        "Classify texts",
        infer,
        _NO_PIPELINE,
        methods=["POST"],
        responses=_INFER,
        openapi_extra=_TAKES,
    )
    return router, {f"/v2/models/{settings.name}/infer": ("/v2/models/{name}/infer", infer)}


def model_metadata(service: Service) -> dict[str, Any]:
    """Describe the model's tensors, as KServe v2 does."""
    return {
        "name": service.settings.name,
        "versions": [SERVED_VERSION],
        "platform": "OpenVINO",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "labels", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(service.model.labels)]},
        ],
    }


def _read(body: bytes, headers: Mapping[str, str]) -> tuple[list[str], str | None, dict[str, bool]]:
    """Read the body of an inference: JSON, and bytes after it where the header says how long it is.

    :return: the texts; the id to give back; the outputs that are asked for, and whether as bytes.
    :raises RefusedError: 412 if it is no JSON, 400 if it is not what the model takes.
    """
    size = _json_size(headers.get(HEADER), len(body))
    try:
        asked = read_json(body[:size], InferRequest)
    except NotJsonError as error:
        told = f"The file is not valid json - Error: {error}"
        raise RefusedError(412, "not_json", told) from None
    except UnfitError as error:
        raise _unfit(error.place) from None
    if not asked.inputs:
        raise bad(_UNFIT["inputs"])
    check_inputs(asked.inputs)
    tensor = asked.inputs[0]
    data = tensor.data
    if tensor.parameters and (length := tensor.parameters.binary_data_size) is not None:
        if length > len(body) - size:
            raise bad("Received buffer size is smaller than binary_data_size parameter indicates")
        data = unpack_texts(body[size : size + length])
    if data is None:
        raise bad(_UNFIT["data"])
    check_count(data, tensor.shape)
    wanted = {
        output.name: output.parameters is not None and output.parameters.binary_data
        for output in asked.outputs or ()
        if output.name in OUTPUTS
    }
    return data, asked.id and replace_surrogates(asked.id), wanted or dict.fromkeys(OUTPUTS, False)


def _unfit(place: Sequence[int | str]) -> RefusedError:
    """Find Model Server's words for what is wrong at a place."""
    if not place:
        return bad("Request body should be JSON object")
    if len(place) == 2 and place[0] == "inputs":  # an input that is no object has no name
        return bad(_UNFIT["name"])
    if place[0] == "outputs" and "parameters" in place:
        return bad(_UNFIT["binary_data"])
    if place[0] == "outputs":
        return bad(_UNFIT["outputs"])
    found = next((name for name in reversed(place) if name in _UNFIT), "inputs")
    return bad(_UNFIT[str(found)])


def check_inputs(inputs: Sequence[Any]) -> None:
    """Refuse other tensors than the model's one.

    :param inputs: with name, datatype and shape, of REST or gRPC.
    :raises RefusedError: 400, in Model Server's words.
    """
    if len(inputs) != 1:
        raise bad(f"Invalid number of inputs - Expected: 1; Actual: {len(inputs)}")
    name, datatype, shape = inputs[0].name, inputs[0].datatype, inputs[0].shape
    if name != INPUT:
        raise bad(_UNFIT["name"])
    if datatype != "BYTES":
        told = f"Expected: BYTES; Actual: {str(datatype)[:20]}"
        raise bad(f"Invalid input precision - {told}{_OF_INPUT}")
    if len(shape) != 1:
        told = ",".join(map(str, shape[:8]))
        raise bad(
            f"Invalid number of shape dimensions - Expected: (-1); Actual: ({told}){_OF_INPUT}"
        )


def check_count(texts: Sequence[str], shape: Sequence[int]) -> None:
    """Refuse a tensor that holds more or fewer texts than its shape says.

    :raises RefusedError: 400, in Model Server's words.
    """
    if len(texts) != shape[0]:
        raise bad(
            f"Invalid number of values in tensor proto container - Expected: {shape[0]} values; "
            f"Actual: {len(texts)} values{_OF_INPUT}"
        )


def _json_size(told: str | None, whole: int) -> int:
    if told is None:
        return whole
    if not (told.isascii() and told.isdecimal() and len(told) < _DIGITS and int(told) <= whole):
        raise bad(f"{HEADER} is {told[:20]!r} and must be the length of the JSON part of the body")
    return int(told)


def unpack_texts(raw: bytes) -> list[str]:
    """Read texts from bytes, each after its length in four bytes.

    :raises RefusedError: 400 if they are cut short or no UTF-8.
    """
    texts: list[str] = []
    at = 0
    while at < len(raw):
        start = at + _LENGTH.size
        if start > len(raw) or (at := start + _LENGTH.unpack_from(raw, start - 4)[0]) > len(raw):
            raise bad(f"the bytes of {INPUT} end within the text at position {len(texts)}")
        texts.append(decode_text(raw[start:at], len(texts)))
    return texts


def decode_text(raw: bytes, position: int) -> str:
    """Read a text from UTF-8.

    :raises RefusedError: 400 if it is none.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise bad(f"the text at position {position} is not UTF-8") from None


def outputs_of(scored: Scored, wanted: Iterable[str]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Describe the outputs that are wanted, in the model's order.

    :return: yields name, shape and datatype, and the texts or probabilities.
    """
    found = scored.probabilities
    for name in [name for name in OUTPUTS if name in wanted]:
        if name == "probabilities":
            yield {"name": name, "shape": list(found.shape), "datatype": "FP32"}, found
        else:
            told = {"name": name, "shape": [len(found)], "datatype": "BYTES"}
            yield told, scored.joined_names()


def to_bytes(values: Any) -> bytes:
    """Write an output: numbers as they are, texts each after its length in four bytes."""
    if isinstance(values, np.ndarray):
        return values.astype("<f4").tobytes()
    encoded = [text.encode() for text in values]
    return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)


def _answer(
    request: Request, name: str, ident: str | None, asked: Mapping[str, bool], scored: Scored
) -> Response:
    """Write the answer to an inference: JSON, or JSON with bytes after it."""
    outputs = []
    tail = b""
    for told, values in outputs_of(scored, asked):
        if asked[told["name"]]:
            raw = to_bytes(values)
            told["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            told["data"] = values.ravel().tolist() if isinstance(values, np.ndarray) else values
        outputs.append(told)
    head: dict[str, Any] = {"model_name": name}
    if ident is not None:
        head["id"] = ident
    text = msgspec.json.encode(head | {"model_version": SERVED_VERSION, "outputs": outputs})
    binary = any(asked.values())
    body, headers = pack(request, text + tail)
    if binary:
        headers[HEADER] = str(len(text))
    return Response(
        body, headers=headers, media_type="application/octet-stream" if binary else JSON
    )
