"""The page as Gradio's blocks: which function answers what, and what stands around the sections."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from ov_emotions import __version__
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo import dialogues, models, tables, text
from ov_emotions.demo.jobs import Job, Line, ResultStore, answer, guarded, shielded, steps
from ov_emotions.demo.words import EXAMPLES, TEXTS, render
from ov_emotions.reports.page import asset
from ov_emotions.system import import_gradio

Run = tuple[Callable[..., Any], Callable[..., str], list[Any]]
"""An event of Gradio's, the work for it, and the fields that the work is given."""

VIEWS = ("text", "files", "dialogues", "compare", "model")
"""The sections, by the name that stands behind # in the address."""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="7" fill="#faf8f3"/>'
    '<path d="M3 16h6l3-8 5 16 5-12 2 4h5" fill="none" stroke="#c2361f" stroke-width="3" '
    'stroke-linejoin="round" stroke-linecap="round"/></svg>'
)
_SILENT = {"show_progress": "hidden", "api_visibility": "private"}
# A click anywhere else in the markup around a button is none.
_CLICK = """element.addEventListener("click", (event) => {
  if (event.target.closest("[data-run]")) trigger("click");
});"""
_CHOSEN = """(text) => [text, document.getElementById("model-first").value,
  document.getElementById("model-second").value]"""
_DARK = re.compile(
    r"@media screen and \(prefers-color-scheme: dark\)\s*{\s*:root\s*{(.*?)}\s*}", re.DOTALL
)
_THEME = {
    "body_background_fill": "paper",
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "background_fill_primary": "card",
    "background_fill_secondary": "paper",
    "border_color_primary": "rule",
    "block_background_fill": "paper",
    "block_border_color": "rule",
    "input_background_fill": "card",
    "input_border_color": "strong",
    "input_border_color_focus": "ink",
    "input_placeholder_color": "soft",
    "link_text_color": "ink",
    "loader_color": "ink",
}


@dataclass(frozen=True)
class Page:
    """What the page works with.

    :param api: address of the description of the API; None where there is none.
    :param report: address of the quantization report; None where there is none.
    """

    classifier: EmotionClassifier
    models: models.Models
    store: ResultStore
    api: str | None
    report: str | None


def head() -> str:
    """Write the styles and the script, inline; the type is asked for beside the page."""
    own_styles, script = (
        (files("ov_emotions.demo") / name).read_text("utf-8") for name in ("page.css", "page.js")
    )
    said = {
        name: {"ru": words.ru, "en": words.en}
        for name, words in TEXTS.items()
        if name.startswith(("view.", "fail.", "busy"))
    }
    # The reports' script runs once a page; here it runs for each result that comes.
    report = "\n".join(map(asset, ("page.js", "dialogues.js")))
    report = report.replace("document.querySelectorAll(", "part.querySelectorAll(")
    return (
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:image/svg+xml,{quote(ICON)}">'
        '<link rel="stylesheet" href="type.css">'
        f"<style>{styles()}{own_styles}</style>"
        f"<script>window.ovTexts = {json.dumps(said, ensure_ascii=False)};\n"
        f"window.ovViews = {json.dumps(VIEWS)};\n"
        f"window.ovReport = (part) => {{ {report} }};\n{script}</script>"
    )


def styles() -> str:
    """Return the reports' palette and looks; here a switch chooses the theme, not the system."""
    palette = _DARK.sub(r':root:where([data-theme="dark"]) {\1}', asset("palette.css"))
    report = asset("page.css") + asset("dialogues.css")
    return f"{palette}{asset('plots.css')}\n.report {{ {report} }}\n"


def build_theme() -> Any:
    """Make Gradio's theme; light and dark follow the variables of the palette."""
    themes = import_gradio().themes
    sans = [themes.Font(name) for name in ("Golos Text", "system-ui", "sans-serif")]
    mono = [themes.Font(name) for name in ("ui-monospace", "DejaVu Sans Mono", "monospace")]
    colours = {name: f"var(--{colour})" for name, colour in _THEME.items()}
    dark = {f"{name}_dark": value for name, value in colours.items()}
    none = dict.fromkeys(
        ("block_border_width", "block_padding", "block_radius", "layout_gap"), "0px"
    )
    shadows = dict.fromkeys(("block_shadow", "input_shadow", "input_shadow_focus"), "none")
    theme = themes.Base(font=sans, font_mono=mono)
    return theme.set(**colours, **dark, **none, **shadows, input_radius="6px")


def build_blocks(page: Page) -> Any:
    """Lay the page out as Gradio's blocks."""
    gr = import_gradio()
    line = Line()
    with gr.Blocks(
        analytics_enabled=False, title="ov·emotions", fill_width=True, delete_cache=(60, 1800)
    ) as blocks:
        _html(render("masthead", version=__version__, views=VIEWS), "masthead")
        for view, build in zip(VIEWS, (_text, _files, _dialogues, _compare, _model), strict=True):
            with gr.Column(elem_id=f"view-{view}", elem_classes="view"):
                _html(render("heading", view=view))
                build(gr, page, line)
        _html(render("footer", api=page.api), "foot")
        blocks.load(None, js="() => { document.documentElement.dataset.ready = ''; }")
    return blocks


def _text(gr: Any, page: Page, _: Line) -> None:
    with gr.Row(elem_classes="pair"):
        with gr.Column(elem_classes="left"):
            field = _field(gr, "text", "text.label", "text.placeholder", "utterance", 3, 12)
            _html(render("examples", examples=EXAMPLES))
        with gr.Column(elem_classes="right"):
            again = _html(render("status", button="fail.again"), js=_CLICK)
            result = _html(answer(render("empty", view="text")), "result", kind="answer")
    analyse = guarded(partial(text.analyse, page.classifier))
    asked = {"queue": False, "trigger_mode": "always_last", **_SILENT}
    # Not `input`, which Gradio fires for keys alone: text is pasted and dictated too.
    field.change(analyse, field, result, **asked)
    again.click(analyse, field, result, **asked)


def _files(gr: Any, page: Page, line: Line) -> None:
    work = tables.Tables(page.classifier, page.store)
    with gr.Row(elem_classes="pair"):
        with gr.Column(elem_classes="left"):
            lines = _field(
                gr, "lines", "files.paste.label", "files.paste.placeholder", "lines", 5, 14
            )
            paste = _html(render("button", name="files.paste.run"), js=_CLICK)
        with gr.Column(elem_classes="right"):
            upload = _upload(gr, "upload")
            # Written and sent by the page's script, when a column is chosen.
            column = gr.Textbox(elem_id="column", elem_classes="hidden-upload")
    runs: list[Run] = [
        (paste.click, work.pasted, [lines]),
        (upload.upload, lambda file, job: work.uploaded(file, "", job), [upload]),
        (column.submit, work.uploaded, [upload, column]),
    ]
    _run(runs, "files", line)


def _dialogues(gr: Any, page: Page, line: Line) -> None:
    work = dialogues.Dialogues(page.classifier, page.store)
    example = TEXTS["dialogues.transcript"].ru
    with gr.Row(elem_classes="pair"):
        with gr.Column(elem_classes="left"):
            transcript = _field(
                gr, "transcript", "dialogues.label", "dialogues.placeholder", "lines", 6, 18
            )
            with gr.Row(elem_classes="buttons"):
                run = _html(render("button", name="dialogues.run"), js=_CLICK)
                _html(render("fill", name="dialogues.example", target="#transcript", text=example))
        with gr.Column(elem_classes="right"):
            upload = _upload(gr, "dialogue-upload")
            role = gr.Textbox(elem_id="role", elem_classes="hidden-upload")
    runs: list[Run] = [
        (run.click, work.pasted, [transcript]),
        (upload.upload, work.uploaded, [upload]),
        (role.submit, work.again, [role]),
    ]
    _run(runs, "dialogues", line)


def _compare(gr: Any, page: Page, line: Line) -> None:
    field = _field(gr, "compared", "compare.label", "text.placeholder", "utterance", 2, 8)
    _html(render("chooser", names=page.models.names))
    run = _html(render("button", name="compare.run"), js=_CLICK)
    # The two choices come from the page's own fields.
    names = [gr.Textbox(visible=False), gr.Textbox(visible=False)]

    def compare(written: str, first: str, second: str, job: Job) -> str:
        return models.compare(page.models, first, second, written, job)

    _run([(partial(run.click, js=_CHOSEN), compare, [field, *names])], "compare", line)


def _model(_gr: Any, page: Page, _: Line) -> None:
    _html(models.card(page.classifier.bundle, page.report))


def _run(runs: Sequence[Run], view: str, line: Line) -> None:
    """Lay out the result of a view, and what starts and stops the work for it."""
    stop = _html(render("status", button="busy.stop"), js=_CLICK)
    waiting = render("empty", view=view)
    result = _html(answer(waiting), f"{view}-result", kind="answer")
    started = []
    for event, work, inputs in runs:

        def respond(*given: Any, work: Callable[..., str] = work) -> Iterator[str]:
            yield from steps(lambda job: work(*given, job), line)

        # As many at a time as ask: they have the model in turns.
        started.append(event(respond, inputs, result, concurrency_limit=None, **_SILENT))
    # Two steps: a last report of progress may come after the first one.
    ended = stop.click(None, cancels=started, queue=False, **_SILENT)
    ended.then(lambda: answer(waiting), None, result, queue=False, **_SILENT)


def _html(value: str, name: str | None = None, js: str | None = None, kind: str = "") -> Any:
    """Make a block of own markup, without Gradio's styles and script."""
    return import_gradio().HTML(
        shielded(value),
        elem_id=name,
        elem_classes=kind or None,
        apply_default_css=False,
        js_on_load=js,
        padding=False,
    )


def _field(gr: Any, name: str, label: str, hint: str, classes: str, lines: int, most: int) -> Any:
    _html(render("label", name=label, target=f"#{name} textarea", placeholder=hint))
    return gr.Textbox(
        elem_id=name,
        elem_classes=classes,
        lines=lines,
        max_lines=most,
        show_label=False,
        container=False,
    )


def _upload(gr: Any, name: str) -> Any:
    """Make what takes files, by a button of the page's own or dropped."""
    _html(render("drop", name=name))
    # Any type: what is wrong with one is said by whoever reads it, in the reader's language.
    return gr.UploadButton("upload", elem_id=name, elem_classes="hidden-upload", type="filepath")
