"""Optional dependencies: imported where they are used, with one clear sentence when absent."""

from __future__ import annotations

import importlib
from typing import Any

from ov_emotions.errors import MissingExtraError


def require(module: str, *, extra: str) -> Any:
    """Import a module that an extra brings.

    :param module: dotted name.
    :param extra: the extra of this package that installs it.
    :return: the module.
    :raises MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingExtraError(
            f"this needs {missing}, which is not installed: pip install 'ov-emotions[{extra}]'"
        ) from error
