"""What a check of a server configuration finds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]

REFUSED_AS_JSON = 412
"""HTTP status of a reload whose file is no JSON, breaks the schema, or does not compile."""
REFUSED_PATH = 400
"""HTTP status of a reload that names a folder which is not there."""
REFUSED_MODEL = 500
"""HTTP status of a reload with a model that cannot be configured."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a configuration.

    :param severity: "error" where the server refuses, "warning" where it accepts and should not.
    :param rule: the kind of finding, for programs: a short name that stays.
    :param where: the place in the file, `model_config_list[0].config.nireq` say; empty for all of
        it.
    :param message: one sentence: what is wrong and what to do.
    :param status: the HTTP status with which a running server refuses to reload the file; None for
        a warning, or where it was not recorded.
    """

    severity: Severity
    rule: str
    where: str
    message: str
    status: int | None = None

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        # Keys and paths are the file's: no line may break and no terminal obey them.
        text = f"{self.severity}: {place}{self.message}"
        return "".join(
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
            for character in text
        )


def refused(rule: str, where: str, message: str, status: int | None = REFUSED_AS_JSON) -> Finding:
    """Make an error.

    :param rule: its short name.
    :param where: the place in the file.
    :param message: the sentence.
    :param status: of the reload.
    :return: the finding.
    """
    return Finding("error", rule, where, message, status)


def accepted(rule: str, where: str, message: str) -> Finding:
    """Make a warning: the server says nothing.

    :param rule: its short name.
    :param where: the place in the file.
    :param message: the sentence.
    :return: the finding.
    """
    return Finding("warning", rule, where, message)


def shown(value: Any) -> str:
    """Write a value as JSON, cut to a length that fits a sentence.

    :param value: anything that was parsed.
    :return: at most 60 characters.
    """
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
