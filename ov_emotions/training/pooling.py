"""How the states of a text's tokens become one vector."""

from __future__ import annotations

from typing import Literal

Pooling = Literal["cls", "mean", "cls+mean"]
POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "cls+mean")
