"""The table at the top: the reference beside the one candidate that matters."""

from __future__ import annotations

from ov_emotions.reports import format as fmt
from ov_emotions.reports.study import Candidate, Spread, Study
from ov_emotions.reports.table import Cell, Row, Table
from ov_emotions.reports.tables import NOT_APPLICABLE, NOT_SCORED
from ov_emotions.reports.verdict import Verdict


def ledger(study: Study, verdict: Verdict) -> Table | None:
    """Set the reference beside the candidate that is worth it; None if there is none."""
    if verdict.compared is None or verdict.compared == study.reference:
        return None
    old, new = study.candidate(study.reference), study.candidate(verdict.compared)
    rows = [_accuracy_row(study, old, new)]
    if old.latency and new.latency:
        one = (fmt.number(old.latency.p50.median), fmt.number(new.latency.p50.median))
        rows.append(
            _versus("One text, p50", f"{one[0]} ms", f"{one[1]} ms", _gain(study, new.p50_ratio))
        )
    if old.throughput and new.throughput:
        many = (fmt.number(old.throughput.median), fmt.number(new.throughput.median))
        gain = _gain(study, new.throughput_ratio)
        rows.append(_versus("Many texts", f"{many[0]} texts/s", f"{many[1]} texts/s", gain))
    if old.size_bytes and new.size_bytes:
        sizes = fmt.megabytes(old.size_bytes), fmt.megabytes(new.size_bytes)
        part = _part(new.size_bytes / old.size_bytes)
        rows.append(_versus("Size on disk", *sizes, part))
    if old.start and new.start and old.start.rss_mb and new.start.rss_mb and old.start.rss_mb.min:
        memory = (old.start.rss_mb.median, new.start.rss_mb.median)
        both = [f"{fmt.number(value)} MB" for value in memory]
        rows.append(_versus("Memory", *both, _part(memory[1] / memory[0])))
    chosen = "chosen" if verdict.ship == new.id else "not chosen"
    return Table(
        "ledger",
        f"The reference, and {new.id} ({chosen})",
        ("", old.id, new.id, "change"),
        (False, True, True, False),
        tuple(rows),
    )


def _accuracy_row(study: Study, old: Candidate, new: Candidate) -> Row:
    before, after = study.on_choice(old), study.on_choice(new)
    if study.model.random_weights:
        return _versus("Weighted F1", fmt.NONE, fmt.NONE, NOT_APPLICABLE)
    if before is None or after is None:
        return _versus("Weighted F1", fmt.NONE, fmt.NONE, NOT_SCORED)
    return _versus(
        "Weighted F1",
        fmt.score(before.refitted.weighted_f1.value),
        fmt.score(after.refitted.weighted_f1.value),
        fmt.signed_interval(after.refitted.difference),
    )


def _gain(study: Study, ratio: Spread | None) -> str:
    if study.noisy:
        return "too noisy to tell"
    if ratio is None:
        return fmt.NONE
    told = ", not told from 1" if ratio.min <= 1 <= ratio.max else ""
    return f"{fmt.times_spread(ratio)} as fast{told}"


def _part(share: float) -> str:
    return f"{100 * share:.0f} % of the reference"


def _versus(*texts: str) -> Row:
    return Row(tuple(map(Cell, texts)))
