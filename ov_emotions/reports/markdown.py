"""The report as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ov_emotions.reports import prose, tables
from ov_emotions.reports.chart import plot_title
from ov_emotions.reports.format import clean
from ov_emotions.reports.ledger import ledger
from ov_emotions.reports.reading import parse_study
from ov_emotions.reports.reasons import rule
from ov_emotions.reports.study import Study
from ov_emotions.reports.table import Cell, Row, Table
from ov_emotions.reports.verdict import Verdict, judge

# What starts markup, a mention or a formula; a link also starts without brackets.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~$&@#!])")
_BLOCK = re.compile(r"^([-+=]|\d+(?=[.)](?:\s|$)))")  # at the start of a line, a list or a heading
_LINK = re.compile(r"(?i)(:)(?=//)|(?<=\bwww)(\.)|(?<=mailto)(:)")


def render_markdown(study: Mapping[str, Any], images: str | None) -> str:
    """Write the report for a repository.

    :param study: study JSON.
    :param images: the Pareto plot's file, relative to the report; None leaves it out.
    :return: GitHub Markdown; whatever the JSON holds stays text.
    :raises DataError: if it is no study.
    """
    parsed = parse_study(study)
    return "\n\n".join(_sections(parsed, judge(parsed), images)) + "\n"


def _sections(study: Study, verdict: Verdict, images: str | None) -> Iterator[str]:
    compared = study.candidate(verdict.compared) if verdict.compared else None
    yield f"# {_prose(verdict.headline, study)}"
    yield escape(prose.subtitle(study))
    yield f"**{_prose(verdict.because, study)}**"
    if verdict.warning:
        yield _prose(verdict.warning, study)
    if verdict.confirmation:
        yield _prose(verdict.confirmation, study)
    yield from _table(ledger(study, verdict))
    if verdict.reasons:
        yield "\n".join(f"- {_prose(reason, study)}" for reason in verdict.reasons)
    title = plot_title(study, verdict)
    if images and title:
        yield f"## {title}"
        yield f"![{escape(title)}](<{images}>)"
    yield "## All candidates"
    yield from _table(tables.quality_table(study, verdict, study.data.choice_split))
    if study.data.final_split and not study.model.random_weights:
        yield from _table(tables.quality_table(study, verdict, study.data.final_split))
    yield from _table(tables.speed_table(study, verdict))
    yield from _table(tables.memory_table(study, verdict))
    yield from _table(tables.refused_table(verdict))
    if labels := tables.label_table(study, compared):
        yield "## By label"
        yield from _table(labels)
    yield from _making(study)
    yield from _table(tables.changes_table(study, compared))
    if not study.model.random_weights:
        yield "## How the verdict was reached"
        yield "\n".join(f"{i}. {_prose(s, study)}" for i, s in enumerate(rule(study), 1))
    yield "## How it was measured"
    yield from (_prose(paragraph, study) for paragraph in prose.how_measured(study))
    yield "\n".join(f"- {escape(key)}: {escape(value)}" for key, value in prose.facts(study))
    yield from _table(tables.steps_table(study))
    yield "## How to repeat it"
    if study.command:
        yield _fenced(study.command)
    yield escape(prose.how_to_repeat(study))


def _making(study: Study) -> Iterator[str]:
    recipes = prose.recipes(study)
    if recipes:
        yield "## How the models were made"
    for candidate, facts in recipes:
        about = f": {escape(candidate.description)}" if candidate.description else ""
        lines = [f"- {code(candidate.recipe or candidate.id)}{about}"]
        lines += [f"  - {escape(key)}: {escape(value)}" for key, value in facts]
        yield "\n".join(lines)


def escape(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, in one line.

    :param text: any text.
    :return: Markdown that holds no markup, link, mention or formula.
    """
    escaped = _MARKUP.sub(r"\\\1", clean(text).strip())
    escaped = _BLOCK.sub(lambda f: f"{f[1]}\\" if f[1].isdigit() else f"\\{f[1]}", escaped)
    return _LINK.sub(lambda found: "\\" + found.group(), escaped)


def code(text: str) -> str:
    """Set a name as code, whatever characters it holds.

    :param text: any text.
    :return: a code span.
    """
    plain = clean(text).strip()
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return fence + pad + plain + pad + fence


def _prose(text: str, study: Study) -> str:
    pieces = prose.with_ids(clean(text).strip(), study)
    return "".join(code(piece) if is_id else _inner(piece) for piece, is_id in pieces)


def _inner(piece: str) -> str:
    """Escape a piece of a sentence, keeping the blanks at its ends."""
    start = piece[: len(piece) - len(piece.lstrip())]
    end = piece[len(piece.rstrip()) :] if piece.strip() else ""
    return f"{start}{escape(piece)}{end}"


def _fenced(command: str) -> str:
    plain = clean(command).strip()
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{fence}shell\n{plain}\n{fence}"


def _table(table: Table | None) -> Iterator[str]:
    if table is None:
        return
    yield f"**{escape(table.caption)}**"
    rule_ = ["---:" if numeric else "---" for numeric in table.numeric]
    lines = [[escape(name) for name in table.head], rule_]
    lines += [_row(row, len(table.head)) for row in table.rows]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(row: Row, width: int) -> list[str]:
    cells = [_cell(cell) for cell in row.cells]
    if row.role == "chosen":
        cells[0] = f"**{cells[0]}**"
    if row.note is not None:
        cells.append(escape(row.note))
    return cells + [""] * (width - len(cells))


def _cell(cell: Cell) -> str:
    # Even inside code a bar would end the cell.
    return code(cell.text).replace("|", "\\|") if cell.code else escape(cell.text)
