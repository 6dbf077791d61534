"""What every page is made of: templates, one style, one script, and the type inside the file.

A page asks for nothing outside itself, and whatever is put into it stays text: templates escape
what they are given, and what no page can hold (`clean`) is replaced on the way.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ov_emotions.reports.language import NONE, Language, clean
from ov_emotions.system import require

if TYPE_CHECKING:
    from jinja2 import Environment

_ASSETS = files("ov_emotions.reports") / "assets"
_FONTS = (
    ("Golos Text", "400", "golos-text"),
    ("Golos Text", "600", "golos-text"),
    ("Literata", "600", "literata"),
)
_RANGES = {
    "latin": "U+0-FF,U+131,U+152-153,U+2BB-2BC,U+2C6,U+2DA,U+2DC,U+2000-206F,U+20AC,U+2122,"
    "U+2191,U+2193,U+2212,U+2215,U+FEFF,U+FFFD",
    "cyrillic": "U+301,U+400-45F,U+490-491,U+4B0-4B1,U+2116",
}


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    :param text: as it is shown.
    :param sort: what it is sorted by; None where it has no number.
    :param code: whether the text is a name to be set in a monospaced font.
    """

    text: str
    sort: float | None = None
    code: bool = False


@dataclass(frozen=True)
class Row:
    """One row; the first cell names it.

    :param note: stands in place of all further cells, such as an error.
    :param role: chosen, reference, failed or empty: rows to set off.
    """

    cells: tuple[Cell, ...]
    note: str | None = None
    role: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption; see `table`."""

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    texts: int
    words: bool

    def numeric(self, column: int) -> bool:
        """Tell whether a column holds numbers."""
        return column >= self.texts


def table(
    name: str,
    caption: str,
    head: Sequence[str],
    rows: Iterable[Row | Iterable[str | Cell]],
    *,
    texts: int = 1,
    words: bool = False,
) -> Table | None:
    """Make a table; None if it would have no row.

    :param name: unique in the page.
    :param head: column names.
    :param texts: how many of the first columns hold words; the others hold numbers.
    :param words: whether cells hold sentences, which need room.
    """
    made = [one if isinstance(one, Row) else row(one) for one in rows]
    return Table(name, caption, head, made, texts, words) if made else None


def row(cells: Iterable[str | Cell], note: str | None = None, role: str = "") -> Row:
    """Make a row of texts and cells."""
    return Row(tuple(Cell(one) if isinstance(one, str) else one for one in cells), note, role)


def figure(write: Callable[..., str], value: float | None, *how: int) -> Cell:
    """Make a cell of a number.

    :param write: a method of `Language`, such as `score`.
    :param value: None is a dash.
    :param how: what else the method takes.
    """
    return Cell(NONE) if value is None else Cell(write(value, *how), value)


def asset(name: str) -> str:
    """Read a style sheet or a script that ships with the pages."""
    return (_ASSETS / name).read_text(encoding="utf-8").strip()


@cache
def font_faces() -> str:
    """Return the style sheet that holds the type itself: Golos Text and Literata, subset."""
    faces = []
    for family, weight, name in _FONTS:
        for subset, range_ in _RANGES.items():
            data = (_ASSETS / "fonts" / f"{name}-{subset}-{weight}.woff2").read_bytes()
            faces.append(
                f'@font-face{{font-family:"{family}";font-weight:{weight};font-display:block;'
                f"src:url(data:font/woff2;base64,{b64encode(data).decode()}) "
                f'format("woff2");unicode-range:{range_}}}'
            )
    return "\n".join(faces)


def render(template: str, language: Language, **values: Any) -> str:
    """Fill in a file of `templates`, which knows the language as `say`.

    :raises MissingExtraError: if jinja2 is not installed.
    """
    return _environment().get_template(template).render(say=language, **values)


def words(template: str, language: Language, **values: Any) -> Any:
    """Give what a file of `templates` sets, and its macros, as attributes.

    :raises MissingExtraError: if jinja2 is not installed.
    """
    return _environment().get_template(template).make_module({"say": language, **values})


@cache
def _environment() -> Environment:
    require("jinja2", extra="reports")
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
    from markupsafe import Markup

    environment = Environment(
        autoescape=select_autoescape(("html.j2",), default=False),
        loader=PackageLoader("ov_emotions.reports"),
        undefined=StrictUndefined,
        finalize=lambda value: (
            clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"asset": asset, "font_faces": font_faces, "table": table}
    environment.filters |= {"with_names": with_names, "md": escape_markdown, "md_code": code}
    # As markup, so that their lines stay; both escape what they hold for Markdown.
    environment.filters["md_block"] = lambda text: Markup(code_block(text))  # noqa: S704
    environment.filters["md_table"] = lambda table: Markup(markdown_table(table))  # noqa: S704
    return environment


def with_names(text: str, names: Iterable[str]) -> list[tuple[str, bool]]:
    """Split a sentence at names, so that they can be set as such.

    They are found between words only: "int8" is not found in "int8-mixed".

    :return: pieces, and whether each is a name.
    """
    known = sorted((re.escape(clean(name).strip()) for name in names), key=len, reverse=True)
    pieces = re.split(rf"(?<![\w/\-])({'|'.join(known)})(?![\w/\-])", clean(text).strip())
    return [(piece, i % 2 == 1) for i, piece in enumerate(pieces) if piece]


# What starts markup, a mention or a formula; a link also starts without brackets.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~$&@#!])")
_BLOCK = re.compile(r"^([-+=]|\d+(?=[.)](?:\s|$)))")  # at the start of a line, a list or a heading
_LINK = re.compile(r"(?i)(:)(?=//)|(?<=\bwww)(\.)|(?<=mailto)(:)")


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, in one line; blanks at its ends stay."""
    escaped = _MARKUP.sub(r"\\\1", clean(text))
    escaped = _BLOCK.sub(lambda f: f"{f[1]}\\" if f[1].isdigit() else f"\\{f[1]}", escaped)
    return _LINK.sub(lambda found: "\\" + found.group(), escaped)


def code(text: str) -> str:
    """Set a name as code in Markdown, whatever characters it holds."""
    plain = clean(text).strip()
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{_fence(plain)}{pad}{plain}{pad}{_fence(plain)}"


def code_block(command: str) -> str:
    """Set a command as a block of code in Markdown, whatever characters it holds."""
    plain = clean(command).strip()
    return f"{_fence(plain, 3)}shell\n{plain}\n{_fence(plain, 3)}"


def _fence(text: str, least: int = 1) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def markdown_table(table: Table | None) -> str:
    """Write a table in Markdown, its caption above it; nothing for None."""
    if table is None:
        return ""
    rule = ["---:" if table.numeric(i) else "---" for i in range(len(table.head))]
    lines = [[escape_markdown(name) for name in table.head], rule]
    lines += [_markdown_row(row, len(table.head)) for row in table.rows]
    written = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n**{escape_markdown(table.caption.strip())}**\n\n{written}\n"


def _markdown_row(row: Row, width: int) -> list[str]:
    shown = [
        # Even inside code a bar would end the cell.
        code(cell.text).replace("|", "\\|") if cell.code else escape_markdown(cell.text.strip())
        for cell in row.cells
    ]
    if row.role == "chosen":
        shown[0] = f"**{shown[0]}**"
    if row.note is not None:
        shown.append(escape_markdown(row.note))
    return shown + [""] * (width - len(shown))
