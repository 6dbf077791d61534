"""What stands around the sections of the page, and what the browser gets before Gradio starts."""

from __future__ import annotations

import json
from importlib.resources import files
from urllib.parse import quote

from ov_emotions.demo.markup import Words, escape
from ov_emotions.demo.texts import EXAMPLES, TEXTS, say
from ov_emotions.reports.page import asset

VIEWS = ("text", "files", "dialogues", "compare", "model")
"""The sections, by the name that stands behind # in the address."""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="7" fill="#faf8f3"/>'
    '<path d="M3 16h6l3-8 5 16 5-12 2 4h5" fill="none" stroke="#c2361f" stroke-width="3" '
    'stroke-linejoin="round" stroke-linecap="round"/></svg>'
)


def head() -> str:
    """Write the styles and the script, inline: nothing is asked for elsewhere."""
    folder = files("ov_emotions.demo")
    parts = {name: (folder / name).read_text("utf-8") for name in ("page.css", "page.js")}
    said = {
        name: {"ru": TEXTS[name].ru, "en": TEXTS[name].en}
        for name in TEXTS
        if name.startswith(("view.", "fail.server", "fail.reload", "fail.retry", "fail.upload"))
    }
    return (
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:image/svg+xml,{quote(ICON)}">'
        f"<style>{_plots()}{parts['page.css']}</style>"
        f"<script>window.ovTexts = {json.dumps(said, ensure_ascii=False)};\n"
        f"window.ovViews = {json.dumps(VIEWS)};\n{parts['page.js']}</script>"
    )


def _plots() -> str:
    """Give the styles of the dialogues' plots and transcripts; the page has colours of its own."""
    return asset("plots.css") + asset("dialogues.css")


def masthead(version: str) -> str:
    """Write the top of the page: name, sections, language and theme.

    :param version: of the library.
    """
    links = "".join(
        f'<li><a href="#{view}" data-view="{view}">{say(f"view.{view}")}</a></li>' for view in VIEWS
    )
    languages = "".join(
        f'<button type="button" data-set-language="{code}" lang="{code}" aria-pressed="false" '
        f'title="{name}"><span aria-hidden="true">{code.upper()}</span>'
        f'<span class="unseen">{name}</span></button>'
        for code, name in (("ru", "Русский"), ("en", "English"))
    )
    dark, light = say("theme.dark"), say("theme.light")
    return (
        f'<a class="skip" href="#content">{say("skip")}</a>'
        '<header class="masthead"><a class="brand" href="#text">'
        f'<svg viewBox="0 0 32 20" aria-hidden="true"><path d="M1 10h5l3-8 5 16 5-12 3 4h9"/></svg>'
        f'<span>ov·emotions</span><span class="unseen"> {escape(version)}</span></a>'
        f"<nav {TEXTS['nav'].attributes('label')}><ul>{links}</ul></nav>"
        f'<div class="controls"><div class="languages" role="group">{languages}</div>'
        '<button type="button" class="theme" data-theme-toggle>'
        '<svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="7.5"/>'
        '<path d="M10 2.5a7.5 7.5 0 0 1 0 15z"/></svg>'
        f'<span class="unseen to-dark">{dark}</span><span class="unseen to-light">{light}</span>'
        "</button></div></header>"
        '<div id="outage" role="alert"></div><p id="announcer" class="unseen" role="status"></p>'
    )


def heading(view: str) -> str:
    """Write the title and the introduction of a section."""
    return f'<h1 tabindex="-1">{say(f"{view}.title")}</h1><p class="lead">{say(f"{view}.lead")}</p>'


def label(name: str, target: str, placeholder: Words | None = None) -> str:
    """Write the label of a field of Gradio's, which the page's script ties to it.

    :param name: of the sentence.
    :param target: a selector of the field.
    :param placeholder: what stands in the empty field.
    """
    extra = "" if placeholder is None else " " + placeholder.attributes("placeholder")
    return f'<p class="label" data-labels="{target}"{extra}>{say(name)}</p>'


def examples() -> str:
    """Write the utterances that can be clicked."""
    items = "".join(
        f'<li><button type="button" class="example" data-example="{escape(example.ru)}">'
        f'<span class="said" lang="ru-RU">{escape(example.ru)}</span>'
        f'<span class="gloss" lang="en">{escape(example.en)}</span></button></li>'
        for example in EXAMPLES
    )
    return (
        f'<div class="examples"><h2 class="eyebrow">{say("text.examples")}</h2>'
        f"<ul>{items}</ul></div>"
    )


def footer(api: str | None) -> str:
    """Write the end of the page.

    :param api: address of the description of the API; None where there is none.
    """
    link = "" if api is None else f' <a href="{escape(api)}">{say("footer.api")}</a>'
    return f'<footer class="foot"><p>{say("footer")}</p><p>{link}</p></footer>'


def waiting(name: str) -> str:
    """Write what stands in place of a result that nobody asked for yet.

    :param name: of the sentence.
    """
    return f'<div class="empty"><p>{say(name)}</p></div>'


def drop(target: str) -> str:
    """Write where files are dropped, and the button that opens the choice of one.

    :param target: id of the block that takes files.
    """
    return (
        f'<div class="drop" data-drop="{target}"><button type="button" class="button" '
        f'data-open="{target}">{say("files.upload.run")}</button>'
        f"<p>{say('files.upload.drop')}</p></div>"
    )


def example_button(name: str, text: str, field: str) -> str:
    """Write a button that puts a text into a field and starts what reads it.

    :param name: of the sentence on it.
    :param text: the text.
    :param field: id of the field, with #.
    """
    return (
        f'<button type="button" class="button" data-fill="{field}" data-text="{escape(text)}">'
        f"{say(name)}</button>"
    )
