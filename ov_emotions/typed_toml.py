"""TOML tables against dataclasses: every key known, every value of its field's type."""

from __future__ import annotations

import difflib
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ov_emotions.errors import OvEmotionsError

_T = TypeVar("_T")
_KINDS: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a text",
}


def read_toml(path: Path, what: str, error: type[OvEmotionsError]) -> dict[str, Any]:
    """Read a TOML file.

    :param path: the file.
    :param what: it is called this in the message.
    :param error: what is raised.
    :return: its table.
    :raises OvEmotionsError: of the kind given, if it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as caught:
        raise error(f"{what} {path} cannot be read: {caught}") from caught


def typed_values(
    kind: type[Any], table: Mapping[str, Any], where: str, error: type[OvEmotionsError]
) -> dict[str, Any]:
    """Check a table against a dataclass's fields.

    :param kind: a dataclass whose fields are plain values, literals, paths, tuples and
        dictionaries of these, or dataclasses.
    :param table: as TOML has it.
    :param where: names the table in messages.
    :param error: what is raised.
    :return: the values, as the dataclass takes them.
    :raises OvEmotionsError: of the kind given, for a key that is unknown, with the nearest known
        one, and for a value of the wrong type.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise error(f"{where}: unknown key {key!r}; {hint}")
    return {
        key: _value(hints[key], value, f"{where}: {key}", error) for key, value in table.items()
    }


def build(kind: type[_T], table: Mapping[str, Any], where: str, error: type[OvEmotionsError]) -> _T:
    """Make a dataclass of a table.

    :param kind: see `typed_values`.
    :param table: as TOML has it.
    :param where: names the table in messages.
    :param error: what is raised, and what the dataclass raises for a value out of range.
    :return: the dataclass.
    :raises OvEmotionsError: of the kind given, as `typed_values` does, and for a missing key.
    """
    values = typed_values(kind, table, where, error)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.default is MISSING and field.name not in table:
            raise error(f"{where}: {field.name} is missing")
    try:
        return kind(**values)
    except error as caught:
        raise error(f"{where}: {caught}") from caught


def _value(hint: Any, value: Any, where: str, error: type[OvEmotionsError]) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(option for option in get_args(hint) if option is not type(None))
    if hasattr(hint, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise error(f"{where} must be a table, not {value!r}")
        return build(hint, value, where, error)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise error(f"{where} must be a list, not {value!r}")
        return tuple(_value(get_args(hint)[0], item, where, error) for item in value)
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise error(f"{where} must be a table, not {value!r}")
        return {k: _value(get_args(hint)[1], v, f"{where}.{k}", error) for k, v in value.items()}
    kind = type(get_args(hint)[0]) if get_origin(hint) is Literal else hint
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not (str if kind is Path else kind):
        raise error(f"{where} must be {_KINDS[kind]}, not {value!r}")
    return Path(value) if kind is Path else value


def param_texts(docstring: str) -> dict[str, str]:
    """Read the `:param name: text` entries of a docstring.

    :param docstring: of a class or function.
    :return: the text of each parameter on one line.
    """
    found = re.findall(r":param (\w+):(.*?)(?=\n\s*:|\n\s*\n|\Z)", docstring, re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}
