"""What the configurations of all runs share: their values checked, and as plain ones for JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ov_emotions.errors import TrainingError

Ranges = tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...]
"""Names of fields, what their values must hold, and that in words."""


def check_values(config: Any, ranges: Ranges) -> None:
    """Check a configuration's literals and numbers.

    :param config: a dataclass.
    :param ranges: of its numbers.
    :raises TrainingError: if a value is none of its field's, or out of range.
    """
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal and getattr(config, name) not in get_args(hint):
            raise TrainingError(
                f"{name} must be one of {', '.join(get_args(hint))}, not {getattr(config, name)!r}"
            )
    for names, holds, range_ in ranges:
        for name in names:
            # Written so that NaN is refused too.
            if not holds(getattr(config, name)):
                raise TrainingError(f"{name} must be {range_}, not {getattr(config, name)}")


def plain_values(config: Any) -> dict[str, Any]:
    """Return a configuration's values as JSON takes them.

    :param config: a dataclass.
    :return: by field, paths as they were given.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return value.as_posix()
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return value

    return {key: plain(value) for key, value in asdict(config).items()}
