"""The page on a FastAPI app: the server's own, so that people and programs ask the same model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.dialogues import Found, download
from ov_emotions.demo.jobs import ResultStore
from ov_emotions.demo.models import REPORT_PAGE, Models, find_report
from ov_emotions.demo.page import ICON, Page, build_blocks, build_theme, head, type_css
from ov_emotions.system import import_gradio

PATH = "/demo"
_UPLOADS = "GRADIO_TEMP_DIR"


@dataclass(frozen=True)
class DemoSettings:
    """What may be chosen about the page, beside what the server offers.

    :param compare_with: models to set beside the first, by shipped name, folder or Hub id; those
        that come with the library are there anyway.
    :param report: folder that `ov-emotions report` wrote; unsaid takes the one that is committed,
        where the library is run from a checkout.
    """

    compare_with: tuple[str, ...] = ()
    report: Path | None = None


def mount_demo(
    app: FastAPI,
    classifier: EmotionClassifier,
    settings: DemoSettings | None = None,
    *,
    threads: int | None = None,
) -> FastAPI:
    """Put the page on an app under `PATH`, and lead its root there.

    :param app: the server's, or any other; its `root_path` is where a proxy shows it.
    :param classifier: the model; loaded from a bundle.
    :param settings: None takes the defaults.
    :param threads: CPU threads of an inference of the models to compare with; None for all cores.
    :return: the app.
    :raises MissingExtraError: if the extra `demo` is not installed.
    :raises BundleError: if a model to compare with is missing or damaged.
    :raises DataError: if the folder of the report has none.
    """
    settings = settings or DemoSettings()
    gr = import_gradio()
    models = Models(classifier, settings.compare_with, threads)
    report = find_report(settings.report, classifier.bundle.manifest.name)
    store = ResultStore()
    app.state.demo_results = store
    # Addresses are relative to the page: they hold below any path that a proxy shows it at.
    api = None if app.openapi_url is None else f"..{app.openapi_url}"
    page = Page(classifier, models, store, api, f"report/{REPORT_PAGE}" if report else None)
    _add_routes(app, store, report)
    app.add_middleware(_WholePath)
    with _uploads_in(store.uploads):
        mounted: FastAPI = gr.mount_gradio_app(
            app,
            build_blocks(page),
            path=PATH,
            footer_links=[],
            ssr_mode=False,
            theme=build_theme(),
            head=head(),
            max_file_size="64mb",
            show_error=False,
            run_history=False,  # it would keep texts in the browser
        )
    return mounted


class _WholePath:
    """Puts the path that a proxy took off in front again: a mounted application needs it.

    :param app: what is inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root, path = scope.get("root_path", ""), scope.get("path", "")
        if root and scope["type"] == "http" and not f"{path}/".startswith(f"{root}/"):
            scope = {**scope, "path": root + path}
        await self._app(scope, receive, send)


@contextmanager
def _uploads_in(folder: Path) -> Iterator[None]:
    """Let Gradio, which looks there when it is set up, take files into a folder that is cleared."""
    before = os.environ.get(_UPLOADS)
    os.environ[_UPLOADS] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_UPLOADS]
        else:
            os.environ[_UPLOADS] = before


def _add_routes(app: FastAPI, store: ResultStore, report: Path | None) -> None:
    """Add what the page asks for beside Gradio, in front of what Gradio takes below its path."""

    def result(token: str, name: str) -> Response:
        kept = store.find(token)
        if kept is not None and isinstance(kept.value, Found):
            if part := download(kept.value, name):
                headers = {"Content-Disposition": f'attachment; filename="{name}"'}
                return Response(part[0], media_type=part[1], headers=headers)
        elif kept is not None and name in kept.names:
            return FileResponse(kept.folder / name, filename=kept.names[name])
        return Response("this result is no longer kept; ask for it again\n", 404)

    def alive() -> Response:
        return Response(status_code=204)

    def root() -> Response:
        return RedirectResponse(f"{app.root_path}{PATH}/")

    def manifest() -> dict[str, str]:
        start = f"{app.root_path}{PATH}/"
        return {"name": "ov·emotions", "start_url": start, "display": "browser"}

    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")

    def fonts() -> Response:
        headers = {"Cache-Control": "max-age=86400"}
        return Response(type_css(), media_type="text/css", headers=headers)

    for path, respond in (
        ("/", root),
        ("/favicon.ico", icon),
        ("/manifest.json", manifest),  # Gradio's page asks for it there
        (PATH, root),
        (f"{PATH}/alive", alive),
        (f"{PATH}/type.css", fonts),
        (f"{PATH}/results/{{token}}/{{name}}", result),
    ):
        app.add_api_route(path, respond, methods=["GET"], include_in_schema=False)
    if report is not None:
        app.mount(f"{PATH}/report", StaticFiles(directory=report, html=True), name="report")


def create_demo_app(server: Any, settings: DemoSettings | None = None) -> FastAPI:
    """Make the server's application with the page on it.

    :param server: its `ServerSettings`.
    :param settings: of the page.
    :return: the application.
    :raises OvEmotionsError: as `mount_demo` and the server's `create_app` do.
    """
    from ov_emotions.server import create_app

    classifier = EmotionClassifier(
        server.model,
        threads=server.threads,
        precision=server.precision,
        cache_dir=server.cache_dir,
        long_texts=server.long_texts,
    )
    app = create_app(server, classifier)
    return mount_demo(app, classifier, settings, threads=server.threads)
