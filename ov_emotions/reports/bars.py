"""F1 by label, the reference against one candidate, as bars with intervals."""

from __future__ import annotations

from ov_emotions.reports import format as fmt
from ov_emotions.reports import svg
from ov_emotions.reports.study import Candidate, LabelF1, Scoring, Study

_FONT = 12.5


def label_bars(study: Study, candidate: Candidate | None, *, width: float, name: str) -> str | None:
    """Draw F1 by label on the split that decides, at refitted thresholds.

    :param study: the study.
    :param candidate: what stands beside the reference; None draws the reference alone.
    :param width: in pixels; below 500 labels stand above their bars.
    :param name: unique in the page.
    :return: an svg element; None if nothing was scored.
    """
    base = study.on_choice(study.candidate(study.reference))
    other = study.on_choice(candidate) if candidate else None
    if base is None or not base.refitted.labels:
        return None
    pair: list[tuple[str, Scoring]] = [("reference", base.refitted)]
    if other is not None:
        pair.append(("chosen", other.refitted))
    labels = [label for label in study.model.labels if label in base.refitted.labels]
    stacked = width < 500
    names = {label: _named(study, label) for label in labels}
    gutter = max(len(text) for text in names.values()) * _FONT * svg.SANS + 18
    left = 14.0 if stacked else min(gutter, 240.0)
    x = svg.Scale(0.0, 1.0, left, width - (66 if stacked else 120))
    step = 14.0 * len(pair) + (30.0 if stacked else 16.0)
    top = 30.0
    bottom = top + step * len(labels)
    body = grid(x, top, bottom, "F1, thresholds refitted")
    for i, label in enumerate(labels):
        y = top + step * i + (24 if stacked else 8)
        baseline = y - 6 if stacked else y + 7 * len(pair) + 4
        body.append(
            svg.text(
                left if stacked else left - 12,
                baseline,
                names[label],
                "value",
                "start" if stacked else "end",
            )
        )
        for row, (role, scoring) in enumerate(pair):
            if label in scoring.labels:
                body += bar(scoring.labels[label], x, y + 14 * row, role)
    body += _legend(study, candidate if other else None, bottom + 40)
    return svg.drawing(
        body,
        width=width,
        height=bottom + (50 if other is None else 68),
        name=name,
        title=f"F1 by label on {study.data.choice_split}",
        description=_described(study, labels, pair, candidate),
    )


def _named(study: Study, label: str) -> str:
    russian = study.model.label_names_ru.get(label, "")
    return f"{label} · {russian}" if russian else label


def grid(x: svg.Scale, top: float, bottom: float, title: str) -> list[str]:
    """Draw the lines that shares between 0 and 1 are read at, and a title above them."""
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    return [*svg.ruler(x, top, bottom, ticks), svg.text(8, 16, title, "title")]


def bar(score: LabelF1, x: svg.Scale, y: float, role: str) -> list[str]:
    """Draw an F1 as a bar with its interval and its number."""
    marks = [
        svg.tag(
            "rect", x=x.start, y=y, width=x(score.f1) - x.start, height=11, class_=f"bar {role}"
        )
    ]
    if score.low is not None and score.high is not None:
        middle = y + 5.5
        low, high = x(score.low), x(score.high)
        layers = ("whisker under", "whisker over")
        marks += [svg.line(low, middle, high, middle, layer) for layer in layers]
    look = "value" if role == "chosen" else "value soft"
    marks.append(svg.text(x.end + 12, y + 10, fmt.score(score.f1), look))
    return marks


def _legend(study: Study, candidate: Candidate | None, y: float) -> list[str]:
    entries = [("reference", study.reference)]
    if candidate is not None:
        entries.append(("chosen", candidate.id))
    marks = []
    for i, (role, id_) in enumerate(entries):
        marks.append(
            svg.tag("rect", x=8, y=y + 18 * i - 9, width=18, height=10, class_=f"bar {role}")
        )
        marks.append(svg.text(34, y + 18 * i, svg.shorten(id_, _FONT, 290), f"id {role}"))
    return marks


def _described(
    study: Study,
    labels: list[str],
    pair: list[tuple[str, Scoring]],
    candidate: Candidate | None,
) -> str:
    names = [study.reference, candidate.id if candidate else ""]
    rows = [
        f"{label}: "
        + ", ".join(
            f"{name} {fmt.score(scoring.labels[label].f1)}"
            for name, (_, scoring) in zip(names, pair, strict=False)
            if label in scoring.labels
        )
        for label in labels
    ]
    return "; ".join(rows) + "."
