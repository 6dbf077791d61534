"""Command-line flags made from the fields of a configuration dataclass and its docstring."""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ov_emotions.cli.shared import name_text, name_value
from ov_emotions.typed_toml import param_texts


def add_config_flags(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    config: type[Any],
    positional: Sequence[str] = (),
    *,
    required: bool = True,
    leave_out: Sequence[str] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Add one flag a field.

    :param parser: gets the flags; a group of a parser does too.
    :param config: a dataclass whose fields are plain values, literals, paths, tuples of these, or
        dictionaries from names to numbers or texts.
    :param positional: required fields that are given without a flag.
    :param required: whether a field without a default must be given as a flag.
    :param leave_out: fields that the verb adds flags for itself.
    :param defaults: told instead of the dataclass's, where the verb has others.
    """
    hints = get_type_hints(config)
    texts = param_texts(config.__doc__ or "")
    for field in fields(config):
        if field.name in leave_out:
            continue
        options = _options(hints[field.name])
        told = _help(field, texts.get(field.name, ""), defaults.get(field.name, field.default))
        if field.name in positional:
            parser.add_argument(field.name, help=told, **options)
            continue
        parser.add_argument(
            _flag(field.name),
            dest=field.name,
            required=required and _required(field),
            # Not given is not passed on: the dataclass's defaults are the only ones.
            default=argparse.SUPPRESS,
            help=told,
            **options,
        )


def config_values(config: type[Any], args: argparse.Namespace) -> dict[str, Any]:
    """Collect the fields that were given.

    :param config: what was passed to `add_config_flags`.
    :param args: the parsed arguments.
    :return: keyword arguments for the dataclass.
    """
    hints = get_type_hints(config)
    given = {f.name: getattr(args, f.name) for f in fields(config) if hasattr(args, f.name)}
    containers: dict[Any, Callable[[Any], Any]] = {dict: dict, tuple: tuple}
    return {
        name: containers.get(get_origin(_bare(hints[name])), lambda value: value)(value)
        for name, value in given.items()
    }


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _help(field: Field[Any], text: str, default: Any) -> str:
    text = text.rstrip(".")
    if not _required(field) and default not in (None, (), MISSING):
        text += f" (default: {default})"
    return text.replace("%", "%%")


def _bare(hint: Any) -> Any:
    """Take `None` out of an optional type."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _options(hint: Any) -> dict[str, Any]:
    kind = _bare(hint)
    origin = get_origin(kind)
    if origin is Literal:
        return {"choices": get_args(kind)}
    if origin is dict:
        texts = get_args(kind)[1] is str
        return {
            "action": "append",
            "type": name_text if texts else name_value,
            "metavar": "NAME=TEXT" if texts else "NAME=NUMBER",
        }
    if origin is tuple:
        return {"action": "extend", "nargs": "+", **_options(get_args(kind)[0])}
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    metavars = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
    if kind not in metavars:
        raise TypeError(f"no flag can be made for a field of type {hint}")
    return {"type": kind, "metavar": metavars[kind]}
