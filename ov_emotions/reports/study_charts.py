"""The charts of a study: accuracy against latency, what changes, how much faster, by label."""

from __future__ import annotations

from typing import Any

from ov_emotions.quantization.study_schema import Candidate, Spread, Study
from ov_emotions.reports import charts
from ov_emotions.reports.charts import Chart
from ov_emotions.reports.language import Language
from ov_emotions.reports.study_tables import role, role_names
from ov_emotions.reports.verdict import Verdict

# Plots draw a loss of at least this as the allowed one, so that they show some depth.
_LEAST_DROP = 0.001
# A loss of more than so many times what is allowed is only pointed at, from the plot's edge.
_DEEPEST = 4.0

Ends = tuple[float, float, float]
"""A value, and the low and high end of its interval."""


class StudyCharts:
    """Draws the charts."""

    def __init__(self, study: Study, verdict: Verdict, say: Language) -> None:
        self.study, self.verdict, self.say = study, verdict, say
        self._base = study.on_choice(study.candidate(study.reference))
        self._timed = any(c.ok and c.latency for c in study.candidates)
        self._drop = max(study.max_drop, _LEAST_DROP)

    def title(self) -> str:
        """Say what the first chart shows; empty if there is none."""
        say = self.say
        if not self._measures():
            return ""
        if self._base is None:
            return say("Throughput against latency", "Скорость на потоке и на одном тексте")
        if not self._timed:
            return say("Accuracy against size", "Точность и размер")
        return say("Accuracy against latency", "Точность и скорость")

    def _measures(self) -> list[tuple[Candidate, Ends, Ends]]:
        """Give each candidate that can be placed its x and y."""
        found = []
        for candidate in self.study.candidates:
            x, y = self._across(candidate), self._up(candidate)
            if candidate.ok and x and y:
                found.append((candidate, x, y))
        return found

    def _across(self, candidate: Candidate) -> Ends | None:
        """Give the time of one text; without any timings the size."""
        if candidate.latency is not None:
            return _ends(candidate.latency.p50_ms)
        if self._timed or self._base is None or not candidate.size_bytes:
            return None
        size = candidate.size_bytes / 1e6
        return size, size, size

    def _up(self, candidate: Candidate) -> Ends | None:
        """Give weighted F1 with the interval of its change; without accuracy the throughput."""
        quality, rate = self.study.on_choice(candidate), candidate.throughput
        if self._base is None:
            return _ends(rate.texts_per_second) if rate else None
        if quality is None:
            return None
        origin, change = self._base.refitted.weighted_f1, quality.change
        return quality.refitted.weighted_f1, origin + change.low, origin + change.high

    def pareto(self) -> Chart | None:
        """Draw accuracy against latency; without accuracy throughput, without latency size."""
        study, say, measures, drop = self.study, self.say, self._measures(), self._drop
        if not measures:
            return None
        corners = _frontier(
            [(x[0], y[0]) for c, x, y in measures if c.id not in self.verdict.refused]
        )
        points: list[dict[str, Any]] = []
        for candidate, x, y in measures:
            kind = role(study, self.verdict, candidate)
            if kind == "eligible" and (x[0], y[0]) in corners:
                kind = "frontier"
            place = {"x": x[0], "x1": x[1], "x2": x[2], "y": y[0], "y1": y[1], "y2": y[2]}
            told = self._told(candidate, x[0], y[0], kind)
            points.append({"name": candidate.id, "role": kind, "told": told, **place})
        near = [p for p in points if p["role"] in ("chosen", "reference", "frontier", "eligible")]
        x_limits = _limits([p["x"] for p in near], [p["x"] for p in points], 1.35)
        y_limits = _padded([p[end] for p in near for end in ("y", "y1", "y2")])
        floor = None
        if self._base is not None:
            # What lost much more than is allowed goes to the edge.
            origin = self._base.refitted.weighted_f1
            shown = [p["y"] for p in points if p["y"] >= origin - _DEEPEST * drop]
            tops = [p["y"] for p in near] + [p["y2"] for p in near if p["role"] != "eligible"]
            y_limits = (min([*shown, origin - drop]) - 0.5 * drop, max(tops) + 0.4 * drop)
            floor = origin - study.max_drop, origin
        return charts.scatter(
            points,
            say,
            titles=self._titles(),
            roles=role_names(study, say),
            limits=(x_limits, y_limits),
            floor=floor,
            frontier=_steps(corners),
            described=f"{self.title()}. {'; '.join(point['told'] for point in points)}.",
        )

    def _titles(self) -> tuple[str, str]:
        say = self.say
        x = say("size, MB (left is smaller)", "размер, МБ (левее — меньше)")
        if self._timed:
            x = say(
                "time of one text, p50, ms (left is faster)",
                "время одного текста, p50, мс (левее — быстрее)",
            )
        if self._base is None:
            return x, say("texts/s", "текстов/с")
        return x, say("weighted F1, {}", "взвешенная F1, {}", self.study.data.choice_split)

    def _told(self, candidate: Candidate, x: float, y: float, kind: str) -> str:
        say = self.say
        parts = [f"{candidate.id}, {role_names(self.study, say)[kind]}"]
        if candidate.latency is not None:
            parts.append(say.unit(x, "ms", "мс"))
        if candidate.size_bytes:
            parts.append(say.megabytes(candidate.size_bytes))
        if quality := self.study.on_choice(candidate):
            parts.append(f"F1 {say.score(y)}: {say.change(quality.change)}")
        elif candidate.throughput is not None:
            parts.append(say.unit(y, "texts/s", "текстов/с"))
        return "\n".join(parts)

    def _row(self, candidate: Candidate, ends: Ends, told: str, kind: str = "") -> dict[str, Any]:
        """Make a row of a forest."""
        what = {"role": role(self.study, self.verdict, candidate), "kind": kind}
        where = dict(zip(("value", "low", "high"), ends, strict=True))
        name = f"{candidate.id}, {kind}" if kind else candidate.id
        return {"name": candidate.id, **where, **what, "told": f"{name}\n{told}"}

    def changes(self) -> Chart | None:
        """Draw what quantization changes in weighted F1 on the split that decides."""
        study, say, drop = self.study, self.say, self._drop
        rows = []
        for candidate in study.candidates:
            quality = study.on_choice(candidate)
            if quality is not None and candidate.id != study.reference:
                found = quality.change
                ends = found.value, found.low, found.high
                rows.append(self._row(candidate, ends, say.change(found)))
        rows.sort(key=lambda row: -row["value"])
        low = max(min((row["low"] for row in rows), default=0.0), -_DEEPEST * drop)
        high = max((row["high"] for row in rows), default=0.0)
        return charts.forest(
            rows,
            say,
            title=say("change of weighted F1", "изменение взвешенной F1"),
            zero=0.0,
            floor=-study.max_drop,
            limits=_padded([low, high, -1.3 * drop, 0.3 * drop]),
            format_="+.3f",
        )

    def ratios(self) -> Chart | None:
        """Draw how many times as fast as the reference each candidate is."""
        study, say = self.study, self.say
        one, many = say("one text", "один текст"), say("many texts", "поток")
        rows = []
        fastest = {}
        for candidate in study.candidates:
            if candidate.id == study.reference or not candidate.ok or candidate.ratios is None:
                continue
            # Candidates are sorted by throughput, or by latency where that is all there is.
            pairs = ((one, candidate.ratios.p50), (many, candidate.ratios.throughput))
            found = [(kind, spread) for kind, spread in pairs if spread is not None]
            for kind, spread in reversed(found):
                rows.append(self._row(candidate, _ends(spread), say.times(spread), kind))
                fastest[candidate.id] = found[-1][1].median
        rows.sort(key=lambda row: -fastest[row["name"]])
        ends = [row[key] for row in rows for key in ("low", "high")]
        return charts.forest(
            rows,
            say,
            title=say(
                "times as fast (log scale)", "во сколько раз быстрее (логарифмическая шкала)"
            ),
            zero=1.0,
            floor=None,
            limits=(min(0.9, *ends) / 1.05, max(1.1, *ends) * 1.05) if ends else (0.0, 1.0),
            log=True,
            format_=".1~f",
        )

    def labels(self) -> Chart | None:
        """Draw F1 by label, the reference beside the candidate that matters."""
        study, say = self.study, self.say
        if self._base is None:
            return None
        pairs = [(study.reference, self._base.refitted)]
        if self.verdict.compared and self.verdict.compared != study.reference:
            other = study.on_choice(study.candidate(self.verdict.compared))
            if other is not None:
                pairs.append((self.verdict.compared, other.refitted))
        rows = []
        for label in self._base.refitted.labels:
            russian = (study.model.label_names_ru or {}).get(label)
            name = russian if russian and say.code == "ru" else label
            for series, scoring in pairs:
                if label in scoring.labels:
                    f1 = scoring.labels[label].f1
                    low, high = scoring.intervals_95.labels.get(label, (None, None))
                    row = {"label": name, "series": series, "value": f1, "low": low, "high": high}
                    shown = say.score(f1)
                    rows.append({**row, "shown": shown, "told": f"{name}, {series}\n{shown}"})
        return charts.f1_bars(rows, say, title="F1")


def _ends(spread: Spread) -> Ends:
    return spread.median, spread.min, spread.max


def _frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other lies above and to the left of."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def _steps(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    found = corners[:1]
    for x, y in corners[1:]:
        found += [(x, found[-1][1]), (x, y)]
    return found


def _limits(near: list[float], all_: list[float], factor: float) -> tuple[float, float]:
    """Span what is near; what lies less than `factor` further out may come along."""
    top = max(near or all_)
    return _padded([min(all_), *(v for v in all_ if v <= factor * top)])


def _padded(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - air, high + air
