"""An evaluation, or a calibration, as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ov_emotions.reports import charts
from ov_emotions.reports.charts import Chart
from ov_emotions.reports.language import Language
from ov_emotions.reports.page import Cell, figure, render

_MEANS = ("weighted_f1", "macro_f1", "micro_f1", "samples_f1", "exact_match")

Rows = list[tuple[str | Cell, ...]]


def render_evaluation(answer: Mapping[str, Any], language: str = "en") -> str:
    """Write an evaluation as a page.

    :param answer: what `ov-emotions evaluate` answers; sections whose facts it lacks are left out.
    :param language: en or ru.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say, results = Language(language), answer["results"]
    comparisons = answer.get("comparisons", [])
    best = max(results, key=lambda one: _first(one)[1]["weighted_f1"])
    split, scores = _first(best)
    f1 = {label: found["f1"] for label, found in scores["labels"].items()}
    return render(
        "evaluation.html.j2",
        say,
        best_model=best["model"],
        models=[result["model"] for result in results],
        split=split,
        scores=scores,
        f1=f1,
        best=max(f1, key=f1.__getitem__),
        worst=min(f1, key=f1.__getitem__),
        means=_means(results, say),
        comparisons=[(pair, _first(pair), _comparison(pair, say)) for pair in comparisons],
        parts=[
            (f"m{i}-s{j}", f"{result['model']}, {split}", _Split(scores, say))
            for i, result in enumerate(results)
            for j, (split, scores) in enumerate(result["splits"].items())
        ],
    )


def _first(result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    split, scores = next(iter(result["splits"].items()))
    return split, scores


def _means(results: Sequence[Mapping[str, Any]], say: Language) -> Rows:
    def mean(scores: Mapping[str, Any], key: str) -> Cell:
        ends, told = scores["intervals_95"].get(key), say.score(scores[key], 4)
        return Cell(say.within(told, *ends) if ends else told, scores[key])

    return [
        (
            f"{result['model']}, {split}",
            say.count(scores["rows"]),
            *(mean(scores, key) for key in _MEANS),
        )
        for result in results
        for split, scores in result["splits"].items()
    ]


def _comparison(pair: Mapping[str, Any], say: Language) -> Rows:
    means = say.names("weighted F1|macro F1", "взвешенная F1|макро F1")
    return [
        (
            f"{label}, {split}",
            figure(say.signed, entry["value"]),
            say.signed_range(entry["low"], entry["high"]),
            figure(say.score, entry["share_not_better"]),
        )
        for split, found in pair["splits"].items()
        for label, entry in [
            *zip(means, (found["weighted_f1"], found["macro_f1"]), strict=True),
            *found["labels"].items(),
        ]
    ]


class _Split:
    """One model on one split: charts, and the rows of tables.

    :param scores: what `evaluate` found; what it lacks is None.
    """

    def __init__(self, scores: Mapping[str, Any], say: Language) -> None:
        self.scores, self.say = scores, say

    def bars(self) -> Chart | None:
        intervals = self.scores.get("label_intervals_95", {})
        rows = []
        for label, found in self.scores["labels"].items():
            shown = self.say.score(found["f1"])
            low, high = intervals.get(label) or (None, None)
            row = {"label": label, "series": "", "value": found["f1"], "low": low, "high": high}
            rows.append({**row, "shown": shown, "told": f"{label}: {shown}"})
        return charts.f1_bars(rows, self.say, title="F1")

    def labels(self) -> Rows:
        say = self.say
        return [
            (
                label,
                *(figure(say.score, found[key]) for key in ("precision", "recall", "f1")),
                *(figure(say.count, found[key]) for key in ("support", "predicted")),
            )
            for label, found in self.scores["labels"].items()
        ]

    def confusion(self) -> tuple[list[str], Sequence[str], list[list[float | None]]] | None:
        """Give what was found in place of a missed label: rows, columns and shares."""
        found = self.scores.get("confusion", {})
        missed = {label: facts for label, facts in found.items() if facts["misses"]}
        rows = [f"{label} ({self.say.count(facts['misses'])})" for label, facts in missed.items()]
        values = [[facts["given"].get(x) for x in (*found, "none")] for facts in missed.values()]
        return (rows, [*found, self.say("none", "ничего")], values) if missed else None

    def correlation(self) -> tuple[list[str], Sequence[str], list[list[float | None]]] | None:
        """Give how the labels' probabilities go together, as `confusion` does."""
        if "correlation" not in self.scores:
            return None
        labels = list(self.scores["confusion"])
        return labels, labels, self.scores["correlation"]

    def heatmap(
        self,
        rows: Sequence[str],
        columns: Sequence[str],
        values: Sequence[Sequence[float | None]],
        described: str,
    ) -> Chart:
        return charts.heatmap(
            rows, columns, values, self.say, write=self._coefficient, described=described
        )

    def grid(self, rows: Sequence[str], values: Sequence[Sequence[float | None]]) -> Rows:
        return [
            (row, *(figure(self._coefficient, value) for value in line))
            for row, line in zip(rows, values, strict=True)
        ]

    def _coefficient(self, value: float | None) -> str:
        return self.say.score(value, 2)

    def worst(self) -> Rows:
        """Give the wrong decisions with the largest log-loss."""
        say = self.say
        none = say("none", "ничего")

        def highest(scores: Mapping[str, float]) -> str:
            ordered = sorted(scores.items(), key=lambda item: -item[1])[:3]
            return ", ".join(f"{label} {say.score(score, 2)}" for label, score in ordered)

        return [
            (
                row["text"],
                ", ".join(row["true"]) or none,
                ", ".join(row["predicted"]) or none,
                highest(row["scores"]),
                f"{row['origin']}, {row['row']}",
                figure(say.score, row["loss"], 2),
            )
            for row in self.scores.get("worst") or ()
        ]


def render_calibration(answer: Mapping[str, Any], language: str = "en") -> str:
    """Write a calibration as a page.

    :param answer: what `ov-emotions calibrate` answers.
    :param language: en or ru.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say = Language(language)
    before, after = answer["before"], answer["after"]
    everything = say("all labels", "все метки")
    temperatures = {everything: None, **answer["temperatures"]}
    befores = {everything: before["all"], **before["labels"]}
    afters = {everything: after["all"], **after["labels"]}
    points = [
        {
            "panel": name,
            "when": when,
            "confidence": x,
            "frequency": y,
            "told": f"{name}, {when}\n{say.score(x, 2)} → {say.score(y, 2)}",
        }
        for name in befores
        for when, sides in zip(
            say.names("before|after", "до|после"), (befores, afters), strict=True
        )
        for x, y in zip(sides[name]["confidence"], sides[name]["frequency"], strict=True)
    ]
    errors = []
    for name, temperature in temperatures.items():
        old, new = befores[name]["ece"], afters[name]["ece"]
        change = None if old is None or new is None else new - old
        line = (figure(say.score, old, 4), figure(say.score, new, 4), figure(say.signed, change))
        errors.append((name, figure(say.score, temperature), *line))
    titles = (say("probability", "вероятность"), say("share of texts", "доля текстов"))
    described = say("Reliability by label", "Надёжность по меткам")
    return render(
        "calibration.html.j2",
        say,
        answer=answer,
        errors=errors,
        plot=charts.reliability(points, say, titles=titles, described=described),
    )
