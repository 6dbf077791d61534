"""The application: routes, middleware, and errors as `{"error": sentence}`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import signature
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ov_emotions import __version__
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.server import kserve, routes
from ov_emotions.server.answers import RefusedError, error_answer
from ov_emotions.server.middleware import (
    Direct,
    FrontMiddleware,
    RequestMiddleware,
    id_in_body,
    read_api_keys,
    refuse,
)
from ov_emotions.server.schemas import add_requests
from ov_emotions.server.service import Service
from ov_emotions.server.settings import ServerSettings

_DESCRIPTION = "Emotions in Russian text. Every error is an object with a sentence in it."


def build_app(settings: ServerSettings, classifier: EmotionClassifier | None) -> FastAPI:
    """Make the application; see `ov_emotions.server.create_app`."""
    keys = read_api_keys(settings)
    service = Service(settings, classifier)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # Later versions of FastAPI trace by themselves; --tracing does, in one form for all versions.
    own = {"telemetry": dict.fromkeys(("tracing", "metrics", "logs"), False)}
    app = FastAPI(
        title="ov-emotions",
        version=__version__,
        description=_DESCRIPTION,
        # These pages load scripts of others from the network; ours is docs.html.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        **(own if "telemetry" in signature(FastAPI).parameters else {}),  # type: ignore[arg-type]
    )
    app.root_path = settings.root_path
    app.state.service = service
    app.state.keys = keys
    direct: dict[str, Direct] = {}
    for build in (routes.build_router, kserve.build_router):
        router, handlers = build(service)
        app.include_router(router)
        direct |= handlers
    app.add_exception_handler(RefusedError, _refuse)
    app.add_exception_handler(HTTPException, _no_such_thing)
    build_inside = app.build_middleware_stack

    def build_stack() -> ASGIApp:
        """Put ours around FastAPI's: what it has of its own takes as long as a short answer."""
        stack: ASGIApp = FrontMiddleware(build_inside(), service, direct, keys)
        if settings.cors_origins:
            stack = CORSMiddleware(
                stack,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST"),
                allow_headers=("Authorization", "Content-Type", "X-API-Key", "X-Request-Id"),
                expose_headers=("Retry-After", "X-Request-Id"),
            )
        return RequestMiddleware(stack, service)

    app.build_middleware_stack = build_stack  # type: ignore[method-assign]
    _describe(app, settings, keyed=bool(keys))
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedError):
        raise error
    return refuse(request.scope, error)


async def _no_such_thing(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    path = get_route_path(request.scope)
    ident = id_in_body(request.scope)
    if error.status_code == 405:
        return error_answer(405, "Unsupported method", error.headers, ident)
    if error.status_code == 404 and (path.startswith("/v2/") or path == "/v2"):
        return error_answer(400, kserve.INVALID_URL)  # as Model Server has it
    if error.status_code == 404:
        told = "there is nothing here; /openapi.json says what there is"
        return error_answer(404, told, None, ident)
    return error_answer(error.status_code, str(error.detail), error.headers, ident)


def _describe(app: FastAPI, settings: ServerSettings, *, keyed: bool) -> None:
    """Make the description, once, of the routes that are there when it is asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            add_requests(schema, settings)
            if keyed:
                schema["components"]["securitySchemes"] = {
                    "key": {"type": "http", "scheme": "bearer"}
                }
                schema["security"] = [{"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
