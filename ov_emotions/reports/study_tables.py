"""The rows of a study's tables, for the page and for Markdown; `report_words.j2` names columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ov_emotions.quantization.study_schema import Candidate, Scoring, Spread, Study
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import Cell, Row, figure, row
from ov_emotions.reports.verdict import Verdict


def role(study: Study, verdict: Verdict, candidate: Candidate) -> str:
    """Tell what became of a candidate: a word for style sheets and charts."""
    if candidate.id == verdict.ship:
        return "chosen"
    if not candidate.ok:
        return "failed"
    if candidate.id == study.reference:
        return "reference"
    if not candidate.shippable:
        return "other"
    return "refused" if candidate.id in verdict.refused else "eligible"


def role_names(study: Study, say: Language) -> dict[str, str]:
    """Name the roles, the weightiest first."""
    measured = study.model.random_weights  # then nothing is eligible
    return {
        "chosen": say("ship", "выпускать"),
        "reference": say("reference", "эталон"),
        "frontier": say("not beaten in both", "никем не побита"),
        "eligible": say("measured", "измерена") if measured else say("eligible", "годится"),
        "refused": say("refused", "отклонена"),
        "other": say("PyTorch, for comparison", "PyTorch, для сравнения"),
        "edge": say("further out than the axes", "дальше края осей"),
        "failed": say("failed", "не удалась"),
    }


class StudyTables:
    """Makes the rows."""

    def __init__(self, study: Study, verdict: Verdict, say: Language) -> None:
        self.study, self.verdict, self.say = study, verdict, say
        self.old = study.candidate(study.reference)
        self.new = study.candidate(verdict.compared) if verdict.compared else self.old
        self.base, self.beside = study.on_choice(self.old), study.on_choice(self.new)

    def ledger(self) -> Iterator[Sequence[str]]:
        """Set the reference beside the candidate that is worth it; nothing if there is none."""
        say, old, new, before, after = self.say, self.old, self.new, self.base, self.beside
        if new.id == old.id:
            return
        name = say("Weighted F1", "Взвешенная F1")
        if before is None or after is None:
            yield name, NONE, NONE, self._unscored()
        else:
            scores = [say.score(quality.refitted.weighted_f1) for quality in (before, after)]
            yield name, *scores, say.change(after.change)
        pair = [c.latency.p50_ms.median for c in (old, new) if c.latency]
        if len(pair) == 2:
            gain = self._gain(new.ratios.p50 if new.ratios else None)
            shown = [say.unit(value, "ms", "мс") for value in pair]
            yield say("One text, p50", "Один текст, p50"), *shown, gain
        pair = [c.throughput.texts_per_second.median for c in (old, new) if c.throughput]
        if len(pair) == 2:
            gain = self._gain(new.ratios.throughput if new.ratios else None)
            shown = [say.unit(value, "texts/s", "текстов/с") for value in pair]
            yield say("Many texts", "Поток текстов"), *shown, gain
        memory = [c.start.rss_mb.median * 1e6 for c in (old, new) if c.start and c.start.rss_mb]
        for name, bytes_ in (
            (say("Size on disk", "Размер на диске"), [c.size_bytes for c in (old, new)]),
            (say("Memory", "Память"), memory),
        ):
            sizes = [size for size in bytes_ if size]
            if len(sizes) == 2:
                share = say.percent(sizes[1] / sizes[0])
                part = say("{} of the reference", "{} от эталона", share)
                yield name, *map(say.megabytes, sizes), part

    def _unscored(self) -> str:
        if self.study.model.random_weights:
            return self.say("not applicable: random weights", "не имеет смысла: веса случайные")
        return self.say("not scored", "не оценена")

    def _gain(self, ratio: Spread | None) -> str:
        say = self.say
        if self.study.noisy:
            return say("too noisy to tell", "слишком шумно")
        if ratio is None:
            return NONE
        told = say(", not told from 1", ", от 1 не отличить") if ratio.around_one else ""
        return say.times(ratio) + say(" as fast", "") + told

    def _each(self, rest: Callable[[Candidate], Sequence[Cell] | str]) -> Iterator[Row]:
        """Make a row a candidate; a text stands in place of its figures."""
        names = role_names(self.study, self.say)
        for candidate in self.study.candidates:
            kind = role(self.study, self.verdict, candidate)
            start = (Cell(candidate.id, code=True), names[kind])
            found = rest(candidate)
            if not candidate.ok:
                found = candidate.error or self.say("no error was recorded", "ошибка не записана")
            if isinstance(found, str):
                yield row(start, note=found, role=kind)
            else:
                yield row((*start, *found), role=kind if kind in ("chosen", "reference") else "")

    def quality(self, split: str) -> Iterator[Row]:
        say = self.say

        def rest(candidate: Candidate) -> Sequence[Cell] | str:
            quality = self.study.on(candidate, split)
            if quality is None:
                return self._unscored()
            refitted = quality.refitted
            changes: Sequence[Cell] = (Cell(NONE),) * 3
            if candidate.id != self.study.reference:
                pair = quality.change, quality.frozen.difference.weighted_f1
                flipped = figure(say.percent, refitted.flipped_rows, 1)
                changes = (*(Cell(say.change(one), one.value) for one in pair), flipped)
            shown = refitted.weighted
            weighted = say.within(say.score(shown.value), shown.low, shown.high)
            macro, ece = figure(say.score, refitted.macro_f1), figure(say.score, quality.ece)
            return Cell(weighted, shown.value), *changes[:2], macro, changes[2], ece

        return self._each(rest)

    def speed(self) -> Iterator[Row]:
        def rest(candidate: Candidate) -> Sequence[Cell]:
            latency, ratios = candidate.latency, candidate.ratios
            tails = (latency.p50_ms, latency.p90_ms, latency.p99_ms) if latency else (None,) * 3
            rate = candidate.throughput.texts_per_second if candidate.throughput else None
            return (
                *map(self._spread, tails),
                self._times(ratios.p50 if ratios else None),
                self._spread(rate),
                self._times(ratios.throughput if ratios else None),
            )

        return self._each(rest)

    def memory(self) -> Iterator[Row]:
        def rest(candidate: Candidate) -> Sequence[Cell]:
            start = candidate.start
            costs = (start.load_s, start.first_inference_ms, start.rss_mb) if start else (None,) * 3
            return figure(self.say.megabytes, candidate.size_bytes), *map(self._spread, costs)

        return self._each(rest)

    def _times(self, ratio: Spread | None) -> Cell:
        return Cell(NONE) if ratio is None else Cell(self.say.times(ratio), ratio.median)

    def _spread(self, found: Spread | None) -> Cell:
        if found is None:
            return Cell(NONE)
        median, low, high = map(self.say.quantity, (found.median, found.min, found.max))
        return Cell(f"{median} ({low}–{high})", found.median)

    def refused(self) -> list[tuple[Cell, str]]:
        return [(Cell(id_, code=True), reason) for id_, reason in self.verdict.refused.items()]

    def labels(self) -> Iterator[list[Cell]]:
        """Give F1 by label: of the reference, and of a candidate beside it."""
        if self.base is None:
            return
        for label, old in self.base.refitted.labels.items():
            line = [
                Cell(label),
                Cell((self.study.model.label_names_ru or {}).get(label, "")),
                figure(self.say.count, old.support),
                self._f1(label, self.base.refitted),
            ]
            if self.new.id != self.old.id and self.beside and label in self.beside.refitted.labels:
                found = self.beside.refitted
                change_ = found.labels[label].f1 - old.f1
                line += [self._f1(label, found), figure(self.say.signed, change_, 3)]
            yield line

    def _f1(self, label: str, scoring: Scoring) -> Cell:
        """Write one label's F1, with its interval where there is one."""
        value, ends = scoring.labels[label].f1, scoring.intervals_95.labels.get(label)
        shown = self.say.score(value)
        return Cell(self.say.within(shown, *ends) if ends else shown, value)

    def changes(self) -> list[tuple[str | Cell, ...]]:
        """Give the texts whose probabilities changed most."""
        say, quality = self.say, self.beside if self.verdict.compared else None
        return [
            (
                one.text,
                one.label,
                figure(say.score, one.reference),
                figure(say.score, one.candidate),
                figure(say.signed, one.candidate - one.reference, 3),
            )
            for one in (quality and quality.largest_changes) or ()
        ]

    def steps(self) -> list[tuple[str | Cell, ...]]:
        """Give what each step of the study cost."""
        say = self.say

        def megabytes(value: float) -> str:
            return say.unit(value, "MB", "МБ")

        return [
            (
                step.step,
                figure(say.duration, step.seconds),
                figure(megabytes, step.peak_memory_mb),
            )
            for step in self.study.steps or ()
        ]
