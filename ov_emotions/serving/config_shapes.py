"""`shape` and `layout`: what a server reads in them, and what it makes of the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ov_emotions.serving.config_findings import (
    REFUSED_MODEL,
    Finding,
    accepted,
    refused,
    shown,
)

_DIMENSION = r"\s*(-1|\d+|\d+:\d+)\s*"
_SHAPE = re.compile(rf"\(({_DIMENSION}(,{_DIMENSION})*)?\)")
_LAYOUT = re.compile(r"[NCHWD.?]*(:[NCHWD.?]*)?")


def check_shape(shape: str | Mapping[str, str] | None, where: str) -> Iterator[Finding]:
    """Check the well-formed value of `shape`: every use of it deserves a word.

    :param shape: one text for all inputs, or one by input.
    :param where: its place.
    :return: yields the findings.
    """
    if isinstance(shape, str):
        yield _check_one(shape, where)
    elif shape is not None:
        for name, text in shape.items():
            yield _check_one(text, f"{where}.{name}")


def _check_one(text: str, where: str) -> Finding:
    if text == "auto":
        return accepted(
            "shape",
            where,
            '"auto" is deprecated and loads the model anew at every new shape; leave it out',
        )
    if not _SHAPE.fullmatch(text):
        return accepted(
            "shape-ignored",
            where,
            f"{shown(text)} is no shape: the server ignores it; leave it out, or write (-1,-1)",
        )
    return accepted(
        "shape",
        where,
        f"the model takes any shape, and with {text} refuses the others; leave it out",
    )


def check_layout(layout: str | Mapping[str, str] | None, where: str) -> Iterator[Finding]:
    """Check the well-formed value of `layout`.

    :param layout: one text for all tensors, an object in a text, or one text by tensor.
    :param where: its place.
    :return: yields the findings.
    """
    named = _named(layout)
    if named is None:
        yield refused("layout", where, f"{shown(layout)} is no layout; leave it out", REFUSED_MODEL)
        return
    for name, text in named.items():
        plain = text.replace(" ", "").upper() if isinstance(text, str) else "no text"
        if not _LAYOUT.fullmatch(plain):
            yield refused(
                "layout",
                f"{where}.{name}" if name else where,
                f"{shown(text)} is no layout: it is made of N, C, H, W, D, ? and ..., with at most "
                "one colon; leave it out",
                REFUSED_MODEL,
            )


def _named(layout: str | Mapping[str, str] | None) -> Mapping[str, Any] | None:
    if layout is None:
        return {}
    if not isinstance(layout, str):
        return layout
    if not layout.lstrip().startswith("{"):
        return {"": layout}
    try:
        parsed = json.loads(layout)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
