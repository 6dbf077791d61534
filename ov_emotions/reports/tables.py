"""The report's tables, before they become HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ov_emotions.reports import format as fmt
from ov_emotions.reports.study import Candidate, Interval, Latency, Quality, Spread, Start, Study
from ov_emotions.reports.table import Cell, Row, Table
from ov_emotions.reports.verdict import Verdict

NOT_APPLICABLE = "not applicable: random weights"
NOT_SCORED = "not scored"


def standing(study: Study, verdict: Verdict, candidate: Candidate) -> str:
    """Say in a word what became of a candidate."""
    if candidate.id == verdict.ship:
        return "ship"
    if not candidate.ok:
        return "failed"
    if candidate.id == study.reference:
        return "reference"
    if not candidate.shippable:
        return "comparison"
    if candidate.id in verdict.choice.refused:
        return "refused"
    return "measured" if study.model.random_weights else "eligible"


def _rows(
    study: Study, verdict: Verdict, rest: dict[str, tuple[Cell, ...] | str]
) -> tuple[Row, ...]:
    rows = []
    for candidate in study.candidates:
        role = "chosen" if candidate.id == verdict.ship else ""
        if not role and candidate.id == study.reference:
            role = "reference"
        name = (Cell(candidate.id, code=True), Cell(standing(study, verdict, candidate)))
        cells = rest[candidate.id]
        if not candidate.ok:
            role = "failed"
            cells = candidate.error or "no error was recorded"
        if isinstance(cells, str):
            rows.append(Row(name, note=cells, role=role))
        else:
            rows.append(Row(name + cells, role=role))
    return tuple(rows)


def quality_table(study: Study, verdict: Verdict, split: str) -> Table:
    """List accuracy by candidate on one split."""
    rest: dict[str, tuple[Cell, ...] | str] = {}
    for candidate in study.candidates:
        quality = candidate.quality.get(split)
        if study.model.random_weights:
            rest[candidate.id] = NOT_APPLICABLE
        elif quality is None:
            rest[candidate.id] = NOT_SCORED
        else:
            rest[candidate.id] = _quality_cells(quality, candidate.id == study.reference)
    head = (
        "candidate",
        "verdict",
        "weighted F1",
        "change, thresholds refitted",
        "change, reference's thresholds",
        "macro F1",
        "rows with other labels",
        "calibration error",
    )
    rows = study.data.rows.get(split)
    counted = f" ({fmt.plural(rows, 'row')})" if rows is not None else ""
    return Table(
        f"quality-{'choice' if split == study.data.choice_split else 'final'}",
        f"Accuracy on {split}{counted}, with 95 % intervals",
        head,
        (False, False, *[True] * 6),
        _rows(study, verdict, rest),
    )


def _quality_cells(quality: Quality, is_reference: bool) -> tuple[Cell, ...]:
    refitted, frozen = quality.refitted, quality.frozen
    none = Cell(fmt.NONE)
    return (
        Cell(fmt.score_interval(refitted.weighted_f1), refitted.weighted_f1.value),
        none if is_reference else _difference(refitted.difference),
        none if is_reference else _difference(frozen.difference),
        Cell(fmt.score(refitted.macro_f1.value), refitted.macro_f1.value),
        none if is_reference else Cell(fmt.percent(refitted.flipped_rows), refitted.flipped_rows),
        none if quality.ece is None else Cell(fmt.score(quality.ece), quality.ece),
    )


def _difference(interval: Interval) -> Cell:
    return Cell(fmt.signed_interval(interval), interval.value)


def speed_table(study: Study, verdict: Verdict) -> Table:
    """List latency and throughput by candidate."""
    head = (
        "candidate",
        "verdict",
        "one text, p50, ms",
        "p90, ms",
        "p99, ms",
        "p50, times as fast",
        "texts/s",
        "texts/s, times as fast",
    )
    rest: dict[str, tuple[Cell, ...] | str] = {c.id: _speed_cells(c) for c in study.candidates}
    caption = "Speed: median over the rounds (smallest–largest)"
    numeric = (False, False, *[True] * 6)
    return Table("speed", caption, head, numeric, _rows(study, verdict, rest))


def _speed_cells(candidate: Candidate) -> tuple[Cell, ...]:
    latency = candidate.latency
    return (
        *map(_timing, _tails(latency) if latency else [None] * 3),
        _ratio(candidate.p50_ratio),
        _timing(candidate.throughput),
        _ratio(candidate.throughput_ratio),
    )


def memory_table(study: Study, verdict: Verdict) -> Table:
    """List size, start and memory by candidate."""
    head = ("candidate", "verdict", "size", "load, s", "first inference, ms", "memory, MB")
    rest: dict[str, tuple[Cell, ...] | str] = {
        c.id: (
            Cell(fmt.megabytes(c.size_bytes), c.size_bytes),
            *map(_timing, _costs(c.start) if c.start else [None] * 3),
        )
        for c in study.candidates
    }
    caption = "Size, and what a fresh process pays: median (smallest–largest)"
    numeric = (False, False, *[True] * 4)
    return Table("memory", caption, head, numeric, _rows(study, verdict, rest))


def _tails(latency: Latency) -> list[Spread | None]:
    return [latency.p50, latency.p90, latency.p99]


def _costs(start: Start) -> list[Spread | None]:
    return [start.load_s, start.first_inference_ms, start.rss_mb]


def _timing(spread: Spread | None) -> Cell:
    return Cell(fmt.spread(spread), spread.median if spread else None)


def _ratio(spread: Spread | None) -> Cell:
    return Cell(fmt.times_spread(spread), spread.median if spread else None)


def refused_table(verdict: Verdict) -> Table | None:
    """List what may not be shipped, and why."""
    rows = [_pair(id_, reason) for id_, reason in verdict.choice.refused.items()]
    return _simple("refused", "Not eligible", ("candidate", "why"), rows)


def _pair(name: str, value: str) -> Row:
    return Row((Cell(name, code=True), Cell(value)))


def _simple(
    name: str, caption: str, head: Sequence[str], rows: Sequence[Row], *, numbers_from: int = 99
) -> Table | None:
    numeric = tuple(i >= numbers_from for i in range(len(head)))
    return Table(name, caption, tuple(head), numeric, tuple(rows)) if rows else None


def label_table(study: Study, candidate: Candidate | None) -> Table | None:
    """List F1 by label: the reference, and a candidate beside it."""
    base = study.on_choice(study.candidate(study.reference))
    other = study.on_choice(candidate) if candidate else None
    if base is None:
        return None
    head = ["label", "in Russian", "rows", study.reference]
    if candidate and other:
        head += [candidate.id, "change"]
    rows = []
    for label in study.model.labels:
        old = base.refitted.labels.get(label)
        new = other.refitted.labels.get(label) if other else None
        if old is None:
            continue
        cells = [
            Cell(label),
            Cell(study.model.label_names_ru.get(label, "")),
            Cell(fmt.count(old.support), old.support),
            _f1(old.f1, old.low, old.high),
        ]
        if new is not None:
            cells += [
                _f1(new.f1, new.low, new.high),
                Cell(fmt.signed(new.f1 - old.f1, 3), new.f1 - old.f1),
            ]
        elif other:
            cells += [Cell(fmt.NONE), Cell(fmt.NONE)]
        rows.append(Row(tuple(cells)))
    caption = f"F1 by label on {study.data.choice_split}, thresholds refitted, 95 % intervals"
    return _simple("labels", caption, head, rows, numbers_from=2)


def _f1(value: float, low: float | None, high: float | None) -> Cell:
    if low is None or high is None:
        return Cell(fmt.score(value), value)
    return Cell(fmt.score_interval(Interval(value, low, high)), value)


def changes_table(study: Study, candidate: Candidate | None) -> Table | None:
    """List the texts whose probabilities changed most."""
    quality = study.on_choice(candidate) if candidate else None
    if candidate is None or quality is None:
        return None
    rows = [
        Row(
            (
                Cell(change.text),
                Cell(change.label),
                Cell(fmt.score(change.reference), change.reference),
                Cell(fmt.score(change.candidate), change.candidate),
                Cell(
                    fmt.signed(change.candidate - change.reference, 3),
                    change.candidate - change.reference,
                ),
            )
        )
        for change in quality.changes
    ]
    head = ("text", "label", study.reference, candidate.id, "change")
    caption = f"Largest changes of a probability on {study.data.choice_split}"
    return _simple("changes", caption, head, rows, numbers_from=2)


def steps_table(study: Study) -> Table | None:
    """List what each step of the study cost."""
    rows = []
    for step in study.steps:
        memory = step.peak_memory_mb
        peak = fmt.NONE if memory is None else f"{fmt.number(memory)} MB"
        rows.append(
            Row(
                (
                    Cell(step.name),
                    Cell(fmt.duration(step.seconds), step.seconds),
                    Cell(peak, memory),
                )
            )
        )
    head = ("step", "time", "peak memory")
    return _simple("steps", "What making this study cost", head, rows, numbers_from=1)
