"""How far a piece of work is: rooms tell it, and whoever asked for the work shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Progress:
    """One message about work that takes a while.

    :param done: units of work that are done.
    :param total: units in all; None where that is not known.
    :param unit: what is counted, in the plural: texts, rows, steps.
    :param note: what is done now, or what it has come to so far.
    """

    done: int
    total: int | None = None
    unit: str = "rows"
    note: str = ""


Tell = Callable[[Progress], None]
"""What a room calls, often and from the thread that does the work; a message costs next to
nothing, and whoever shows them leaves most of them out."""


def counted(
    items: Iterable[_T],
    tell: Tell | None,
    *,
    total: int | None = None,
    unit: str = "rows",
    note: str = "",
) -> Iterator[_T]:
    """Pass items on, and tell after each how many there were, in the words of `Progress`."""
    for done, item in enumerate(items, start=1):
        yield item
        if tell is not None:
            tell(Progress(done, total, unit, note))
