"""The page as Gradio's blocks: which function answers what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ov_emotions import __version__
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo import compare, dialogue, frame, single, uploads
from ov_emotions.demo.card import card
from ov_emotions.demo.failures import failure, guarded, guarded_steps, shielded
from ov_emotions.demo.models import Models
from ov_emotions.demo.results import ResultStore
from ov_emotions.demo.sayings import bad_file
from ov_emotions.demo.texts import TEXTS, say
from ov_emotions.dialogues import Reading
from ov_emotions.errors import DataError
from ov_emotions.system import import_gradio

_SILENT = {"show_progress": "hidden", "api_visibility": "private"}
# A click anywhere else in the markup around a button is none.
_CLICK = """element.addEventListener("click", (event) => {
  if (event.target.closest("[data-run]")) trigger("click");
});"""
_CHOSEN = """(text) => [text, document.getElementById("model-first").value,
  document.getElementById("model-second").value]"""


@dataclass(frozen=True)
class Page:
    """What the page works with.

    :param classifier: the model.
    :param models: to set side by side.
    :param store: keeps files to download.
    :param base: path of the page, without a slash at the end.
    :param api: address of the description of the API; None where there is none.
    :param report: address of the quantization report; None where there is none.
    """

    classifier: EmotionClassifier
    models: Models
    store: ResultStore
    base: str
    api: str | None
    report: str | None


def build_blocks(page: Page) -> Any:
    """Lay the page out.

    :param page: what it works with.
    :return: Gradio's blocks.
    """
    gr = import_gradio()
    with gr.Blocks(
        analytics_enabled=False, title="ov·emotions", fill_width=True, delete_cache=(600, 3600)
    ) as blocks:
        html(frame.masthead(__version__), "masthead")
        for view, build in (
            ("text", _text),
            ("files", _files),
            ("dialogues", _dialogues),
            ("compare", _compare),
        ):
            with gr.Column(elem_id=f"view-{view}", elem_classes="view"):
                html(frame.heading(view))
                build(gr, page)
        with gr.Column(elem_id="view-model", elem_classes="view"):
            html(frame.heading("model"))
            html(card(page.classifier.bundle, page.report))
        html(frame.footer(page.api), "foot")
        blocks.load(None, js="() => { document.documentElement.dataset.ready = ''; }")
    return blocks


def html(value: str = "", name: str | None = None, js: str | None = None) -> Any:
    """Make a block of own markup, without Gradio's styles and script."""
    gr = import_gradio()
    return gr.HTML(
        shielded(value), elem_id=name, apply_default_css=False, js_on_load=js, padding=False
    )


def _field(gr: Any, name: str, classes: str, lines: int, most: int) -> Any:
    return gr.Textbox(
        elem_id=name,
        elem_classes=classes,
        lines=lines,
        max_lines=most,
        show_label=False,
        container=False,
    )


def _button(text: str, name: str | None = None) -> Any:
    return html(
        f'<button type="button" class="button solid" data-run>{say(text)}</button>', name, _CLICK
    )


def _text(gr: Any, page: Page) -> None:
    with gr.Row(elem_classes="pair"):
        with gr.Column(elem_classes="left"):
            html(frame.label("text.label", "#text textarea", TEXTS["text.placeholder"]))
            text = _field(gr, "text", "utterance", 3, 12)
            html(frame.examples())
        with gr.Column(elem_classes="right"):
            result = html(single.empty(), "result")
    # Not `input`, which Gradio fires for keys alone: text is pasted and dictated too.
    text.change(
        guarded(partial(single.analyse, page.classifier)),
        text,
        result,
        queue=False,
        trigger_mode="always_last",
        **_SILENT,
    )


def _upload(gr: Any, name: str) -> Any:
    """Make what takes files; a button of the page's own opens it."""
    html(frame.drop(name))
    # Any type: what is wrong with one is said by whoever reads it, in the reader's language.
    return gr.UploadButton("upload", elem_id=name, elem_classes="hidden-upload", type="filepath")


def _files(gr: Any, page: Page) -> None:
    with gr.Row(elem_classes="pair"):
        with gr.Column(elem_classes="left"):
            placeholder = TEXTS["files.paste.placeholder"]
            html(frame.label("files.paste.label", "#lines textarea", placeholder))
            lines = _field(gr, "lines", "lines", 5, 14)
            paste = _button("files.paste.run")
        with gr.Column(elem_classes="right"):
            upload = _upload(gr, "upload")
            column = gr.Textbox(elem_id="column", elem_classes="hidden-upload")
    result = html(frame.waiting("files.empty"), "files-result")
    stop = html(
        f'<button type="button" class="button" data-run>{say("files.stop")}</button>',
        "files-stop",
        _CLICK,
    )
    work = (page.classifier, page.store, page.base)
    uploaded = partial(uploads.classify_upload, *work)
    runs = [
        paste.click(
            guarded_steps(partial(uploads.classify_pasted, *work)), lines, result, **_SILENT
        ),
        upload.upload(guarded_steps(lambda file: uploaded(file, "")), upload, result, **_SILENT),
        # Written and sent by the page's script, when a column is chosen.
        column.submit(guarded_steps(uploaded), [upload, column], result, **_SILENT),
    ]
    stopped = shielded(frame.waiting("files.empty"))
    # Two steps: a last report of progress may come after the first one.
    ended = stop.click(None, cancels=runs, queue=False, **_SILENT)
    ended.then(lambda: stopped, None, result, queue=False, **_SILENT)


def _dialogues(gr: Any, page: Page) -> None:
    with gr.Row(elem_classes="pair"):
        with gr.Column(elem_classes="left"):
            placeholder = TEXTS["dialogues.placeholder"]
            html(frame.label("dialogues.label", "#transcript textarea", placeholder))
            transcript = _field(gr, "transcript", "lines", 6, 18)
            with gr.Row(elem_classes="buttons"):
                run = _button("dialogues.run")
                html(frame.example_button("dialogues.example", dialogue.EXAMPLE, "#transcript"))
        with gr.Column(elem_classes="right"):
            upload = _upload(gr, "dialogue-upload")
    result = html(frame.waiting("dialogues.empty"), "dialogues-result")
    pasted = guarded(lambda text: _dialogue(page, partial(dialogue.read_pasted, text), None))
    uploaded = guarded(
        lambda file: _dialogue(page, partial(dialogue.read_file, Path(file)), Path(file))
    )
    run.click(pasted, transcript, result, **_SILENT)
    upload.upload(uploaded, upload, result, **_SILENT)


def _dialogue(page: Page, read: Callable[[], Reading], path: Path | None) -> str:
    try:
        reading = read()
    except DataError as error:
        if path is None:
            return failure(TEXTS["dialogues.none"], TEXTS["dialogues.none.hint"])
        return failure(TEXTS["fail.file"], bad_file(error, path, path.name))
    return dialogue.show(page.classifier, page.store, page.base, reading)


def _compare(gr: Any, page: Page) -> None:
    html(frame.label("compare.label", "#compared textarea", TEXTS["text.placeholder"]))
    text = _field(gr, "compared", "utterance", 2, 8)
    html(compare.chooser(page.models))
    run = _button("compare.run")
    result = html(frame.waiting("compare.empty"), "compare-result")
    answer = guarded(lambda text, one, two: compare.compare(page.models, one, two, text))
    # The two choices come from the page's own fields.
    names = [gr.Textbox(visible=False), gr.Textbox(visible=False)]
    run.click(answer, [text, *names], result, js=_CHOSEN, concurrency_limit=1, **_SILENT)
