"""What the model is: its labels and thresholds, its figures, and the way to the report."""

from __future__ import annotations

import logging
from pathlib import Path

from ov_emotions.bundle import Bundle
from ov_emotions.demo.bars import hue
from ov_emotions.demo.markup import count, decimal, escape, label_words, percent
from ov_emotions.demo.texts import say
from ov_emotions.errors import DataError

logger = logging.getLogger(__name__)

REPORT_PAGE = "report.html"


def find_report(folder: Path | None, model: str) -> Path | None:
    """Find the folder of the quantization report.

    :param folder: that was asked for; None for the one that is committed, where the library is
        run from a checkout.
    :param model: name of the model that the committed report is of.
    :return: a folder with `report.html`, or None.
    :raises DataError: if the folder that was asked for has no report.
    """
    if folder is not None:
        if not (folder / REPORT_PAGE).is_file():
            raise DataError(
                f"{folder} has no {REPORT_PAGE}; name a folder `ov-emotions report` wrote"
            )
        return folder
    root = Path(__file__).resolve().parents[2]
    committed = root / "quantize" / "reports" / model
    return committed if (committed / REPORT_PAGE).is_file() else None


def card(bundle: Bundle, report: str | None) -> str:
    """Write the section about the model.

    :param bundle: of the model.
    :param report: address of the report; None where there is none.
    :return: the markup.
    """
    manifest = bundle.manifest
    thresholds = "".join(
        f'<li data-emotion="{hue(label)}"><span class="dot" aria-hidden="true"></span>'
        f"{label_words(label, manifest.label_names_ru).html()} "
        f"<strong>{percent(manifest.thresholds[label]).html()}</strong></li>"
        for label in manifest.labels
    )
    told = (
        f'<a class="button" target="_blank" rel="noopener" href="{escape(report)}">'
        f"{say('model.report.open')}</a>"
        if report
        else f'<p class="hint">{say("model.report.none")}</p>'
    )
    return (
        f'<div class="facts-grid"><section><h2 class="eyebrow">{say("model.facts")}</h2>'
        f"{_facts(bundle)}</section>"
        f'<section><h2 class="eyebrow">{say("model.thresholds")}</h2>'
        f'<ul class="shares">{thresholds}</ul></section>'
        f'<section><h2 class="eyebrow">{say("model.figures")}</h2>{_figures(bundle)}</section>'
        f'<section><h2 class="eyebrow">{say("model.report")}</h2>'
        f'<p>{say("model.report.about")}</p><p class="downloads">{told}</p></section></div>'
    )


def _facts(bundle: Bundle) -> str:
    manifest = bundle.manifest
    rows = (
        ("model.name", escape(manifest.name)),
        ("model.precision", escape(manifest.precision.upper())),
        ("model.base", escape(manifest.base_model)),
        ("model.licence", escape(manifest.licence)),
        ("model.normalizer", escape(manifest.normalizer)),
        ("model.length", say("model.tokens", tokens=count(manifest.max_length))),
    )
    return (
        '<dl class="card">'
        + "".join(f"<div><dt>{say(name)}</dt><dd>{value}</dd></div>" for name, value in rows)
        + "</dl>"
    )


def _figures(bundle: Bundle) -> str:
    splits = bundle.manifest.metrics.get(bundle.manifest.precision, {})
    rows = "".join(
        f'<tr><th scope="row">{escape(split)}</th>'
        f'<td class="number">{decimal(figures["weighted_f1"], 3).html()}</td>'
        f'<td class="number">{decimal(figures["macro_f1"], 3).html()}</td>'
        f'<td class="number">{count(figures["rows"]).html()}</td></tr>'
        for split, figures in splits.items()
        if {"weighted_f1", "macro_f1", "rows"} <= set(figures)
    )
    if not rows:
        return f'<p class="hint">{say("model.figures.none")}</p>'
    head = "".join(
        f'<th scope="col" class="number">{say(f"model.{name}")}</th>'
        for name in ("weighted", "macro", "rows")
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="F1"><table><thead><tr>'
        f'<th scope="col">{say("model.split")}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
