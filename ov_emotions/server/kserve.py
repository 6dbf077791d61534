"""`/v2`: KServe v2 over REST, so that whatever talks to OpenVINO Model Server talks to this.

The answers are those that were recorded of Model Server 2026.3 for a model that takes texts, down
to the wording. Differences by choice:

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

from typing import Any

from fastapi import APIRouter, Request, Response

from ov_emotions import __version__
from ov_emotions.server.answers import error_answer, json_answer
from ov_emotions.server.kserve_infer import answer_infer, parse_infer
from ov_emotions.server.limits import read_body
from ov_emotions.server.refusal import RefusedError
from ov_emotions.server.routes import REFUSALS
from ov_emotions.server.schemas import (
    ErrorAnswer,
    InferAnswer,
    ModelMetadata,
    ServerMetadata,
    infer_request,
)
from ov_emotions.server.service import Service
from ov_emotions.server.settings import SERVED_VERSION

INVALID_URL = "Invalid request URL"
_NO_MODEL = "Model with requested name is not found"
_NO_VERSION = "Model with requested version is not found"
_NO_PIPELINE = "Pipeline with requested name is not found"

_MISSING: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "No such address."},
    404: {"model": ErrorAnswer, "description": "No such model or version."},
}
_PROBE: dict[int | str, dict[str, Any]] = {
    200: {"description": "Yes."},
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


def build_router(service: Service) -> APIRouter:
    """Make the routes.

    :param service: what answers.
    :return: a router.
    """
    router = APIRouter(prefix="/v2")
    settings = service.settings

    def check(name: str, version: str = SERVED_VERSION, *, missing: str = _NO_MODEL) -> None:
        if not (version.isascii() and version.isdecimal()):
            raise RefusedError(400, "bad_request", INVALID_URL)
        if name != settings.name:
            raise RefusedError(404, "bad_request", missing)
        if version != SERVED_VERSION:
            raise RefusedError(404, "bad_request", _NO_VERSION)

    def ready() -> Response:
        if service.ready:
            return Response()
        return error_answer(503, "the server is stopping")

    async def infer(request: Request) -> Response:
        body = await read_body(request, settings, json_only=False)
        asked = parse_infer(body, request.headers)
        scores = await service.score(request, asked.texts)
        return answer_infer(service, asked, *scores)

    @router.get(
        "",
        summary="The server",
        response_model=None,
        responses={200: {"model": ServerMetadata, "description": "Name and version."}},
    )
    async def server_metadata() -> Response:
        return json_answer(
            {"name": "ov-emotions", "version": __version__, "extensions": ["binary_tensor_data"]}
        )

    @router.get(
        "/health/live",
        summary="Whether the server runs",
        response_model=None,
        responses={200: {"description": "Yes."}},
    )
    async def live() -> Response:
        return Response()

    @router.get(
        "/health/ready",
        summary="Whether requests are taken",
        response_model=None,
        responses=_PROBE,
    )
    async def server_ready() -> Response:
        return ready()

    told: dict[int | str, dict[str, Any]] = {
        200: {"model": ModelMetadata, "description": "Tensors and facts."},
        **_MISSING,
    }

    @router.get("/models/{name}/", include_in_schema=False)
    @router.get("/models/{name}", summary="The model", response_model=None, responses=told)
    async def model_metadata(name: str) -> Response:
        check(name)
        return json_answer(_metadata(service))

    @router.get(
        "/models/{name}/versions/{version}",
        summary="The model, by version",
        response_model=None,
        responses=told,
    )
    async def version_metadata(name: str, version: str) -> Response:
        check(name, version)
        return json_answer(_metadata(service))

    @router.get(
        "/models/{name}/ready",
        summary="Whether the model takes requests",
        response_model=None,
        responses={**_PROBE, **_MISSING},
    )
    async def model_ready(name: str) -> Response:
        check(name)
        return ready()

    @router.get(
        "/models/{name}/versions/{version}/ready",
        summary="Whether the model takes requests, by version",
        response_model=None,
        responses={**_PROBE, **_MISSING},
    )
    async def version_ready(name: str, version: str) -> Response:
        check(name, version)
        return ready()

    @router.post(
        "/models/{name}/infer",
        summary="Classify texts",
        response_model=None,
        responses=_INFER,
        openapi_extra={"requestBody": infer_request(settings)},
    )
    async def model_infer(name: str, request: Request) -> Response:
        check(name, missing=_NO_PIPELINE)
        return await infer(request)

    @router.post(
        "/models/{name}/versions/{version}/infer",
        summary="Classify texts, by version",
        response_model=None,
        responses=_INFER,
        openapi_extra={"requestBody": infer_request(settings)},
    )
    async def version_infer(name: str, version: str, request: Request) -> Response:
        check(name, version, missing=_NO_PIPELINE)
        return await infer(request)

    return router


def _metadata(service: Service) -> dict[str, Any]:
    width = len(service.names)
    return {
        "name": service.settings.name,
        "versions": [SERVED_VERSION],
        "platform": "OpenVINO",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "labels", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, width]},
        ],
        "rt_info": {"model_info": service.facts},
    }
