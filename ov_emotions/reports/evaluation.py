"""An evaluation, or a calibration, as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ov_emotions.reports import charts
from ov_emotions.reports.charts import Chart
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import Cell, Row, Table, cells, render

_MEANS = {
    "weighted_f1": ("weighted F1", "взвешенная F1"),
    "macro_f1": ("macro F1", "макро F1"),
    "micro_f1": ("micro F1", "микро F1"),
    "samples_f1": ("samples F1", "F1 по текстам"),
    "exact_match": ("exact match", "точное совпадение"),
}
_ROWS = ("row|rows", "строка|строки|строк")


@dataclass(frozen=True)
class SplitPart:
    """One model on one split.

    :param id: unique in the page.
    :param title: model and split.
    :param scores: what `evaluate` found; sections whose facts it lacks are left out.
    """

    id: str
    title: str
    scores: Mapping[str, Any]
    say: Language

    def bars(self) -> Chart:
        """Draw F1 of each annotated label."""
        say, intervals = self.say, self.scores.get("label_intervals_95", {})
        rows = [
            {
                "label": label,
                "series": "",
                "value": found["f1"],
                "low": intervals[label][0] if intervals.get(label) else None,
                "high": intervals[label][1] if intervals.get(label) else None,
                "shown": say.score(found["f1"]),
                "told": f"{label}: {say.score(found['f1'])}",
            }
            for label, found in self.scores["labels"].items()
        ]
        described = "; ".join(row["told"] for row in rows)
        return charts.f1_bars(rows, say, title="F1", described=described + ".")

    def labels(self) -> Table:
        """List precision, recall and F1 by label."""
        say = self.say
        rows = tuple(
            Row(
                cells(
                    label,
                    *(_number(found[key], say, 3) for key in ("precision", "recall", "f1")),
                    *(Cell(say.count(found[key]), found[key]) for key in ("support", "predicted")),
                )
            )
            for label, found in self.scores["labels"].items()
        )
        head = (
            say("label", "метка"),
            say("precision", "точность"),
            say("recall", "полнота"),
            "F1",
            say("rows with it", "строк с ней"),
            say("rows given it", "строк, где найдена"),
        )
        return Table(f"{self.id}-labels-table", self.title, head, rows)

    def confusion(self) -> tuple[Chart, Table] | None:
        """Show what is given in place of a missed label."""
        say = self.say
        found = self.scores.get("confusion", {})
        missed = {label: facts for label, facts in found.items() if facts["misses"]}
        if not missed:
            return None
        values = [
            [facts["given"].get(column) for column in (*found, "none")] for facts in missed.values()
        ]
        rows = [f"{label} ({say.count(facts['misses'])})" for label, facts in missed.items()]
        caption = say(
            "Given in place of a missed label: share of its misses",
            "Что найдено вместо пропущенной метки: доля её пропусков",
        )
        columns = [*found, say("none", "ничего")]
        return self._grid("confusion", caption, rows, columns, values)

    def correlation(self) -> tuple[Chart, Table] | None:
        """Show how the labels' probabilities go together."""
        if "correlation" not in self.scores:
            return None
        labels = list(self.scores["confusion"])
        caption = self.say(
            "Correlation of the labels' probabilities", "Корреляция вероятностей меток"
        )
        return self._grid("correlation", caption, labels, labels, self.scores["correlation"])

    def _grid(
        self,
        kind: str,
        caption: str,
        rows: Sequence[str],
        columns: Sequence[str],
        values: Sequence[Sequence[float | None]],
    ) -> tuple[Chart, Table]:
        say = self.say

        def write(value: float | None) -> str:
            return say.score(value, 2)

        plot = charts.heatmap(rows, columns, values, say, write=write, described=caption)
        lines = tuple(
            Row(cells(row, *(_number(value, say, 2) for value in line)))
            for row, line in zip(rows, values, strict=True)
        )
        return plot, Table(f"{self.id}-{kind}-table", caption, ("", *columns), lines)

    def worst(self) -> Table | None:
        """List the wrong decisions with the largest log-loss."""
        say, found = self.say, self.scores.get("worst")
        if not found:
            return None
        none = say("none", "ничего")
        rows = tuple(
            Row(
                cells(
                    row["text"],
                    ", ".join(row["true"]) or none,
                    ", ".join(row["predicted"]) or none,
                    ", ".join(f"{k} {say.score(v, 2)}" for k, v in _highest(row["scores"])),
                    f"{row['origin']}, {row['row']}",
                    _number(row["loss"], say, 2),
                )
            )
            for row in found
        )
        head = (
            say("text", "текст"),
            say("true", "верно"),
            say("predicted", "найдено"),
            say("highest scores", "наибольшие вероятности"),
            say("row", "строка"),
            say("loss", "потеря"),
        )
        caption = say(
            "Wrong decisions with the largest log-loss", "Неверные решения с наибольшей потерей"
        )
        return Table(f"{self.id}-worst-table", caption, head, rows, texts=5, words=True)


def render_evaluation(answer: Mapping[str, Any], language: str = "en") -> str:
    """Write an evaluation as a page.

    :param answer: what `ov-emotions evaluate` answers; sections whose facts it lacks are left out.
    :param language: en or ru.
    :return: an HTML document.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say, results = Language(language), answer["results"]
    parts = [
        SplitPart(f"m{i}-s{j}", f"{result['model']}, {split}", scores, say)
        for i, result in enumerate(results)
        for j, (split, scores) in enumerate(result["splits"].items())
    ]
    comparisons = [
        _comparison(i, pair, say) for i, pair in enumerate(answer.get("comparisons", []))
    ]
    return render(
        "evaluation.html.j2",
        say,
        title=_found(answer, say),
        lead=_lead(results, say),
        about=say("Evaluation of {}", "Оценка: {}").format(
            say.joined([result["model"] for result in results])
        ),
        skip_to="all",
        means=_means(results, say),
        comparisons=comparisons,
        parts=parts,
    )


def _found(answer: Mapping[str, Any], say: Language) -> str:
    """Say what the evaluation came to."""
    for pair in answer.get("comparisons", []):
        split, found = next(iter(pair["splits"].items()))
        entry = found["weighted_f1"]
        if entry["low"] > 0:
            told = say("{model} is better than {reference}", "{model} лучше, чем {reference}")
        elif entry["high"] < 0:
            told = say("{model} is worse than {reference}", "{model} хуже, чем {reference}")
        else:
            told = say(
                "{model} and {reference} cannot be told apart", "{model} и {reference} неотличимы"
            )
        told += say(
            " on {split}: weighted F1 differs by {change}",
            " на {split}: взвешенная F1 отличается на {change}",
        )
        change = f"{say.signed(entry['value'])} ({say.signed_range(entry['low'], entry['high'])})"
        return told.format(
            model=pair["model"], reference=pair["reference"], split=split, change=change
        )
    result = max(answer["results"], key=lambda one: _first(one)[1]["weighted_f1"])
    split, scores = _first(result)
    told = say("{} reaches a weighted F1 of {} on {}", "{}: взвешенная F1 равна {} на {}")
    return told.format(result["model"], say.score(scores["weighted_f1"]), split)


def _first(result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    split, scores = next(iter(result["splits"].items()))
    return split, scores


def _lead(results: Sequence[Mapping[str, Any]], say: Language) -> str:
    split, scores = _first(max(results, key=lambda one: _first(one)[1]["weighted_f1"]))
    f1 = {label: found["f1"] for label, found in scores["labels"].items()}
    best, worst = max(f1, key=f1.__getitem__), min(f1, key=f1.__getitem__)
    told = say(
        "On {rows} of {split} it reads {best} best (F1 {high}) and {worst} worst ({low}).",
        "На {rows} из {split} лучше всего находит «{best}» (F1 {high}), хуже всего — «{worst}» "
        "({low}).",
    ).format(
        rows=say.count(scores["rows"], "row|rows", "строке|строках|строках"),
        split=split,
        best=best,
        high=say.score(f1[best]),
        worst=worst,
        low=say.score(f1[worst]),
    )
    outputs = scores.get("outputs")
    if outputs and outputs["unparseable"]:
        told += say(
            " {} of its outputs name no label and count as none.",
            " {} её ответов не называют ни одной метки и считаются пустыми.",
        ).format(say.percent(outputs["unparseable_share"], 1))
    return told


def _number(value: float | None, say: Language, digits: int = 4) -> Cell:
    return Cell(say.score(value, digits), value)


def _means(results: Sequence[Mapping[str, Any]], say: Language) -> Table:
    rows = []
    for result in results:
        for split, scores in result["splits"].items():
            line = [Cell(f"{result['model']}, {split}"), Cell(say.count(scores["rows"]))]
            for key in _MEANS:
                ends = scores["intervals_95"].get(key)
                told = say.score(scores[key], 4)
                line.append(Cell(say.within(told, *ends) if ends else told, scores[key]))
            rows.append(Row(tuple(line)))
    head: tuple[str, ...] = (say("model and split", "модель и выборка"), say("rows", "строк"))
    caption = say(
        "Means over labels, rows and decisions, with 95 % bootstrap intervals",
        "Средние по меткам, строкам и решениям с 95-процентными интервалами бутстрепа",
    )
    return Table(
        "means", caption, (*head, *(say(*names) for names in _MEANS.values())), tuple(rows)
    )


def _comparison(number: int, pair: Mapping[str, Any], say: Language) -> Table:
    rows = []
    for split, found in pair["splits"].items():
        entries = [(say(*_MEANS[key]), found[key]) for key in ("weighted_f1", "macro_f1")]
        for label, entry in [*entries, *found["labels"].items()]:
            rows.append(
                Row(
                    cells(
                        f"{label}, {split}",
                        Cell(say.signed(entry["value"]), entry["value"]),
                        say.signed_range(entry["low"], entry["high"]),
                        _number(entry["share_not_better"], say, 3),
                    )
                )
            )
    head = (
        "F1",
        say("difference", "разница"),
        say("95 % interval", "интервал 95 %"),
        say("resamples not better", "доля выборок, где не лучше"),
    )
    caption = say(
        "F1 of {} less that of {}, paired bootstrap", "F1 {} минус F1 {}, парный бутстреп"
    ).format(pair["model"], pair["reference"])
    return Table(f"comparison-{number}", caption, head, tuple(rows))


def _highest(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])[:3]


def render_calibration(answer: Mapping[str, Any], language: str = "en") -> str:
    """Write a calibration as a page.

    :param answer: what `ov-emotions calibrate` answers.
    :param language: en or ru.
    :return: an HTML document.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say = Language(language)
    before, after = answer["before"], answer["after"]
    title, worse = _calibrated(before, after, say)
    everything = say("all labels", "все метки")
    rows = [
        {"panel": name, "when": when, "confidence": x, "frequency": y, "told": told}
        for name, sides in (
            (everything, (before["all"], after["all"])),
            *((x, (before["labels"][x], after["labels"][x])) for x in before["labels"]),
        )
        for when, side in zip((say("before", "до"), say("after", "после")), sides, strict=True)
        for x, y in zip(side["confidence"], side["frequency"], strict=True)
        for told in [f"{name}, {when}\n{say.score(x, 2)} → {say.score(y, 2)}"]
    ]
    titles = (say("probability", "вероятность"), say("share of texts", "доля текстов"))
    described = say("Reliability by label", "Надёжность по меткам")
    plot = charts.reliability(rows, say, titles=titles, described=described) if rows else None
    return render(
        "calibration.html.j2",
        say,
        title=title,
        worse=worse,
        about=say("Calibration of {}", "Калибровка: {}").format(answer["model"]),
        skip_to="all",
        answer=answer,
        errors=_errors(answer, everything, say),
        plot=plot,
    )


def _calibrated(
    before: Mapping[str, Any], after: Mapping[str, Any], say: Language
) -> tuple[str, bool]:
    """Say whether calibration helped, and whether it made things worse."""
    old, new = before["all"]["ece"], after["all"]["ece"]
    if old is None or new is None:
        return say("The calibration error is not known", "Ошибка калибровки неизвестна"), False
    loss = after["log_loss"] - before["log_loss"]
    figures = say(
        "calibration error {} before, {} after", "ошибка калибровки была {}, стала {}"
    ).format(say.score(old, 4), say.score(new, 4))
    if new < old and loss <= 0:
        return say("Calibration helped: ", "Калибровка помогла: ") + figures, False
    if new > old and loss >= 0:
        return say("Calibration made things worse: ", "Калибровка сделала хуже: ") + figures, True
    if new == old and not loss:
        return say(
            "Calibration changed nothing: ", "Калибровка ничего не изменила: "
        ) + figures, False
    return say("Calibration is a trade: ", "Калибровка дала и плюс, и минус: ") + figures, False


def _errors(answer: Mapping[str, Any], everything: str, say: Language) -> Table:
    before, after = answer["before"], answer["after"]
    lines: list[tuple[str, float | None, float | None, float | None]] = [
        (everything, None, before["all"]["ece"], after["all"]["ece"])
    ]
    for label, temperature in answer["temperatures"].items():
        pair = (before["labels"][label]["ece"], after["labels"][label]["ece"])
        lines.append((label, temperature, *pair))
    rows = tuple(
        Row(
            cells(
                name,
                Cell(NONE) if temperature is None else _number(temperature, say, 3),
                _number(old, say),
                _number(new, say),
                Cell(NONE)
                if old is None or new is None
                else Cell(say.signed(new - old), new - old),
            )
        )
        for name, temperature, old, new in lines
    )
    head = (
        say("label", "метка"),
        say("temperature", "температура"),
        say("before", "до"),
        say("after", "после"),
        say("change", "изменение"),
    )
    caption = say("Expected calibration error on {}", "Ожидаемая ошибка калибровки на {}").format(
        answer["measured_on"]
    )
    return Table("errors", caption, head, rows)


def _change(old: float | None, new: float | None, say: Language) -> Cell:
    if old is None or new is None:
        return Cell(NONE)
    return Cell(say.signed(new - old), new - old)
