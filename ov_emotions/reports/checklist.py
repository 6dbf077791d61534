"""A check list's result as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from ov_emotions.evaluation.checklist import CheckListResult, Failure, Group
from ov_emotions.reports import charts
from ov_emotions.reports.charts import Chart
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import Cell, Row, Table, cells, render


def render_checklist(result: CheckListResult, language: str = "en") -> str:
    """Write the page: groups with their pass rates, the worst first, and every failure.

    :param result: of one model.
    :param language: en or ru.
    :return: an HTML document.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say = Language(language)
    groups = sorted(result.groups, key=lambda group: group.passed / (group.lines or 1))
    about = say("Check list {}: {}", "Список проверок {}: {}").format(result.file, result.model)
    return render(
        "checklist.html.j2",
        say,
        title=_found(result, say),
        lead=_lead(groups, say),
        about=about,
        skip_to="failures",
        plot=_plot(groups, say),
        failures=_failures(result, say),
    )


def _found(result: CheckListResult, say: Language) -> str:
    told = say("{} passes {} of {} ({})", "{} проходит {} из {} ({})")
    lines = say.count(result.lines, "line|lines", "строки|строк|строк")
    share = say.percent(result.passed / (result.lines or 1), 1)
    return told.format(result.model, say.count(result.passed), lines, share)


def _lead(groups: Sequence[Group], say: Language) -> str:
    whole = sum(group.passed == group.lines for group in groups)
    told = say("{} of {} pass whole.", "Целиком пройдено {} из {}.").format(
        say.count(whole), say.count(len(groups), "group|groups", "группы|групп|групп")
    )
    if groups and groups[0].passed < groups[0].lines:
        worst = groups[0]
        told += say(" The worst is “{}”: {} of {}.", " Хуже всего «{}»: {} из {}.").format(
            worst.name, say.count(worst.passed), say.count(worst.lines)
        )
    return told


def _plot(groups: Sequence[Group], say: Language) -> Chart | None:
    rows = [
        {
            "label": group.name,
            "series": "",
            "value": rate,
            "low": None,
            "high": None,
            "shown": f"{say.percent(rate)} ({group.passed}/{group.lines})",
            "told": f"{group.name}: {say.percent(rate)}",
        }
        for group in groups
        for rate in [group.passed / (group.lines or 1)]
    ]
    if not rows:
        return None
    described = "; ".join(str(row["told"]) for row in rows)
    title = say("share of lines that pass", "доля пройденных строк")
    return charts.f1_bars(rows, say, title=title, described=described + ".", top=1.25)


def _failures(result: CheckListResult, say: Language) -> Table | None:
    names = (result.label_names_ru or {}) if say.code == "ru" else {}

    def written(labels: Sequence[str], between: str = ", ") -> str:
        return between.join(names.get(label, label) for label in labels) or NONE

    def must(failure: Failure) -> str:
        between = say(" or ", " или ") if failure.any_of else ", "
        return written(failure.missing, between)

    rows = tuple(
        Row(
            cells(
                failure.text,
                failure.group,
                Cell(written(failure.found)),
                must(failure),
                written(failure.forbidden),
            )
        )
        for failure in result.failures
    )
    head = (
        say("line", "строка"),
        say("group", "группа"),
        say("found", "найдено"),
        say("must be found", "должно быть"),
        say("must not be found", "быть не должно"),
    )
    caption = say("Lines that fail", "Непройденные строки")
    return Table("failures-table", caption, head, rows, texts=5, words=True) if rows else None
