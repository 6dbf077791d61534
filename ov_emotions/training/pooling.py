"""How the states of a text's tokens become one vector, and what a head may do to it."""

from __future__ import annotations

from typing import Literal

Pooling = Literal["cls", "mean", "cls+mean"]
Activation = Literal["relu", "gelu", "tanh", "silu", "leaky_relu", "elu"]
