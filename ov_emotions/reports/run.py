"""Write a report: study JSON, Markdown, page and plot in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ov_emotions.errors import DataError
from ov_emotions.files import write_text
from ov_emotions.reports.html import render_html
from ov_emotions.reports.markdown import render_markdown
from ov_emotions.reports.pareto import render_pareto_svg
from ov_emotions.reports.reading import read_study
from ov_emotions.reports.verdict import decide

__all__ = ["PLOT_NAME", "STUDY_NAME", "read_study", "write_report"]

STUDY_NAME = "study.json"
MARKDOWN_NAME = "report.md"
PAGE_NAME = "report.html"
PLOT_NAME = "pareto.svg"


def write_report(study: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a study's report.

    :param study: study JSON; a verdict in it is made anew.
    :param folder: is made if need be; other files in it stay.
    :return: the files: study.json (with the verdict), report.md, report.html, pareto.svg; each is
        written whole or not at all, and none before all are rendered.
    :raises DataError: if it is no study, or a file cannot be written.
    """
    folder = Path(folder)
    decided = {**study, "verdict": decide(study)}
    contents = {
        STUDY_NAME: _json(decided),
        MARKDOWN_NAME: render_markdown(decided, PLOT_NAME),
        PAGE_NAME: render_html(decided),
        PLOT_NAME: render_pareto_svg(decided),
    }
    try:
        for name, content in contents.items():
            write_text(folder / name, content)
    except OSError as error:
        raise DataError(
            f"cannot write the report into {folder}: {error.strerror or error}"
        ) from error
    return [folder / name for name in contents]


def _json(study: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(study, ensure_ascii=False, indent=2, allow_nan=False)
        text.encode("utf-8")
    except UnicodeEncodeError:  # a text with a lone surrogate, which only an escape can hold
        text = json.dumps(study, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"the study holds a value that JSON cannot: {error}") from error
    return text + "\n"
