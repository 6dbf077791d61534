"""The JSON file that says what a trained folder is; read without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ov_emotions.errors import CheckpointError
from ov_emotions.files import best_inside


def read_facts(path: Path, what: str, schema: int, needed: Sequence[str]) -> dict[str, Any]:
    """Read and check the facts of a folder.

    :param path: the file in it.
    :param what: what its folder should be.
    :param schema: that this library reads.
    :param needed: keys that must be there.
    :return: the facts; their values are not checked.
    :raises CheckpointError: if it is missing, malformed, of another schema, or lacks a key.
    """
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        hint = best_inside(path.parent)
        raise CheckpointError(f"{path.parent} is not {what}: {error}{hint}") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    if facts.get("schema") != schema:
        raise CheckpointError(f"{path} has schema {facts.get('schema')}, not {schema}")
    if missing := [key for key in needed if key not in facts]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; train again")
    return facts
