"""The page on the server's own FastAPI app, so that people and programs ask the same model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.dialogues import Found, download
from ov_emotions.demo.jobs import ResultStore
from ov_emotions.demo.models import Models
from ov_emotions.demo.page import ICON, Page, build_blocks, build_theme, head
from ov_emotions.errors import DataError
from ov_emotions.reports.page import font_faces
from ov_emotions.server import ServerSettings, create_app
from ov_emotions.system import import_gradio

PATH = "/demo"
REPORT_PAGE = "report.html"
_UPLOADS = "GRADIO_TEMP_DIR"


def create_demo_app(
    settings: ServerSettings, compare_with: Sequence[str] = (), report: Path | None = None
) -> FastAPI:
    """Make the server's application with the page on it under `PATH`, where its root leads.

    :param settings: of the server; its `root_path` is where a proxy shows it.
    :param compare_with: models to set beside the first, by shipped name, folder or Hub id; those
        that come with the library are there anyway.
    :param report: folder that `ov-emotions report` wrote; None takes the one that is committed,
        where the library is run from a checkout.
    :raises MissingExtraError: if the extra `demo` is not installed.
    :raises BundleError: if a model is missing or damaged.
    :raises DataError: if the folder of the report has none.
    :raises OvEmotionsError: as the server's `create_app` does.
    """
    classifier = EmotionClassifier(
        settings.model,
        threads=settings.threads,
        precision=settings.precision,
        cache_dir=settings.cache_dir,
        long_texts=settings.long_texts,
    )
    app = create_app(settings, classifier)
    gr = import_gradio()
    models = Models(classifier, compare_with, settings.threads)
    report = find_report(report, classifier.bundle.manifest.name)
    store = ResultStore()
    app.state.demo_results = store
    # Addresses are relative to the page: they hold below any path that a proxy shows it at.
    api = None if app.openapi_url is None else f"..{app.openapi_url}"
    page = Page(classifier, models, store, api, f"report/{REPORT_PAGE}" if report else None)
    _add_routes(app, store, report)
    app.add_middleware(_WholePath)
    # Gradio, which looks there when it is set up, takes files into a folder that is cleared.
    before = os.environ.get(_UPLOADS)
    os.environ[_UPLOADS] = str(store.uploads)
    try:
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
    finally:
        del os.environ[_UPLOADS]
        if before is not None:
            os.environ[_UPLOADS] = before
    return mounted


def find_report(folder: Path | None, model: str) -> Path | None:
    """Find the folder of the quantization report.

    :param folder: that was asked for; None for the one that is committed, where the library is
        run from a checkout.
    :return: a folder with `report.html`, or None.
    :raises DataError: if the folder that was asked for has no report.
    """
    if folder is not None:
        if not (folder / REPORT_PAGE).is_file():
            raise DataError(
                f"{folder} has no {REPORT_PAGE}; name a folder `ov-emotions report` wrote"
            )
        return folder
    committed = Path(__file__).resolve().parents[2] / "quantize" / "reports" / model
    return committed if (committed / REPORT_PAGE).is_file() else None


class _WholePath:
    """Puts the path that a proxy took off in front again: a mounted application needs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root, path = scope.get("root_path", ""), scope.get("path", "")
        if root and scope["type"] == "http" and not f"{path}/".startswith(f"{root}/"):
            scope = {**scope, "path": root + path}
        await self._app(scope, receive, send)


def _add_routes(app: FastAPI, store: ResultStore, report: Path | None) -> None:
    """Add what the page asks for beside Gradio, in front of what Gradio takes below its path."""
    start = f"{app.root_path}{PATH}/"

    def result(token: str, name: str) -> Response:
        kept = store.find(token)
        if kept is not None and isinstance(kept.value, Found):
            if part := download(kept.value, name):
                headers = {"Content-Disposition": f'attachment; filename="{name}"'}
                return Response(part[0], media_type=part[1], headers=headers)
        elif kept is not None and name in kept.names:
            return FileResponse(kept.folder / name, filename=kept.names[name])
        return Response("this result is no longer kept; ask for it again\n", 404)

    def root() -> Response:
        return RedirectResponse(start)

    def alive() -> Response:
        return Response(status_code=204)

    def manifest() -> dict[str, str]:
        return {"name": "ov·emotions", "start_url": start, "display": "browser"}

    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")

    def fonts() -> Response:
        headers = {"Cache-Control": "max-age=86400"}
        return Response(font_faces(), media_type="text/css", headers=headers)

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
