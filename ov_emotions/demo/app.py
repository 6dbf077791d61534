"""The page on a FastAPI app: the server's own, so that people and programs ask the same model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.blocks import Page, build_blocks
from ov_emotions.demo.card import REPORT_PAGE, find_report
from ov_emotions.demo.frame import ICON, head
from ov_emotions.demo.models import Models
from ov_emotions.demo.results import FILES, ResultStore
from ov_emotions.demo.theme import build_theme
from ov_emotions.system import import_gradio

PATH = "/demo"


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

    :param app: the server's, or any other.
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
    address = f"{PATH}/report/{REPORT_PAGE}" if report else None
    page = Page(classifier, models, store, PATH, app.openapi_url, address)
    _add_routes(app, store, report)
    return _mount(gr, app, build_blocks(page))


def _mount(gr: Any, app: FastAPI, blocks: Any) -> FastAPI:
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        blocks,
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


def _add_routes(app: FastAPI, store: ResultStore, report: Path | None) -> None:
    """Add what the page asks for beside Gradio, in front of what Gradio takes below its path."""

    def result(token: str, name: str) -> Response:
        path = store.find(token, name)
        if path is None:
            return Response("this result is no longer kept; ask for it again\n", 404)
        return FileResponse(path, media_type=FILES[name], filename=name)

    def alive() -> Response:
        return Response(status_code=204)

    def root() -> Response:
        return RedirectResponse(f"{PATH}/")

    def manifest() -> dict[str, str]:
        return {"name": "ov·emotions", "start_url": f"{PATH}/", "display": "browser"}

    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")

    for path, answer in (
        ("/", root),
        ("/favicon.ico", icon),
        ("/manifest.json", manifest),  # Gradio's page asks for it there
        (PATH, root),
        (f"{PATH}/alive", alive),
        (f"{PATH}/results/{{token}}/{{name}}", result),
    ):
        app.add_api_route(path, answer, methods=["GET"], include_in_schema=False)
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
