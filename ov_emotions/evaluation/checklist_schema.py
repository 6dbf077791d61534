"""What a check list found: written by what runs one, read by its page.

A check list (Ribeiro et al., 2020) is lines in groups, a capability each, with the labels that must
be found, of which one must be, and that must not be.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ov_emotions.schema import Schema

KIND = "ov-emotions check list"

Count = Annotated[int, Meta(ge=0)]


class Group(Schema, frozen=True):
    """One capability: how many of its lines passed."""

    name: str
    lines: Count
    passed: Count


class Failure(Schema, frozen=True):
    """A line that failed.

    `found` are the labels that the model gave; `missing` those that must have been found, of which
    one would do where `any_of`; `forbidden` those that it gave and must not have.
    """

    group: str
    text: str
    found: tuple[str, ...]
    missing: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    any_of: bool = False


class CheckListResult(Schema, frozen=True):
    """One model on one check list."""

    kind: str
    model: str
    file: str
    groups: tuple[Group, ...]
    failures: tuple[Failure, ...]
    label_names_ru: dict[str, str] | None = None

    @property
    def lines(self) -> int:
        """How many there are."""
        return sum(group.lines for group in self.groups)

    @property
    def passed(self) -> int:
        """How many passed."""
        return sum(group.passed for group in self.groups)
