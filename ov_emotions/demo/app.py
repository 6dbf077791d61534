"""The page on a FastAPI app."""

from __future__ import annotations

from typing import Any

from ov_emotions._quiet import import_gradio
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.blocks import build_blocks
from ov_emotions.demo.frame import head
from ov_emotions.demo.theme import build_theme

PATH = "/demo"


def mount_demo(app: Any, classifier: EmotionClassifier) -> Any:
    """Put the page on an app, and lead its root there.

    :param app: FastAPI's.
    :param classifier: the model.
    :return: the app.
    :raises MissingExtraError: if the extra `demo` is not installed.
    """
    gr = import_gradio()
    blocks = build_blocks(classifier, app.docs_url)
    # Before Gradio's own routes, which take everything below the path.
    app.add_api_route(f"{PATH}/alive", _alive, status_code=204, include_in_schema=False)
    return gr.mount_gradio_app(
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


def _alive() -> None:
    """Answer the page's question whether the server is there."""
