"""A table before it becomes HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell.

    :param text: not escaped yet.
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
    """A table with its caption.

    :param name: unique in the report.
    :param head: column names.
    :param numeric: by column, whether it holds numbers.
    """

    name: str
    caption: str
    head: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[Row, ...]
