"""What the Pareto plot shows: which candidates, where, and what each is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ov_emotions.reports import format as fmt
from ov_emotions.reports.study import Candidate, Interval, Spread, Study
from ov_emotions.reports.verdict import Verdict

# Plots draw a loss of at least this as the allowed one, so that they show some depth.
_LEAST_DROP = 0.001
# A loss of more than so many times what is allowed is only pointed at, from the plot's edge.
_DEEPEST = 5.0
_ROLES = {
    "chosen": "chosen",
    "reference": "reference",
    "kept": "eligible",
    "refused": "refused",
    "other": "PyTorch, for comparison",
}


@dataclass(frozen=True)
class Point:
    """A candidate in the plane.

    :param below: whether its y lies under the plot's floor.
    """

    id: str
    role: str
    x: Interval
    y: Interval
    below: bool = False


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    :param base: y of the reference, where y is an accuracy.
    :param floor: y under which too much is lost, where y is an accuracy.
    :param legend: what each role is called.
    """

    title: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]
    base: float | None
    floor: float | None
    legend: Mapping[str, str]

    @property
    def log_x(self) -> bool:
        """Whether x spans so much that only a logarithm shows all of it."""
        values = [point.x.value for point in self.points]
        return max(values) > 4 * min(values)

    def y_values(self) -> list[float]:
        """Return values that the y axis must span."""
        shown = [point.y for point in self.points if not point.below]
        values = [v for y in shown for v in (y.value, y.high, y.low)]
        if self.base is None or self.floor is None:
            return values
        drop = max(self.base - self.floor, _LEAST_DROP)
        air = 2.0 if any(point.below for point in self.points) else 1.0
        lowest = min([*values, self.floor]) - air * drop
        return [max(v, self.base - _DEEPEST * drop) for v in values] + [
            self.base,
            max(lowest, self.base - (_DEEPEST + 1) * drop),
        ]

    def y_text(self, value: float) -> str:
        """Write a value of the y axis."""
        return fmt.number(value) if self.base is None else fmt.score(value)


def plot_title(study: Study, verdict: Verdict) -> str:
    """Say what the plot shows: `Accuracy against latency`; empty if there is none."""
    chart = build_chart(study, verdict)
    return chart.title if chart else ""


def _role(study: Study, verdict: Verdict, candidate: Candidate) -> str:
    if candidate.id == verdict.ship:
        return "chosen"
    if candidate.id == study.reference:
        return "reference"
    if not candidate.shippable:
        return "other"
    return "refused" if candidate.id in verdict.choice.refused else "kept"


def _of(spread: Spread) -> Interval:
    return Interval(spread.median, spread.min, spread.max)


def build_chart(study: Study, verdict: Verdict) -> Chart | None:
    """Decide what is plotted.

    :param study: the study.
    :param verdict: its verdict.
    :return: accuracy against latency; without accuracy throughput, without latency size; None if
        no candidate can be placed.
    """
    base = study.on_choice(study.candidate(study.reference))
    latency = {c.id: _of(c.latency.p50) for c in study.candidates if c.ok and c.latency}
    x_label = "time of one text, p50, ms"
    if base is None:
        speed = {c.id: _of(c.throughput) for c in study.candidates if c.ok and c.throughput}
        points = _points(study, verdict, latency, speed)
        title = "Throughput against latency"
        legend = _ROLES | {"kept": "candidate"}  # without accuracy nothing is eligible
        chart = Chart(title, x_label, "texts/s", points, None, None, legend)
        return chart if points else None
    title = "Accuracy against latency"
    if not latency:
        sizes = {c.id: c.size_bytes / 1e6 for c in study.candidates if c.ok and c.size_bytes}
        latency = {id_: Interval(size, size, size) for id_, size in sizes.items()}
        title, x_label = "Accuracy against size", "size, MB"
    origin = base.refitted.weighted_f1.value
    accuracy = {}
    for candidate in study.candidates:
        if quality := study.on_choice(candidate):
            change = quality.refitted.difference
            accuracy[candidate.id] = Interval(
                quality.refitted.weighted_f1.value, origin + change.low, origin + change.high
            )
    deepest = origin - _DEEPEST * max(study.max_drop, _LEAST_DROP)
    points = _points(study, verdict, latency, accuracy, deepest)
    y_label = f"weighted F1, {study.data.choice_split}"
    legend = dict(_ROLES)
    if verdict.ship == study.reference:
        legend["chosen"] = "reference, chosen"
    chart = Chart(title, x_label, y_label, points, origin, origin - study.max_drop, legend)
    return chart if points else None


def _points(
    study: Study,
    verdict: Verdict,
    xs: Mapping[str, Interval],
    ys: Mapping[str, Interval],
    deepest: float = float("-inf"),
) -> tuple[Point, ...]:
    points = [
        Point(c.id, _role(study, verdict, c), xs[c.id], ys[c.id], ys[c.id].value < deepest)
        for c in study.candidates
        if c.id in xs and c.id in ys
    ]
    rank = {"chosen": 0, "reference": 1}
    # The weightiest first: they have the choice of where their names stand.
    return tuple(sorted(points, key=lambda p: (rank.get(p.role, 2), p.x.value)))
