"""A check list's result as one HTML page."""

from __future__ import annotations

from ov_emotions.evaluation.checklist import CheckListResult
from ov_emotions.reports import charts
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import render


def render_checklist(result: CheckListResult, language: str = "en") -> str:
    """Write the page: groups with their pass rates, the worst first, and every failure.

    :param language: en or ru.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say = Language(language)
    groups = sorted(result.groups, key=lambda group: group.passed / (group.lines or 1))
    names = (result.label_names_ru or {}) if say.code == "ru" else {}

    def written(labels: tuple[str, ...], between: str = ", ") -> str:
        return between.join(names.get(label, label) for label in labels) or NONE

    rates = []
    for group in groups:
        rate = group.passed / (group.lines or 1)
        shown = say.percent(rate)
        row = {"label": group.name, "series": "", "value": rate, "low": None, "high": None}
        row["shown"] = f"{shown} ({group.passed}/{group.lines})"
        rates.append({**row, "told": f"{group.name}: {shown}"})
    title = say("share of lines that pass", "доля пройденных строк")
    return render(
        "checklist.html.j2",
        say,
        result=result,
        groups=groups,
        whole=sum(group.passed == group.lines for group in groups),
        plot=charts.f1_bars(rates, say, title=title, top=1.25),
        failures=[
            (
                failure.text,
                failure.group,
                written(failure.found),
                written(failure.missing, say(" or ", " или ") if failure.any_of else ", "),
                written(failure.forbidden),
            )
            for failure in result.failures
        ],
    )
