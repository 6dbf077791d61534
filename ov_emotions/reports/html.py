"""The report as one HTML page that needs nothing else: styles, plots and script are inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ov_emotions.reports import old_page as page
from ov_emotions.reports import prose, tables
from ov_emotions.reports.bars import label_bars
from ov_emotions.reports.chart import plot_title
from ov_emotions.reports.format import clean
from ov_emotions.reports.intervals import difference_plot, ratio_plot
from ov_emotions.reports.ledger import ledger
from ov_emotions.reports.pareto import pareto_plot
from ov_emotions.reports.reading import parse_study
from ov_emotions.reports.reasons import rule
from ov_emotions.reports.study import Candidate, Study
from ov_emotions.reports.table import Table
from ov_emotions.reports.verdict import Verdict, judge


def render_html(study: Mapping[str, Any]) -> str:
    """Write the report as a page.

    :param study: study JSON.
    :return: an HTML document that asks for nothing outside itself; whatever the JSON holds stays
        text.
    :raises DataError: if it is no study.
    """
    parsed = parse_study(study)
    verdict = judge(parsed)
    title = f"{verdict.headline} – {parsed.model.name}"
    return page.document(title, _header(parsed, verdict), _sections(parsed, verdict))


def _prose(text: str, study: Study) -> str:
    pieces = prose.with_ids(clean(text).strip(), study)
    return "".join(
        f"<code>{escape(piece)}</code>" if is_id else page.typeset(escape(piece))
        for piece, is_id in pieces
    )


def _header(study: Study, verdict: Verdict) -> str:
    mood = "none" if verdict.ship is None else "keep" if verdict.ship == study.reference else "ship"
    parts = [
        f'<header class="{mood}">',
        f'<p class="about">{page.text(prose.subtitle(study))}</p>',
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
        f'<th scope="col" role="columnheader">{page.text(name)}</th>'
        if name
        else '<td role="cell"></td>'
        for name in table.head
    )
    rows = []
    for row in table.rows:
        name, *values = (page.text(cell.text) for cell in row.cells)
        cells = "".join(f'<td role="cell">{value}</td>' for value in values)
        rows.append(f'<tr role="row"><th scope="row" role="rowheader">{name}</th>{cells}</tr>')
    body = "\n".join(rows)
    return (
        f'<table class="ledger" role="table">\n<caption>{page.text(table.caption)}</caption>\n'
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
        yield page.section("rule", "How the verdict was reached", f"<ol>\n{steps}\n</ol>")
    paragraphs = [f"<p>{_prose(said, study)}</p>" for said in prose.how_measured(study)]
    listed = page.details("Machine, versions, settings and hashes", page.facts(prose.facts(study)))
    steps_table = tables.steps_table(study)
    cost = [page.table(steps_table)] if steps_table else []
    yield page.section("measured", "How it was measured", *paragraphs, listed, *cost)
    command = f'<pre tabindex="0"><code>{page.text(study.command)}</code></pre>' * bool(
        study.command
    )
    said = f"<p>{page.text(prose.how_to_repeat(study))}</p>"
    yield page.section("repeat", "How to repeat it", command, said)


def _plots(study: Study, verdict: Verdict) -> str:
    base = study.on_choice(study.candidate(study.reference))
    if base is None:
        caption = "Both whiskers span the rounds, smallest to largest. Better is up and left."
    else:
        f1 = base.refitted.weighted_f1
        caption = (
            "Better is up and left. Vertical whiskers are the 95 % interval of the change to "
            f"<code>{page.text(study.reference)}</code>, paired by row; that of its own F1 is "
            f"{f1.low:.3f}–{f1.high:.3f}. Horizontal whiskers span the rounds. The line joins what "
            "no other OpenVINO model beats in both."
        )
    pareto = page.figure(
        lambda width, name: pareto_plot(study, verdict, width=width, name=name), "pareto", caption
    )
    change = page.figure(
        lambda width, name: difference_plot(
            study, verdict, study.data.choice_split, width=width, name=name
        ),
        "change",
        f"Change of weighted F1 to <code>{page.text(study.reference)}</code> on "
        f"{page.text(study.data.choice_split)}, paired by row, with 95 % intervals. Arrows point "
        "at what lies further out.",
    )
    doubt = " The machine was too noisy: take nothing from it." if study.noisy else ""
    speed = page.figure(
        lambda width, name: ratio_plot(study, verdict, width=width, name=name),
        "ratios",
        f"Times as fast as <code>{page.text(study.reference)}</code>, round by round: median, "
        f"smallest and largest (log scale). What crosses the dotted line is not told from "
        f"it.{doubt}",
    )
    return "\n".join(
        (
            page.section("trade", plot_title(study, verdict) or "Plot", pareto),
            page.section("change-section", "What quantization changes", change),
            page.section("speed-section", "How much faster", speed),
        )
    )


def _by_label(study: Study, compared: Candidate | None) -> str:
    bars = page.figure(
        lambda width, name: label_bars(study, compared, width=width, name=name),
        "bars",
        f"F1 by label on {page.text(study.data.choice_split)} with 95 % intervals.",
    )
    table = tables.label_table(study, compared)
    as_table = page.details("The same as a table", page.table(table)) if table else ""
    return page.section("labels-section", "By label", bars, as_table)


def _all(study: Study, verdict: Verdict) -> str:
    parts = [
        page.table(tables.quality_table(study, verdict, study.data.choice_split), sortable=True)
    ]
    if study.data.final_split and not study.model.random_weights:
        final = tables.quality_table(study, verdict, study.data.final_split)
        parts.append(page.table(final, sortable=True))
    parts.append(page.table(tables.speed_table(study, verdict), sortable=True))
    parts.append(page.table(tables.memory_table(study, verdict), sortable=True))
    if refused := tables.refused_table(verdict):
        parts.append(page.table(refused, class_="words"))
    return page.section("all", "All candidates", *parts)


def _making(study: Study, compared: Candidate | None) -> str:
    parts = []
    for candidate, facts in prose.recipes(study):
        title = f"<code>{page.text(candidate.recipe or candidate.id)}</code>"
        about = f"<p>{page.text(candidate.description)}</p>" if candidate.description else ""
        parts.append(page.details(title, about + page.facts(facts), escaped=True))
    if table := tables.changes_table(study, compared):
        parts.append(page.details(table.caption, page.table(table, class_="words")))
    return page.section("making", "How the models were made", *parts)
