"""`/v1`, for people and their programs: texts in, emotions out; and `/metrics`."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from ov_emotions.classifier import decide
from ov_emotions.server.answers import NotJsonError, json_answer, json_kind, parse_json
from ov_emotions.server.batcher import Scores
from ov_emotions.server.limits import read_body
from ov_emotions.server.metrics import CONTENT_TYPE
from ov_emotions.server.refusal import RefusedError
from ov_emotions.server.schemas import (
    EmotionsAnswer,
    ErrorAnswer,
    ModelAnswer,
    emotions_request,
)
from ov_emotions.server.service import Service

_DIGITS = 6
_AT_ONCE = 512
"""Texts whose answer is written on the event loop; more would hold up other clients."""

_FORM = 'the body must be {"texts": ["…", "…"]}'

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        400: "Not JSON.",
        401: "No key, where one is asked for.",
        408: "The body came too slowly.",
        413: "The body is too large.",
        415: "Another media type, or compressed.",
        422: "Not what is expected, too many texts, or too long ones.",
        429: "The queue is full; Retry-After says when to come back.",
        500: "The model failed.",
        503: "The server is stopping.",
        504: "No answer in time.",
    }.items()
}


def build_router(service: Service) -> APIRouter:
    """Make the routes.

    :param service: what answers.
    :return: a router.
    """
    router = APIRouter()
    settings = service.settings
    manifest = service.classifier.bundle.manifest

    @router.post(
        "/v1/emotions",
        summary="Classify texts",
        response_model=None,
        responses={200: {"model": EmotionsAnswer, "description": "The predictions."}, **REFUSALS},
        openapi_extra={"requestBody": emotions_request(settings)},
    )
    async def emotions(request: Request) -> Response:
        body = await read_body(request, settings, json_only=True)
        texts = parse_texts(body)
        scores = await service.score(request, texts)
        if len(texts) <= _AT_ONCE:
            return _answer(service, scores)
        return await asyncio.to_thread(_answer, service, scores)

    @router.get(
        "/v1/model",
        summary="What is served",
        response_model=None,
        responses={200: {"model": ModelAnswer, "description": "The model and the limits."}},
    )
    async def model() -> Response:
        return json_answer(
            {
                "model": service.model,
                "version": service.version,
                "labels": [
                    {
                        "name": label,
                        "name_ru": manifest.label_names_ru.get(label, label),
                        "threshold": threshold,
                    }
                    for label, threshold in service.classifier.thresholds.items()
                ],
                "precision": manifest.precision,
                "long_texts": settings.long_texts,
                "max_length": manifest.max_length,
                "max_texts": settings.max_texts,
                "max_text_characters": settings.max_text_characters,
                "max_body_bytes": settings.max_body_bytes,
            }
        )

    @router.get(
        "/metrics",
        summary="Prometheus",
        response_model=None,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(
            service.metrics.render(), media_type=None, headers={"Content-Type": CONTENT_TYPE}
        )

    return router


def parse_texts(body: bytes) -> list[str]:
    """Find the texts in a body.

    :param body: of POST /v1/emotions.
    :return: the texts.
    :raises RefusedError: 400 if it is no JSON, 422 if it is another.
    """
    try:
        value = parse_json(body)
    except NotJsonError as error:
        raise RefusedError(400, "not_json", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _unfit(f"{_FORM}, not {json_kind(value)}")
    if "texts" not in value:
        raise _unfit(f"texts is missing: {_FORM}")
    if unknown := [key for key in value if key != "texts"]:
        raise _unfit(f"{unknown[0][:40]!r} means nothing here: {_FORM}")
    texts = value["texts"]
    if not isinstance(texts, list):
        raise _unfit(f"texts is {json_kind(texts)} and must be a list of strings")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise _unfit(
                f"the item at position {position} of texts is {json_kind(text)}, not a string"
            )
    return texts


def _unfit(message: str) -> RefusedError:
    return RefusedError(422, "bad_request", message)


def _answer(service: Service, scores: Scores) -> Response:
    probabilities, truncated = scores
    rounded = np.round(probabilities.astype(np.float64), _DIGITS)
    classifier = service.classifier
    found = decide(classifier.labels, classifier.thresholds, probabilities, truncated)
    rows = [dict(zip(classifier.labels, row, strict=True)) for row in rounded.tolist()]
    return json_answer(
        {
            "model": service.model,
            "version": service.version,
            "predictions": [
                {
                    "labels": prediction.labels,
                    "scores": {label: row[label] for label in prediction.scores},
                    "truncated": prediction.truncated,
                }
                for prediction, row in zip(found, rows, strict=True)
            ],
        }
    )
