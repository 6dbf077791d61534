"""The charts of a study: accuracy against latency, what changes, how much faster, by label."""

from __future__ import annotations

from dataclasses import dataclass

from ov_emotions.evaluation.results import Interval
from ov_emotions.quantization.study_schema import Candidate, Study
from ov_emotions.reports import charts
from ov_emotions.reports.charts import Chart, Point
from ov_emotions.reports.language import Language
from ov_emotions.reports.study_tables import role, role_names
from ov_emotions.reports.verdict import Verdict, change, times

# Plots draw a loss of at least this as the allowed one, so that they show some depth.
_LEAST_DROP = 0.001
# A loss of more than so many times what is allowed is only pointed at, from the plot's edge.
_DEEPEST = 4.0


@dataclass(frozen=True)
class StudyCharts:
    """Draws the charts.

    :param study: the study.
    :param verdict: its verdict.
    :param say: the language.
    """

    study: Study
    verdict: Verdict
    say: Language

    def title(self) -> str:
        """Say what the first chart shows; empty if there is none."""
        say = self.say
        measures = self._measures()
        if measures is None:
            return ""
        if not self._scored():
            return say("Throughput against latency", "Скорость на потоке и на одном тексте")
        if not any(c.ok and c.latency for c in self.study.candidates):
            return say("Accuracy against size", "Точность и размер")
        return say("Accuracy against latency", "Точность и скорость")

    def _scored(self) -> bool:
        return self.study.on_choice(self.study.candidate(self.study.reference)) is not None

    def _measures(self) -> list[tuple[Candidate, Interval, Interval]] | None:
        """Give each candidate that can be placed its x and y; None if there is none."""
        study = self.study
        timed = any(c.ok and c.latency for c in study.candidates)
        base = study.on_choice(study.candidate(study.reference))
        found = []
        for candidate in study.candidates:
            if not candidate.ok:
                continue
            quality, rate = study.on_choice(candidate), candidate.throughput
            if base is not None and quality is not None:
                difference = quality.refitted.difference.weighted_f1
                origin = base.refitted.weighted_f1
                y = Interval(
                    value=quality.refitted.weighted_f1,
                    low=origin + difference.low,
                    high=origin + difference.high,
                )
            elif base is None and rate is not None:
                spread = rate.texts_per_second
                y = Interval(value=spread.median, low=spread.min, high=spread.max)
            else:
                continue
            if candidate.latency is not None:
                p50 = candidate.latency.p50_ms
                x = Interval(value=p50.median, low=p50.min, high=p50.max)
            elif not timed and base is not None and candidate.size_bytes:
                size = candidate.size_bytes / 1e6
                x = Interval(value=size, low=size, high=size)
            else:
                continue
            found.append((candidate, x, y))
        return found or None

    def pareto(self) -> Chart | None:
        """Draw accuracy against latency; without accuracy throughput, without latency size."""
        measures = self._measures()
        if measures is None:
            return None
        study, say = self.study, self.say
        allowed = [(x, y) for c, x, y in measures if c.id not in self.verdict.refused]
        corners = _frontier(allowed)
        base = study.on_choice(study.candidate(study.reference))
        drop = max(study.max_drop, _LEAST_DROP)
        origin = base.refitted.weighted_f1 if base else None
        points = []
        for candidate, x, y in measures:
            kind = role(study, self.verdict, candidate)
            if kind == "eligible" and (x.value, y.value) in corners:
                kind = "frontier"
            told = self._told(candidate, x, y, kind)
            ends = (y.value, y.low, y.high)
            points.append(Point(candidate.id, kind, (x.value, x.low, x.high), ends, told))
        near = [p for p in points if p.role in ("chosen", "reference", "frontier", "eligible")]
        x_limits = _limits([p.x[0] for p in near], [p.x[0] for p in points], 1.35)
        y_limits = _padded([p.y[i] for p in near for i in range(3)])
        if origin is not None:
            # What lost much more than is allowed goes to the edge.
            shown = [p.y[0] for p in points if p.y[0] >= origin - _DEEPEST * drop]
            lowest = min([*shown, origin - drop]) - 0.5 * drop
            tops = [p.y[0] for p in near] + [p.y[2] for p in near if p.role != "eligible"]
            y_limits = (lowest, max(tops) + 0.4 * drop)
        titles = self._titles()
        described = "; ".join(point.told for point in points)
        return charts.scatter(
            points,
            say,
            titles=titles,
            roles=role_names(study, say),
            limits=(x_limits, y_limits),
            floor=None if origin is None else (origin - study.max_drop, origin),
            frontier=_steps(corners),
            described=f"{self.title()}. {described}.",
        )

    def _titles(self) -> tuple[str, str]:
        say = self.say
        timed = any(c.ok and c.latency for c in self.study.candidates)
        x = (
            say(
                "time of one text, p50, ms (left is faster)",
                "время одного текста, p50, мс (левее — быстрее)",
            )
            if timed
            else say("size, MB (left is smaller)", "размер, МБ (левее — меньше)")
        )  # fmt: skip
        if self._scored():
            return x, say("weighted F1, {}", "взвешенная F1, {}").format(
                self.study.data.choice_split
            )
        return x, say("texts/s", "текстов/с")

    def _told(self, candidate: Candidate, x: Interval, y: Interval, kind: str) -> str:
        say = self.say
        parts = [f"{candidate.id}, {role_names(self.study, say)[kind]}"]
        if candidate.latency is not None:
            parts.append(say.unit(x.value, "ms", "мс"))
        if candidate.size_bytes:
            parts.append(say.megabytes(candidate.size_bytes))
        if quality := self.study.on_choice(candidate):
            shown = change(quality.refitted.difference.weighted_f1, say)
            parts.append(f"F1 {say.score(y.value)}: {shown}")
        elif candidate.throughput is not None:
            parts.append(say.unit(y.value, "texts/s", "текстов/с"))
        return "\n".join(parts)

    def changes(self) -> Chart | None:
        """Draw what quantization changes in weighted F1 on the split that decides."""
        study, say = self.study, self.say
        rows = []
        for candidate in study.candidates:
            quality = study.on_choice(candidate)
            if quality is None or candidate.id == study.reference:
                continue
            found = quality.refitted.difference.weighted_f1
            rows.append(
                {
                    "name": candidate.id,
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "role": role(study, self.verdict, candidate),
                    "kind": "",
                    "told": f"{candidate.id}\n{change(found, say)}",
                }
            )
        if not rows:
            return None
        rows.sort(key=lambda row: -float(row["value"]))  # type: ignore[arg-type]
        drop = max(study.max_drop, _LEAST_DROP)
        low = max(min(float(row["low"]) for row in rows), -_DEEPEST * drop)  # type: ignore[arg-type]
        high = max(float(row["high"]) for row in rows)  # type: ignore[arg-type]
        return charts.forest(
            rows,
            say,
            title=say("change of weighted F1", "изменение взвешенной F1"),
            zero=0.0,
            floor=-study.max_drop,
            limits=_padded([low, high, -1.3 * drop, 0.3 * drop]),
            format_="+.3f",
            described="; ".join(str(row["told"]).replace("\n", ": ") for row in rows) + ".",
        )

    def ratios(self) -> Chart | None:
        """Draw how many times as fast as the reference each candidate is."""
        study, say = self.study, self.say
        one, many = say("one text", "один текст"), say("many texts", "поток")
        rows = []
        for candidate in study.candidates:
            if candidate.id == study.reference or not candidate.ok or candidate.ratios is None:
                continue
            pairs = ((many, candidate.ratios.throughput), (one, candidate.ratios.p50))
            for kind, spread in pairs:
                if spread is not None:
                    rows.append(
                        {
                            "name": candidate.id,
                            "value": spread.median,
                            "low": spread.min,
                            "high": spread.max,
                            "role": role(study, self.verdict, candidate),
                            "kind": kind,
                            "told": f"{candidate.id}, {kind}\n{times(spread, say)}",
                        }
                    )
        if not rows:
            return None
        fastest: dict[object, float] = {}
        for row in rows:
            if row["kind"] == many or row["name"] not in fastest:
                fastest[row["name"]] = float(row["value"])  # type: ignore[arg-type]
        rows.sort(key=lambda row: -fastest[row["name"]])
        ends = [float(row[key]) for row in rows for key in ("low", "high")]  # type: ignore[arg-type]
        return charts.forest(
            rows,
            say,
            title=say(
                "times as fast (log scale)", "во сколько раз быстрее (логарифмическая шкала)"
            ),
            zero=1.0,
            floor=None,
            limits=(min(0.9, *ends) / 1.05, max(1.1, *ends) * 1.05),
            log=True,
            format_=".1~f",
            described="; ".join(str(row["told"]).replace("\n", ": ") for row in rows) + ".",
        )

    def labels(self) -> Chart | None:
        """Draw F1 by label, the reference beside the candidate that matters."""
        study, say = self.study, self.say
        base = study.on_choice(study.candidate(study.reference))
        if base is None or not base.refitted.labels:
            return None
        pairs = [(study.reference, base.refitted)]
        if self.verdict.compared and self.verdict.compared != study.reference:
            other = study.on_choice(study.candidate(self.verdict.compared))
            if other is not None:
                pairs.append((self.verdict.compared, other.refitted))
        rows = []
        for label in base.refitted.labels:
            russian = (study.model.label_names_ru or {}).get(label)
            name = russian if russian and say.code == "ru" else label
            for series, scoring in pairs:
                if label in scoring.labels:
                    f1 = scoring.labels[label].f1
                    low, high = scoring.intervals_95.labels.get(label, (None, None))
                    rows.append(
                        {
                            "label": name,
                            "series": series,
                            "value": f1,
                            "low": low,
                            "high": high,
                            "shown": say.score(f1),
                            "told": f"{name}, {series}\n{say.score(f1)}",
                        }
                    )
        described = "; ".join(str(row["told"]).replace("\n", ": ") for row in rows)
        return charts.f1_bars(rows, say, title="F1", described=described + ".")


def _frontier(points: list[tuple[Interval, Interval]]) -> list[tuple[float, float]]:
    """Return the points that no other lies above and to the left of."""
    best: list[tuple[float, float]] = []
    ordered = sorted((x.value, -y.value) for x, y in points)
    for x, minus_y in ordered:
        if not best or -minus_y > best[-1][1]:
            best.append((x, -minus_y))
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
