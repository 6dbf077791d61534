"""`/v1` for people and their programs, what Hugging Face's clients ask, `/metrics` and `/docs`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from ov_emotions import __version__
from ov_emotions.server.answers import (
    NotJsonError,
    RefusedError,
    UnfitError,
    json_answer,
    pack,
    read_json,
)
from ov_emotions.server.middleware import Direct, read_body
from ov_emotions.server.schemas import (
    EmotionsAnswer,
    EmotionsRequest,
    ErrorAnswer,
    LabelScore,
    ModelAnswer,
    PredictRequest,
    takes,
)
from ov_emotions.server.service import METRICS_TYPE, Scored, Service

_DIGITS = 6
_AT_ONCE = 256
"""Texts whose answer is written on the event loop; more would hold up other clients."""

_INPUTS = "inputs must be a text, or a list of lists of one text each"
_DOCS = Path(__file__).with_name("docs.html")
_DOCS_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
)

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        400: "Not JSON, or not gzip.",
        401: "No key, where one is asked for.",
        408: "The body came too slowly.",
        413: "The body is too large, or there are more texts than can be ready in time.",
        415: "Another media type, or compressed otherwise.",
        422: "Not what is expected, too many texts, or too long ones.",
        429: "There is too much to do; Retry-After says when to come back.",
        500: "The model failed.",
        503: "The server is stopping, or has too many connections.",
        504: "No answer in time.",
    }.items()
}


def build_router(service: Service) -> tuple[APIRouter, dict[str, Direct]]:
    """Make the routes; also gives the busiest of their handlers."""
    router = APIRouter()
    settings = service.settings

    async def read(request: Request, kind: Any) -> Any:
        body = await read_body(request, settings, json_only=True)
        try:
            return read_json(body, kind)
        except NotJsonError as error:
            raise RefusedError(400, "not_json", f"the body is not JSON: {error}") from None
        except UnfitError as error:
            told = f'{error}: the body must be {{"texts": ["…", "…"]}}'
            if kind is PredictRequest:
                told = _INPUTS if "inputs" in error.place[:-1] else str(error)
            raise RefusedError(422, "bad_request", told) from None

    async def write(request: Request, scored: Scored, make: Any) -> Response:
        def answer() -> Response:
            return json_answer(make(scored), request=request)

        at_once = len(scored.probabilities) <= _AT_ONCE
        return answer() if at_once else await asyncio.to_thread(answer)

    @router.post(
        "/v1/emotions",
        summary="Classify texts",
        responses={200: {"model": EmotionsAnswer, "description": "The predictions."}, **REFUSALS},
        openapi_extra=takes(EmotionsRequest),
    )
    async def emotions(request: Request) -> Response:
        asked: EmotionsRequest = await read(request, EmotionsRequest)
        return await write(request, await service.score(request, asked.texts), _emotions)

    @router.get(
        "/v1/model",
        summary="What is served",
        responses={200: {"model": ModelAnswer, "description": "The model and the limits."}},
    )
    async def model() -> Response:
        served = service.model
        manifest = served.classifier.bundle.manifest
        return json_answer(
            {
                "model": served.name,
                "version": served.version,
                "labels": [
                    {
                        "name": label,
                        "name_ru": manifest.label_names_ru.get(label, label),
                        "threshold": threshold,
                    }
                    for label, threshold in served.classifier.thresholds.items()
                ],
                "precision": manifest.precision,
                "long_texts": served.classifier.long_texts,
                "max_length": manifest.max_length,
                "max_texts": settings.max_texts,
                "max_text_characters": settings.max_text_characters,
                "max_body_bytes": settings.max_body_bytes,
            }
        )

    async def predict(request: Request, *, listed: bool) -> Response:
        """Answer as Text Embeddings Inference does; `listed` as Hugging Face's API, in a list."""
        asked: PredictRequest = await read(request, PredictRequest)
        given = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
        rows = [one for one in given if isinstance(one, list)]
        single = not rows
        rows = rows or [[one for one in given if isinstance(one, str)]]
        if any(len(row) != 1 for row in rows):
            raise RefusedError(422, "bad_request", f"the model reads no pairs of texts: {_INPUTS}")
        scored = await service.score(request, [row[0] for row in rows])
        top = asked.parameters.top_k if asked.parameters else None

        def make(found: Scored) -> Any:
            listing = _ranked(found, top)
            return listing[0] if single and not listed else listing

        return await write(request, scored, make)

    predicted = {
        "model": list[list[LabelScore]] | list[LabelScore],
        "description": "Labels with their probabilities, the highest first.",
    }

    async def tei_predict(request: Request) -> Response:
        return await predict(request, listed=False)

    async def hugging_face_predict(request: Request) -> Response:
        return await predict(request, listed=True)

    for path, whose, endpoint in (
        ("/predict", "Text Embeddings Inference does", tei_predict),
        ("/", "Hugging Face's inference API does", hugging_face_predict),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary=f"Classify texts, as {whose}",
            responses={200: predicted, **REFUSALS},
            openapi_extra=takes(PredictRequest),
        )

    @router.get(
        "/info",
        summary="What is served, as Text Embeddings Inference tells it",
        responses={200: {"description": "The model and the limits."}},
    )
    async def info() -> Response:
        served = service.model
        manifest = served.classifier.bundle.manifest
        numbered = {str(i): label for i, label in enumerate(served.labels)}
        return json_answer(
            {
                "model_id": served.name,
                "model_sha": served.version,
                "model_dtype": manifest.precision,
                "model_type": {
                    "classifier": {
                        "id2label": numbered,
                        "label2id": {label: int(i) for i, label in numbered.items()},
                    }
                },
                "max_concurrent_requests": settings.queue_requests,
                "max_input_length": manifest.max_length,
                "max_batch_tokens": settings.batch_tokens,
                "max_batch_requests": None,
                "max_client_batch_size": settings.max_texts,
                "auto_truncate": True,
                "tokenization_workers": 1,
                "version": __version__,
                "sha": None,
                "docker_label": None,
            }
        )

    @router.get(
        "/health",
        summary="Whether requests are taken, as Text Embeddings Inference tells it",
        response_class=Response,
        responses={
            200: {"description": "Yes."},
            503: {"model": ErrorAnswer, "description": "The server is stopping."},
        },
    )
    async def health() -> Response:
        if not service.ready:
            raise RefusedError(503, "stopping", "the server is stopping")
        return Response()

    @router.get(
        "/metrics",
        summary="Prometheus",
        response_class=Response,
        responses={200: {"description": "Counts.", "content": {"text/plain": {}}}},
    )
    async def metrics(request: Request) -> Response:
        body, headers = pack(request, service.render_metrics())
        return Response(body, headers=headers | {"Content-Type": METRICS_TYPE})

    @router.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": _DOCS_POLICY}
        return Response(_DOCS.read_bytes(), headers=headers, media_type="text/html; charset=utf-8")

    return router, {"/v1/emotions": ("/v1/emotions", emotions)}


def _emotions(scored: Scored) -> dict[str, Any]:
    return {
        "model": scored.model.name,
        "version": scored.model.version,
        "predictions": [one.to_dict(rounded=True) for one in scored.predictions()],
    }


def _ranked(scored: Scored, top: int | None) -> list[list[dict[str, Any]]]:
    return [
        [
            {"label": label, "score": round(float(score), _DIGITS)}
            for label, score in list(prediction.scores.items())[:top]
        ]
        for prediction in scored.predictions()
    ]
