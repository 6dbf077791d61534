"""A study's report in one folder: study JSON, Markdown, page and plot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ov_emotions.bundle import Bundle, shipped
from ov_emotions.errors import DataError, OvEmotionsError
from ov_emotions.files import write_text
from ov_emotions.quantization.study_schema import Candidate, Study, parse_study
from ov_emotions.quantization.study_schema import read_study as read_typed
from ov_emotions.reports import choice
from ov_emotions.reports.charts import alone
from ov_emotions.reports.language import Language
from ov_emotions.reports.page import render
from ov_emotions.reports.study_charts import StudyCharts
from ov_emotions.reports.study_tables import StudyTables
from ov_emotions.reports.verdict import decide, judge

__all__ = ["PLOT_NAME", "STUDY_NAME", "read_study", "write_report"]

STUDY_NAME = "study.json"
MARKDOWN_NAME = "report.md"
PAGE_NAME = "report.html"
PLOT_NAME = "pareto.svg"

Facts = list[tuple[str, str]]


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
    folder, parsed, say = Path(folder), parse_study(study), Language(language)
    values = _shown(parsed, say, _shipped(study))
    contents = {
        STUDY_NAME: _json({**study, "verdict": decide(study)}),
        MARKDOWN_NAME: render("report.md.j2", say, **values),
        PAGE_NAME: render("report.html.j2", say, **values),
        PLOT_NAME: _plot(values["charts"], say),
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


def _shown(study: Study, say: Language, shipped_id: str | None) -> dict[str, Any]:
    """Give what the page and the Markdown show."""
    verdict = judge(study, say, shipped_id)
    return {
        "study": study,
        "verdict": verdict,
        "names": [candidate.id for candidate in study.candidates],
        "tables": StudyTables(study, verdict, say),
        "charts": StudyCharts(study, verdict, say),
        "base": study.on_choice(study.candidate(study.reference)),
        "limits": choice,
        "recipes": _recipes(study, say),
        "plain": _plain,
        "facts": _facts(study, say),
        "seeds": [
            f"{k.replace('_', ' ')} {v}" for k, v in study.settings.items() if k.endswith("seed")
        ],
    }


def _plot(charts: StudyCharts, say: Language) -> str:
    """Draw the Pareto plot as a file, for light and dark surroundings."""
    chart = charts.pareto()
    if chart is not None:
        return alone(chart.wide)
    told = say(
        "Nothing was measured that could be plotted.", "Не измерено ничего, что можно показать."
    )
    text = f'<text x="16" y="34" fill="var(--ink)" font-family="sans-serif">{told}</text>'
    return alone(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" '
        f'width="820" height="56" viewBox="0 0 820 56">{text}</svg>'
    )


def _facts(study: Study, say: Language) -> Facts:
    """List what the figures depend on: model, data, machine, versions, settings."""
    model, data = study.model, study.data
    pairs: list[tuple[str, Any]] = [
        (say("model", "модель"), model.name),
        (say("checkpoint", "чекпойнт"), model.checkpoint),
        (say("weights, SHA-256", "веса, SHA-256"), model.weights_sha256),
        (
            say("parameters", "параметров"),
            None if model.parameters is None else say.count(model.parameters),
        ),
        (say("data manifest, SHA-256", "манифест данных, SHA-256"), data.manifest_sha256),
        (say("data seed", "зерно данных"), data.seed),
        *((key.replace("_", " "), value) for key, value in (study.machine or {}).items()),
        *((study.versions or {}).items()),
        *((key.replace("_", " "), value) for key, value in study.settings.items()),
    ]
    return [(key, _plain(value)) for key, value in pairs if value not in (None, "", [], {})]


def _plain(value: Any) -> str:
    """Write a free value of the JSON in a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ", ".join(
            f"{str(key).replace('_', ' ')}: {_plain(item)}" for key, item in value.items()
        )
    return json.dumps(value)


def _recipes(study: Study, say: Language) -> list[tuple[Candidate, Facts]]:
    """List how each quantized model was made; precisions of one recipe are one entry."""
    seen, found = set(), []
    for candidate in study.candidates:
        key = candidate.recipe or candidate.id
        if candidate.quantization is not None and key not in seen:
            seen.add(key)
            found.append((candidate, list(_recipe_facts(candidate.quantization, say))))
    return found


def _recipe_facts(made: Mapping[str, Any], say: Language) -> Iterator[tuple[str, str]]:
    """Write the free facts in a flat list; what is said twice is written once."""
    seen: dict[str, str] = {}
    # What stands outermost first: it has the short name where two share one.
    for path, value in sorted(_leaves(made, ()), key=lambda leaf: len(leaf[0])):
        key = path[-1]
        name = say("time", "время") if key == "seconds" else key.replace("_", " ")
        text = _recipe_value(key, value, say)
        if not text or seen.get(name) == text:
            continue
        name = " ".join(path).replace("_", " ") if name in seen else name
        seen[name] = text
        yield name, text


def _leaves(
    made: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in made.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, str(key)))
        elif key not in ("name", "description"):  # they are the entry's title
            yield (*path, str(key)), value


def _recipe_value(key: str, value: Any, say: Language) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key == "seconds":
            return say.duration(value)
        if key == "final_drop":
            return say.number(value, 4)
    if key == "reverted_operations" and isinstance(value, list | tuple):
        return f"{len(value)}: {_plain(value)}" if value else "0"
    return "" if value is None else _plain(value)
