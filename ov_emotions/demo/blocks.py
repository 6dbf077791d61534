"""The page as Gradio's blocks: which function answers what."""

from __future__ import annotations

from functools import partial
from typing import Any

from ov_emotions import __version__
from ov_emotions._quiet import import_gradio
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo import frame, single
from ov_emotions.demo.failures import guarded
from ov_emotions.demo.texts import TEXTS


def build_blocks(classifier: EmotionClassifier, api: str | None) -> Any:
    """Lay the page out.

    :param classifier: the model.
    :param api: address of the description of the API; None where there is none.
    :return: Gradio's blocks.
    """
    gr = import_gradio()
    with gr.Blocks(analytics_enabled=False, title="ov·emotions", fill_width=True) as blocks:
        html(frame.masthead(__version__), "masthead")
        with gr.Column(elem_id="view-text", elem_classes="view"):
            _text(gr, classifier)
        html(frame.footer(api), "foot")
        blocks.load(None, js="() => { document.documentElement.dataset.ready = ''; }")
    return blocks


def html(value: str = "", name: str | None = None) -> Any:
    """Make a block of own markup, without Gradio's styles and script."""
    gr = import_gradio()
    return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=None, padding=False)


def _text(gr: Any, classifier: EmotionClassifier) -> None:
    html(frame.heading("text"))
    with gr.Row(elem_classes="pair"):
        with gr.Column(elem_classes="left"):
            html(frame.label("text.label", "#text textarea", TEXTS["text.placeholder"]))
            text = gr.Textbox(
                elem_id="text", elem_classes="utterance", lines=3, max_lines=12, show_label=False,
                container=False,
            )
            html(frame.examples())
        with gr.Column(elem_classes="right"):
            result = html(single.empty(), "result")
    # Not `input`, which Gradio fires for keys alone: text is pasted and dictated too.
    text.change(
        guarded(partial(single.analyse, classifier)),
        text,
        result,
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
