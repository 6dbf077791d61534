"""Checks of what callers give to a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ov_emotions.errors import InputError
from ov_emotions.manifest import is_threshold


def check_count(name: str, value: int) -> int:
    """Check a whole number of at least 1.

    :param name: of the argument.
    :param value: what was given.
    :return: the number.
    :raises InputError: if it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def merge_thresholds(
    ours: Mapping[str, float], given: Mapping[str, float] | None
) -> dict[str, float]:
    """Put a caller's thresholds in the place of the model's.

    :param ours: the model's, by label.
    :param given: the caller's, by label.
    :return: all, in the order of the model's.
    :raises InputError: if one names no label of the model or is no threshold.
    """
    merged = dict(ours)
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"thresholds must map labels to probabilities, not be a {kind(given)}")
    for label, value in (given or {}).items():
        if label not in ours:
            raise InputError(
                f"thresholds name {label!r}, which the model lacks; it has {', '.join(ours)}"
            )
        if not is_threshold(value):
            raise InputError(f"the threshold of {label} must lie in (0, 1), not be {value!r}")
        merged[label] = float(value)
    return merged


def kind(value: object) -> str:
    """Name the type of a value for a message.

    :param value: anything.
    :return: the name.
    """
    if isinstance(value, float) and value != value:
        return "float (NaN, a missing value)"
    return type(value).__name__


def not_a_text(position: int, value: object) -> InputError:
    """Make the error for an item that should be a text.

    :param position: of the item.
    :param value: the item.
    :return: the error to raise.
    """
    return InputError(f"the item at position {position} is a {kind(value)}, not a text (str)")


def as_texts(texts: Any) -> Sequence[str]:
    """Check what a caller gave as several texts.

    :param texts: a list, tuple, array or column.
    :return: the texts.
    :raises InputError: if it is nothing of the kind, or an item is not a text.
    """
    if not isinstance(texts, list | tuple):
        tolist = getattr(texts, "tolist", None)  # numpy arrays and pandas columns
        listed = tolist() if callable(tolist) else texts
        if isinstance(listed, Iterator):
            raise InputError("an iterator cannot be classified at once; use stream(), or a list")
        if isinstance(listed, str | bytes | bytearray) or not isinstance(listed, Sequence):
            raise InputError(f"a list of texts is expected, not a {kind(texts)}")
        texts = listed
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise not_a_text(position, text)
    checked: Sequence[str] = texts
    return checked
