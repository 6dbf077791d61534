"""The report as one HTML page that needs nothing else: styles, plots and script are inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape as _escape
from typing import Any

from ov_emotions.report import prose, tables
from ov_emotions.report.bars import label_bars
from ov_emotions.report.chart import plot_title
from ov_emotions.report.format import clean
from ov_emotions.report.intervals import difference_plot, ratio_plot
from ov_emotions.report.ledger import ledger
from ov_emotions.report.pareto import pareto_plot
from ov_emotions.report.reading import parse_study
from ov_emotions.report.reasons import rule
from ov_emotions.report.study import Candidate, Study
from ov_emotions.report.svg import stylesheet
from ov_emotions.report.tables import Cell, Row, Table
from ov_emotions.report.verdict import Verdict, judge

_WIDE, _NARROW = 780.0, 340.0
_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|MB|texts/s|times)(?!\w))")


def render_html(study: Mapping[str, Any]) -> str:
    """Write the report as a page.

    :param study: study JSON.
    :return: an HTML document that asks for nothing outside itself; whatever the JSON holds stays
        text.
    :raises DataError: if it is no study.
    """
    parsed = parse_study(study)
    verdict = judge(parsed)
    style = stylesheet("palette.css", "plot.css", "page.css")
    sections = "\n".join(_sections(parsed, verdict))
    title = clean(f"{verdict.headline} – {parsed.model.name}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="ov-emotions">
<title>{_escape(title)}</title>
<style>
{style}
</style>
</head>
<body>
<a class="skip" href="#all">Skip to the tables</a>
{_header(parsed, verdict)}
<main>
{sections}
</main>
<script>
{stylesheet("page.js")}
</script>
</body>
</html>
"""


def _text(text: str) -> str:
    return _typeset(_escape(clean(text).strip()))


def _typeset(escaped: str) -> str:
    """Keep a number and its unit on one line."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", escaped)


def _prose(text: str, study: Study) -> str:
    pieces = prose.with_ids(clean(text).strip(), study)
    return "".join(
        f"<code>{_escape(piece)}</code>" if is_id else _typeset(_escape(piece))
        for piece, is_id in pieces
    )


def _header(study: Study, verdict: Verdict) -> str:
    mood = "none" if verdict.ship is None else "keep" if verdict.ship == study.reference else "ship"
    parts = [
        f'<header class="{mood}">',
        f'<p class="about">{_text(prose.subtitle(study))}</p>',
        f"<h1>{_prose(verdict.headline, study)}</h1>",
        f'<p class="lead">{_prose(verdict.because, study)}</p>',
    ]
    if verdict.warning:
        said = _prose(verdict.warning, study)
        parts.append(f'<p class="warning"><strong>Noisy timings.</strong> {said}</p>')
    if verdict.confirmation:
        kind = "confirmed" if verdict.confirmed else "warning"
        label = "Confirmed." if verdict.confirmed else "Not confirmed."
        said = _prose(verdict.confirmation, study)
        parts.append(f'<p class="{kind}"><strong>{label}</strong> {said}</p>')
    table = ledger(study, verdict)
    findings = [_ledger(table)] if table else []
    if verdict.reasons:
        items = "\n".join(f"<li>{_prose(reason, study)}</li>" for reason in verdict.reasons)
        findings.append(f'<ul class="reasons">\n{items}\n</ul>')
    if findings:
        parts += ['<div class="findings">', *findings, "</div>"]
    return "\n".join([*parts, "</header>"])


def _ledger(table: Table) -> str:
    """Write the ledger; it is stacked on narrow screens, where its roles keep it a table."""
    head = "".join(
        f'<th scope="col" role="columnheader">{_text(name)}</th>'
        if name
        else '<td role="cell"></td>'
        for name in table.head
    )
    rows = []
    for row in table.rows:
        name, *values = (_text(cell.text) for cell in row.cells)
        cells = "".join(f'<td role="cell">{value}</td>' for value in values)
        rows.append(f'<tr role="row"><th scope="row" role="rowheader">{name}</th>{cells}</tr>')
    body = "\n".join(rows)
    return (
        f'<table class="ledger" role="table">\n<caption>{_text(table.caption)}</caption>\n'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{body}\n</tbody>\n</table>'
    )


def _sections(study: Study, verdict: Verdict) -> Iterator[str]:
    compared = study.candidate(verdict.compared) if verdict.compared else None
    yield _plots(study, verdict)
    yield _by_label(study, compared)
    yield _all(study, verdict)
    yield _making(study, compared)
    if not study.model.random_weights:
        steps = "\n".join(f"<li>{_prose(step, study)}</li>" for step in rule(study))
        yield _section("rule", "How the verdict was reached", f"<ol>\n{steps}\n</ol>")
    paragraphs = [f"<p>{_prose(said, study)}</p>" for said in prose.how_measured(study)]
    listed = _details("Machine, versions, settings and hashes", _facts(prose.facts(study)))
    steps_table = tables.steps_table(study)
    cost = [_table(steps_table)] if steps_table else []
    yield _section("measured", "How it was measured", *paragraphs, listed, *cost)
    command = f'<pre tabindex="0"><code>{_text(study.command)}</code></pre>' * bool(study.command)
    said = f"<p>{_text(prose.how_to_repeat(study))}</p>"
    yield _section("repeat", "How to repeat it", command, said)


def _section(name: str, title: str, *content: str) -> str:
    inside = "\n".join(part for part in content if part)
    if not inside:
        return ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{_text(title)}</h2>\n<div class="content">\n{inside}\n</div>\n'
        "</section>"
    )


def _figure(draw: Callable[[float, str], str | None], name: str, caption: str) -> str:
    """Draw a plot twice, for wide and narrow screens; the style sheet shows one."""
    wide, narrow = draw(_WIDE, name), draw(_NARROW, f"{name}-narrow")
    if wide is None or narrow is None:
        return ""
    caption = _typeset(caption)
    return (
        f'<figure>\n<div class="wide">{wide}</div>\n<div class="narrow">{narrow}</div>\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def _plots(study: Study, verdict: Verdict) -> str:
    base = study.on_choice(study.candidate(study.reference))
    if base is None:
        caption = "Both whiskers span the rounds, smallest to largest. Better is up and left."
    else:
        f1 = base.refitted.weighted_f1
        caption = (
            "Better is up and left. Vertical whiskers are the 95 % interval of the change to "
            f"<code>{_text(study.reference)}</code>, paired by row; that of its own F1 is "
            f"{f1.low:.3f}–{f1.high:.3f}. Horizontal whiskers span the rounds. The line joins what "
            "no other OpenVINO model beats in both."
        )
    pareto = _figure(
        lambda width, name: pareto_plot(study, verdict, width=width, name=name), "pareto", caption
    )
    change = _figure(
        lambda width, name: difference_plot(
            study, verdict, study.data.choice_split, width=width, name=name
        ),
        "change",
        f"Change of weighted F1 to <code>{_text(study.reference)}</code> on "
        f"{_text(study.data.choice_split)}, paired by row, with 95 % intervals. Arrows point at "
        "what lies further out.",
    )
    doubt = " The machine was too noisy: take nothing from it." if study.noisy else ""
    speed = _figure(
        lambda width, name: ratio_plot(study, verdict, width=width, name=name),
        "ratios",
        f"Times as fast as <code>{_text(study.reference)}</code>, round by round: median, smallest "
        f"and largest (log scale). What crosses the dotted line is not told from it.{doubt}",
    )
    return "\n".join(
        (
            _section("trade", plot_title(study, verdict) or "Plot", pareto),
            _section("change-section", "What quantization changes", change),
            _section("speed-section", "How much faster", speed),
        )
    )


def _by_label(study: Study, compared: Candidate | None) -> str:
    bars = _figure(
        lambda width, name: label_bars(study, compared, width=width, name=name),
        "bars",
        f"F1 by label on {_text(study.data.choice_split)} with 95 % intervals.",
    )
    table = tables.label_table(study, compared)
    as_table = _details("The same as a table", _table(table)) if table else ""
    return _section("labels-section", "By label", bars, as_table)


def _all(study: Study, verdict: Verdict) -> str:
    parts = [_table(tables.quality_table(study, verdict, study.data.choice_split), sortable=True)]
    if study.data.final_split and not study.model.random_weights:
        final = tables.quality_table(study, verdict, study.data.final_split)
        parts.append(_table(final, sortable=True))
    parts.append(_table(tables.speed_table(study, verdict), sortable=True))
    parts.append(_table(tables.memory_table(study, verdict), sortable=True))
    if refused := tables.refused_table(verdict):
        parts.append(_table(refused, class_="words"))
    return _section("all", "All candidates", *parts)


def _making(study: Study, compared: Candidate | None) -> str:
    parts = []
    for candidate, facts in prose.recipes(study):
        title = f"<code>{_text(candidate.recipe or candidate.id)}</code>"
        about = f"<p>{_text(candidate.description)}</p>" if candidate.description else ""
        parts.append(_details(title, about + _facts(facts), escaped=True))
    if table := tables.changes_table(study, compared):
        parts.append(_details(table.caption, _table(table, class_="words")))
    return _section("making", "How the models were made", *parts)


def _details(title: str, content: str, *, escaped: bool = False) -> str:
    summary = title if escaped else _text(title)
    return f"<details>\n<summary>{summary}</summary>\n{content}\n</details>"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "\n".join(
        f"<div><dt>{_text(key)}</dt><dd><bdi>{_text(value)}</bdi></dd></div>"
        for key, value in facts
    )
    return f'<dl class="facts">\n{rows}\n</dl>'


def _table(table: Table, *, class_: str = "", sortable: bool = False) -> str:
    classes = " ".join(name for name in (class_, "sortable" if sortable else "") if name)
    attribute = f' class="{classes}"' if classes else ""
    head = "".join(
        f'<th scope="col"{_aligned(numeric)}>{_text(name)}</th>' if name else "<td></td>"
        for name, numeric in zip(table.head, table.numeric, strict=True)
    )
    body = "\n".join(_row(row, table) for row in table.rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="table-{table.name}">\n'
        f'<table{attribute}>\n<caption id="table-{table.name}"><span>{_text(table.caption)}</span>'
        "</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _aligned(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _row(row: Row, table: Table) -> str:
    first, *rest = row.cells
    cells = [f'<th scope="row">{_content(first)}</th>']
    for cell, numeric in zip(rest, table.numeric[1:], strict=False):
        sort = "" if cell.sort is None else f' data-sort="{cell.sort:.9g}"'
        cells.append(f"<td{_aligned(numeric)}{sort}>{_content(cell)}</td>")
    if row.note is not None:
        span = len(table.head) - len(row.cells)
        cells.append(f'<td class="note" colspan="{span}">{_text(row.note)}</td>')
    role = f' class="{row.role}"' if row.role else ""
    return f"<tr{role}>{''.join(cells)}</tr>"


def _content(cell: Cell) -> str:
    if cell.code:
        return f"<code>{_text(cell.text)}</code>"
    return f"<bdi>{_text(cell.text)}</bdi>"
