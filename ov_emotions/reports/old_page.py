"""What every HTML page of the library is made of: one file with styles and script inside.

Nothing is asked for outside the page, and whatever is put into it stays text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape

from ov_emotions.reports.format import clean
from ov_emotions.reports.svg import stylesheet
from ov_emotions.reports.table import Cell, Row, Table

_WIDE, _NARROW = 780.0, 340.0
_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|MB|texts/s|times)(?!\w))")


def document(
    title: str,
    header: str,
    sections: Iterable[str],
    *,
    skip_to: str = "all",
    skip: str = "Skip to the tables",
    language: str = "en",
    styles: Sequence[str] = (),
) -> str:
    """Put a page together.

    :param title: of the window; not escaped yet.
    :param header: the markup on top.
    :param sections: the markup below, as `section` gives it.
    :param skip_to: the section that the keyboard may jump to.
    :param skip: what the keyboard's jump is called; not escaped yet.
    :param language: of the text.
    :param styles: names of further style sheets.
    :return: an HTML document.
    """
    style = stylesheet("palette.css", "plot.css", "page.css", *styles)
    content = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="ov-emotions">
<title>{escape(clean(title))}</title>
<style>
{style}
</style>
</head>
<body>
<a class="skip" href="#{skip_to}">{text(skip)}</a>
{header}
<main>
{content}
</main>
<script>
{stylesheet("page.js")}
</script>
</body>
</html>
"""


def text(value: str) -> str:
    """Escape a text for a page, and keep its numbers and units together."""
    return typeset(escape(clean(value).strip()))


def typeset(escaped: str) -> str:
    """Keep a number and its unit on one line."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", escaped)


def section(name: str, title: str, *content: str) -> str:
    """Write a section with its heading.

    :param name: unique in the page; its id.
    :param title: not escaped yet.
    :param content: markup; what is empty is left out.
    :return: the markup; empty if there is no content.
    """
    inside = "\n".join(part for part in content if part)
    if not inside:
        return ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{text(title)}</h2>\n<div class="content">\n{inside}\n</div>\n'
        "</section>"
    )


def figure(draw: Callable[[float, str], str | None], name: str, caption: str) -> str:
    """Draw a plot twice, for wide and narrow screens; the style sheet shows one.

    :param draw: takes a width in pixels and a name that is unique in the page; gives SVG, or None.
    :param name: of the plot.
    :param caption: markup.
    :return: the markup; empty if there is no plot.
    """
    wide, narrow = draw(_WIDE, name), draw(_NARROW, f"{name}-narrow")
    if wide is None or narrow is None:
        return ""
    caption = typeset(caption)
    return (
        f'<figure>\n<div class="wide">{wide}</div>\n<div class="narrow">{narrow}</div>\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def details(title: str, content: str, *, escaped: bool = False) -> str:
    """Write what opens at a click.

    :param title: not escaped yet, unless `escaped` says that it is markup.
    :param content: markup.
    :return: the markup.
    """
    summary = title if escaped else text(title)
    return f"<details>\n<summary>{summary}</summary>\n{content}\n</details>"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Write a list of names and values, not escaped yet."""
    rows = "\n".join(
        f"<div><dt>{text(key)}</dt><dd><bdi>{text(value)}</bdi></dd></div>" for key, value in pairs
    )
    return f'<dl class="facts">\n{rows}\n</dl>'


def table(content: Table, *, class_: str = "", sortable: bool = False) -> str:
    """Write a table in a box that scrolls by itself.

    :param content: the table; nothing in it is escaped yet.
    :param class_: of the style sheet: `words` for tables of text.
    :param sortable: whether columns sort at a click.
    :return: the markup.
    """
    classes = " ".join(name for name in (class_, "sortable" if sortable else "") if name)
    attribute = f' class="{classes}"' if classes else ""
    head = "".join(
        f'<th scope="col"{_aligned(numeric)}>{text(name)}</th>' if name else "<td></td>"
        for name, numeric in zip(content.head, content.numeric, strict=True)
    )
    body = "\n".join(_row(row, content) for row in content.rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="table-{content.name}">\n'
        f"<table{attribute}>\n"
        f'<caption id="table-{content.name}"><span>{text(content.caption)}</span></caption>\n'
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
        cells.append(f'<td class="note" colspan="{span}">{text(row.note)}</td>')
    role = f' class="{row.role}"' if row.role else ""
    return f"<tr{role}>{''.join(cells)}</tr>"


def _content(cell: Cell) -> str:
    if cell.code:
        return f"<code>{text(cell.text)}</code>"
    return f"<bdi>{text(cell.text)}</bdi>"
