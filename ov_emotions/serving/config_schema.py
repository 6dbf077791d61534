"""The form of config.json that the server insists on: which keys there are, and of which type.

A server that finds the form broken refuses the whole file with status 412 and names a place in its
own schema; the sentences here name the place in the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ov_emotions.serving.config_findings import Finding, refused, shown

_LARGEST = 2**64 - 1


class Form(Protocol):
    """What a value must look like."""

    def check(self, value: Any, where: str) -> Iterator[Finding]:
        """Yield what is wrong with the value.

        :param value: as parsed from JSON.
        :param where: its place.
        """
        ...


@dataclass(frozen=True)
class Scalar:
    """A text, whole number, number or truth value.

    :param kinds: the allowed ones of "text", "whole number", "number" and "true or false".
    :param low: the smallest whole number.
    :param high: the largest.
    :param allowed: the texts to choose from; any if None.
    """

    kinds: tuple[str, ...]
    low: int | None = None
    high: int | None = None
    allowed: tuple[str, ...] | None = None

    def check(self, value: Any, where: str) -> Iterator[Finding]:
        """See `Form.check`."""
        kind = _kind(value)
        fits = kind in self.kinds or (kind == "whole number" and "number" in self.kinds)
        if fits and kind == "whole number":
            fits = (self.low is None or value >= self.low) and (
                self.high is None or value <= self.high
            )
        if fits and kind == "text" and self.allowed is not None:
            fits = value in self.allowed
        if not fits:
            yield refused("value", where, f"it is {shown(value)}; it must be {self._wanted()}")

    def _wanted(self) -> str:
        if self.allowed is not None:
            return "one of " + ", ".join(map(shown, self.allowed))
        wanted = "a " + " or a ".join(self.kinds).replace("a true", "true")
        wanted = wanted.replace("a true or false", "true or false")
        if self.low is not None:
            wanted += f" of at least {self.low}"
        return wanted + (f" and at most {self.high}" if self.high is not None else "")


@dataclass(frozen=True)
class Items:
    """A list.

    :param of: the form of each item.
    """

    of: Form

    def check(self, value: Any, where: str) -> Iterator[Finding]:
        """See `Form.check`."""
        if not isinstance(value, list):
            yield refused("value", where, f"it is {shown(value)}; it must be a list")
            return
        for i, item in enumerate(value):
            yield from self.of.check(item, f"{where}[{i}]")


@dataclass(frozen=True)
class Values:
    """An object whose keys are free.

    :param of: the form of each value.
    :param count: how many keys it must have; any number if None.
    """

    of: Form
    count: int | None = None

    def check(self, value: Any, where: str) -> Iterator[Finding]:
        """See `Form.check`."""
        if not isinstance(value, dict):
            yield refused("value", where, f"it is {shown(value)}; it must be an object")
            return
        if self.count is not None and len(value) != self.count:
            yield refused("value", where, f"it has {len(value)} keys; it must have {self.count}")
        for key, item in value.items():
            yield from self.of.check(item, _join(where, key))


@dataclass(frozen=True)
class Keys:
    """An object with known keys and no others.

    :param known: form by key.
    :param required: keys that must be there.
    :param gone: keys that one might expect, and why they are refused.
    :param open_ended: whether other keys may stand there.
    """

    known: Mapping[str, Form]
    required: tuple[str, ...] = ()
    gone: Mapping[str, str] = field(default_factory=dict)
    open_ended: bool = False

    def check(self, value: Any, where: str) -> Iterator[Finding]:
        """See `Form.check`."""
        if not isinstance(value, dict):
            yield refused("value", where, f"it is {shown(value)}; it must be an object")
            return
        for key in self.required:
            if key not in value:
                yield refused("key-missing", where, f"{shown(key)} is missing")
        for key, item in value.items():
            if key in self.known:
                yield from self.known[key].check(item, _join(where, key))
            elif not self.open_ended:
                yield refused("key-unknown", _join(where, key), self._unknown(key))

    def _unknown(self, key: str) -> str:
        if key in self.gone:
            return self.gone[key]
        near = difflib.get_close_matches(key, self.known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(self.known)}"
        return f"there is no such key, and the server refuses the whole file: {hint}"


@dataclass(frozen=True)
class Either:
    """A value of one of several forms.

    :param forms: by JSON type: "object", "text" and so on.
    :param wanted: what to call them together.
    """

    forms: Mapping[str, Form]
    wanted: str

    def check(self, value: Any, where: str) -> Iterator[Finding]:
        """See `Form.check`."""
        form = self.forms.get(_kind(value))
        if form is None:
            yield refused("value", where, f"it is {shown(value)}; it must be {self.wanted}")
        else:
            yield from form.check(value, where)


@dataclass(frozen=True)
class OneKey:
    """An object with exactly one of several keys.

    :param known: form by key.
    """

    known: Mapping[str, Form]

    def check(self, value: Any, where: str) -> Iterator[Finding]:
        """See `Form.check`."""
        names = ", ".join(self.known)
        if not isinstance(value, dict):
            yield refused(
                "value", where, f"it is {shown(value)}; it must be an object with one of {names}"
            )
        elif len(value) != 1 or not value.keys() <= self.known.keys():
            found = ", ".join(value) or "none"
            yield refused("value", where, f"it must have exactly one of {names}, not {found}")
        else:
            for key, item in value.items():
                yield from self.known[key].check(item, _join(where, key))


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "whole number" if -(2**63) <= value <= _LARGEST else "number"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "object" if isinstance(value, dict) else "list" if isinstance(value, list) else "null"
