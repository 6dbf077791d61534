"""Write a report: study JSON, Markdown, page and plot in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ov_emotions.bundle import Bundle, shipped
from ov_emotions.errors import DataError, OvEmotionsError
from ov_emotions.files import write_text
from ov_emotions.quantization.study_schema import parse_study
from ov_emotions.quantization.study_schema import read_study as read_typed
from ov_emotions.reports.language import Language
from ov_emotions.reports.study_page import StudyPage
from ov_emotions.reports.verdict import decide

__all__ = ["PLOT_NAME", "STUDY_NAME", "read_study", "write_report"]

STUDY_NAME = "study.json"
MARKDOWN_NAME = "report.md"
PAGE_NAME = "report.html"
PLOT_NAME = "pareto.svg"


def read_study(path: Path | str) -> dict[str, Any]:
    """Read study JSON and check that a report can be made of it.

    :param path: a file that the study wrote.
    :return: the parsed JSON.
    :raises DataError: if it cannot be read, is no study, or is newer than this library.
    """
    read_typed(path)
    return dict(json.loads(Path(path).read_text(encoding="utf-8")))


def write_report(study: Mapping[str, Any], folder: Path, language: str = "en") -> list[Path]:
    """Write a study's report.

    :param study: study JSON; a verdict in it is made anew, and in English, as the keys are.
    :param folder: is made if need be; other files in it stay, and so does a study.json that
        differs in its verdict alone.
    :param language: of Markdown, page and plot: en or ru.
    :return: the files: study.json (with the verdict), report.md, report.html, pareto.svg; each is
        written whole or not at all, and none before all are rendered.
    :raises DataError: if it is no study, or a file cannot be written.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    folder = Path(folder)
    page = StudyPage(parse_study(study), Language(language), _shipped(study))
    contents = {
        STUDY_NAME: _json({**study, "verdict": decide(study)}),
        MARKDOWN_NAME: page.markdown(PLOT_NAME),
        PAGE_NAME: page.html(),
        PLOT_NAME: page.plot(),
    }
    try:
        for name, content in contents.items():
            if name != STUDY_NAME or not _holds(folder / name, study):
                write_text(folder / name, content)
    except OSError as error:
        raise DataError(
            f"cannot write the report into {folder}: {error.strerror or error}"
        ) from error
    return [folder / name for name in contents]


def _holds(path: Path, study: Mapping[str, Any]) -> bool:
    """Tell whether a file holds the study already, whatever its verdict says."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "verdict" in found and {
        **found, "verdict": None
    } == {**study, "verdict": None}  # fmt: skip


def _shipped(study: Mapping[str, Any]) -> str | None:
    """Name the candidate that ships with this library under the model's name, if one does."""
    try:
        manifest = Bundle.load(shipped(str(study["model"]["name"]))).manifest
        recipe = manifest.provenance["quantization"]["recipe"]["name"]
    except (OvEmotionsError, KeyError, TypeError, OSError):
        return None
    return f"{recipe}/{manifest.inference_precision}"


def _json(study: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(study, ensure_ascii=False, indent=2, allow_nan=False)
        text.encode("utf-8")
    except UnicodeEncodeError:  # a text with a lone surrogate, which only an escape can hold
        text = json.dumps(study, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"the study holds a value that JSON cannot: {error}") from error
    return text + "\n"
