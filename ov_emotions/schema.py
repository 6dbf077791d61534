"""JSON and TOML files against classes: one class writes a file and reads it back.

What a file holds is a frozen `msgspec.Struct`; what a user sets is a frozen dataclass. Both are
read here, so that a file that does not fit is told in the same words everywhere.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import operator
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ov_emotions.errors import InputError, OvEmotionsError
from ov_emotions.files import write_text

Task = Literal["multi_label", "single_label"]
InferencePrecision = Literal["f32", "bf16"]
INFERENCE_PRECISIONS: tuple[str, ...] = get_args(InferencePrecision)
LongTexts = Literal["window", "truncate"]
LabelNames = Literal["ru", "en"]
"""Words that settings use as well; here, because settings do without NumPy."""

Count = Annotated[int, msgspec.Meta(ge=1)]
"""A whole number above 0."""

DEFAULT_MODEL = "emotions-ru-small"
"""The shipped model that is taken where none is named."""

_T = TypeVar("_T")
_AT = re.compile(r" - at `\$?\.?(.*)`$")


@dataclass(frozen=True)
class Flag:
    """What a field of a settings class says to a command line, beside its type, in `Annotated`.

    :param metavar: what stands for a value in the help, where the type says too little.
    :param name: of the flag, with underscores, where the field is called otherwise.
    :param short: a one-letter flag too.
    :param positional: whether it is given without a flag.
    :param each: whether each flag takes one value, of a field of several; else it takes all that
        follow.
    """

    metavar: str = ""
    name: str = ""
    short: str = ""
    positional: bool = False
    each: bool = False


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a file holds. Fields that a reader does not know are passed over."""

    def to_json(self) -> str:
        """Return indented JSON with a final newline."""
        return to_json(self)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, as `dataclasses.replace` does for a dataclass."""
        return msgspec.structs.replace(self, **changes)


def from_builtins(value: object, kind: type[_T], where: str, error: type[OvEmotionsError]) -> _T:
    """Check plain values, as JSON or TOML give them, against a class.

    :raises OvEmotionsError: of the class given; says which key is wrong, and how.
    """
    for path, known, key in _unknown_keys(value, kind, ""):
        raise error(_unknown(where, key, known, path))
    try:
        return msgspec.convert(value, kind, dec_hook=_from_text)
    except msgspec.ValidationError as caught:
        raise error(f"{where}: {_told(caught, kind)}") from caught
    except error as caught:  # of a dataclass that checks its values
        raise error(f"{where}: {caught}") from caught


def read_json(path: Path, kind: type[_T], error: type[OvEmotionsError]) -> _T:
    """Read a JSON file as a class; see `from_builtins`."""
    strict = partial(json.loads, parse_constant=_refuse_constant)
    return _read(path, strict, "JSON", kind, error)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it has no number {name}")


def read_toml(path: Path, kind: type[_T], error: type[OvEmotionsError]) -> _T:
    """Read a TOML file as a class; see `from_builtins`."""
    return _read(path, tomllib.loads, "TOML", kind, error)


def _read(
    path: Path,
    parse: Callable[[str], Any],
    name: str,
    kind: type[_T],
    error: type[OvEmotionsError],
) -> _T:
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except OSError as caught:
        raise error(f"{path} cannot be read: {caught.strerror}") from caught
    except (ValueError, RecursionError) as caught:  # the parser's errors and those of UTF-8
        raise error(f"{path} is not valid {name}: {caught}") from caught
    return from_builtins(value, kind, str(path), error)


def check_fields(value: Any, error: type[OvEmotionsError]) -> None:
    """Check a dataclass's own values, as its fields' `Literal` and `msgspec.Meta` have them.

    For `__post_init__`: what comes from a file is checked already, what code gives is not.

    :raises OvEmotionsError: of the class given; names the field.
    """
    hints = get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):
        found = getattr(value, field.name)
        if isinstance(found, float) and math.isnan(found):
            raise error(f"{field.name} must be a number, not nan")
        try:
            msgspec.convert(to_builtins(found), hints[field.name], dec_hook=_from_text)
        except msgspec.ValidationError as caught:
            told = _told(caught, hints[field.name])
            told += "" if repr(found) in told else f", not {found!r}"
            raise error(f"{field.name}: {told}") from caught


def check_choice(name: str, value: object, kind: Any) -> None:
    """Refuse what is none of the values of a `Literal`; raises InputError."""
    if value not in get_args(kind):
        choices = " or ".join(map(repr, get_args(kind)))
        raise InputError(f"{name} must be {choices}, not {value!r}")


def check_count(name: str, value: Any) -> int:
    """Give a whole number of at least 1, NumPy's too; raise InputError for anything else."""
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    return count


def field_values(
    kind: type[Any], table: Mapping[str, Any], where: str, error: type[OvEmotionsError]
) -> dict[str, Any]:
    """Check some of a dataclass's fields, where the others come from elsewhere.

    :raises OvEmotionsError: of the class given; says which key is wrong, and how.
    """
    known = tuple(field.name for field in dataclasses.fields(kind))
    for key in table:
        if key not in known:
            raise error(_unknown(where, key, known))
    hints = get_type_hints(kind, include_extras=True)
    return {
        key: from_builtins(value, hints[key], f"{where}: {key}", error)
        for key, value in table.items()
    }


def param_texts(docstring: str) -> dict[str, str]:
    """Read the `:param name: text` entries of a docstring."""
    found = re.findall(r":param (\w+):(.*?)(?=\n\s*:|\n\s*\n|\Z)", docstring, re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def to_builtins(value: object) -> Any:
    """Turn an object into what `json.dumps` takes."""
    return msgspec.to_builtins(value, enc_hook=_to_plain)


def to_json(value: object) -> str:
    """Write an object as indented JSON with a final newline.

    :raises ValueError: if it holds a NaN or an infinity, which JSON has no word for.
    """
    return json.dumps(to_builtins(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: object) -> None:
    """Write an object to a JSON file atomically."""
    write_text(path, to_json(value))


def _unknown(where: str, key: str, known: tuple[str, ...], path: str = "") -> str:
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"it may have {', '.join(known)}"
    return f"{where}: unknown key {path + key!r}; {hint}"


def _told(error: msgspec.ValidationError, kind: Any) -> str:
    """Put the key first: msgspec tells it last, and as a path from the root."""
    text = str(error)
    at = _AT.search(text)
    path = at[1] if at else ""
    message = _AT.sub("", text).replace("`", "")
    message = message[:1].lower() + message[1:]
    if message.startswith("invalid enum value") and (names := _choices(kind, path)):
        message += f"; it must be one of {', '.join(map(str, names))}"
    return f"{path}: {message}" if path else message


def _choices(kind: Any, path: str) -> tuple[Any, ...]:
    """Find the values of the Literal at a path, which msgspec does not tell."""
    kinds = [kind]
    for part in filter(None, re.split(r"[.\[\]]+", path)):
        inner = [option for found in kinds for option in (found, *get_args(found))]
        hints = [get_type_hints(option) for option in inner if hasattr(option, "__annotations__")]
        kinds = [table[part] for table in hints if part in table] or inner
    inner = [option for found in kinds for option in (found, *get_args(found))]
    return next((get_args(o) for o in inner if get_origin(o) is Literal), ())


def _unknown_keys(
    value: object, kind: Any, path: str
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield keys that a dataclass lacks: msgspec passes over them there."""
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        known = tuple(field.name for field in dataclasses.fields(kind))
        hints = get_type_hints(kind)
        for key, item in value.items():
            if key not in known:
                yield path, known, str(key)
            else:
                yield from _unknown_keys(item, hints[key], f"{path}{key}.")
        return
    inner = [part for part in get_args(kind) if dataclasses.is_dataclass(part)]
    if inner and isinstance(value, Mapping):
        if any(isinstance(part, type) and issubclass(part, str) for part in get_args(kind)):
            for key, item in value.items():
                yield from _unknown_keys(item, inner[0], f"{path}{key}.")
        else:
            yield from _unknown_keys(value, inner[0], path)
    elif inner and isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _unknown_keys(item, inner[0], f"{path.rstrip('.')}[{i}].")


def _from_text(kind: type[Any], value: object) -> Any:
    if issubclass(kind, PurePath) and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"no value of {kind} is read from a file")


def _to_plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written to a file")
