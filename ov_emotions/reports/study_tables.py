"""The tables of a study, for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Callable

from ov_emotions.evaluation.results import Interval
from ov_emotions.metrics import LabelF1
from ov_emotions.quantization.study_schema import Candidate, Quality, Scoring, Spread, Study
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import Cell, Row, Table, cells
from ov_emotions.reports.verdict import Verdict, change, times


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


def times_cell(spread: Spread | None, say: Language) -> Cell:
    """Write a ratio that sorts."""
    return Cell(NONE) if spread is None else Cell(times(spread, say), spread.median)


def _spread(spread: Spread | None, say: Language) -> Cell:
    if spread is None:
        return Cell(NONE)
    low, high = say.quantity(spread.min), say.quantity(spread.max)
    return Cell(f"{say.quantity(spread.median)} ({low}–{high})", spread.median)


def _score(interval: Interval, say: Language) -> Cell:
    shown = say.within(say.score(interval.value), interval.low, interval.high)
    return Cell(shown, interval.value)


def _signed(value: float, say: Language) -> Cell:
    return Cell(say.signed(value, 3), value)


def _difference(interval: Interval, say: Language) -> Cell:
    return Cell(change(interval, say), interval.value)


class StudyTables:
    """Makes the tables.

    :param study: the study.
    :param verdict: its verdict.
    :param say: the language.
    """

    def __init__(self, study: Study, verdict: Verdict, say: Language) -> None:
        self.study, self.verdict, self.say = study, verdict, say
        self._compared = study.candidate(verdict.compared) if verdict.compared else None

    def ledger(self) -> Table | None:
        """Set the reference beside the candidate that is worth it; None if there is none."""
        study, say, new = self.study, self.say, self._compared
        if new is None or new.id == study.reference:
            return None
        old = study.candidate(study.reference)
        rows = [self._accuracy_row(old, new)]
        if old.latency and new.latency:
            pair = [say.unit(c.latency.p50_ms.median, "ms", "мс") for c in (old, new) if c.latency]
            gain = self._gain(new.ratios.p50 if new.ratios else None)
            rows.append(cells(say("One text, p50", "Один текст, p50"), *pair, gain))
        if old.throughput and new.throughput:
            rates = [c.throughput.texts_per_second for c in (old, new) if c.throughput]
            pair = [say.unit(rate.median, "texts/s", "текстов/с") for rate in rates]
            gain = self._gain(new.ratios.throughput if new.ratios else None)
            rows.append(cells(say("Many texts", "Поток текстов"), *pair, gain))
        part = say("{} of the reference", "{} от эталона")
        if old.size_bytes and new.size_bytes:
            pair = [say.megabytes(old.size_bytes), say.megabytes(new.size_bytes)]
            share = say.percent(new.size_bytes / old.size_bytes)
            rows.append(cells(say("Size on disk", "Размер на диске"), *pair, part.format(share)))
        memory = [c.start.rss_mb.median for c in (old, new) if c.start and c.start.rss_mb]
        if len(memory) == 2 and memory[0]:
            pair = [say.unit(value, "MB", "МБ") for value in memory]
            share = say.percent(memory[1] / memory[0])
            rows.append(cells(say("Memory", "Память"), *pair, part.format(share)))
        chosen = self.verdict.ship == new.id
        caption = say("The reference, and {} ({})", "Эталон и {} ({})").format(
            new.id, say("chosen", "выбрана") if chosen else say("not chosen", "не выбрана")
        )
        head = ("", old.id, new.id, say("change", "изменение"))
        return Table("ledger", caption, head, tuple(map(Row, rows)))

    def _accuracy_row(self, old: Candidate, new: Candidate) -> tuple[Cell, ...]:
        say = self.say
        name = say("Weighted F1", "Взвешенная F1")
        before, after = self.study.on_choice(old), self.study.on_choice(new)
        if before is None or after is None:
            return cells(name, NONE, NONE, self._unscored())
        return cells(
            name,
            say.score(before.refitted.weighted_f1),
            say.score(after.refitted.weighted_f1),
            change(after.refitted.difference.weighted_f1, say),
        )

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
        told = say(", not told from 1", ", от 1 не отличить") if ratio.min <= 1 <= ratio.max else ""
        return times(ratio, say) + say(" as fast", "") + told

    def _each(self, rest: Callable[[Candidate], tuple[Cell, ...] | str]) -> tuple[Row, ...]:
        """Write a row a candidate; a text stands in place of its figures."""
        rows = []
        names = role_names(self.study, self.say)
        for candidate in self.study.candidates:
            kind = role(self.study, self.verdict, candidate)
            start = cells(Cell(candidate.id, code=True), names[kind])
            found = rest(candidate)
            if not candidate.ok:
                found = candidate.error or self.say("no error was recorded", "ошибка не записана")
            if isinstance(found, str):
                rows.append(Row(start, note=found, role=kind))
            else:
                shown = kind if kind in ("chosen", "reference") else ""
                rows.append(Row(start + found, role=shown))
        return tuple(rows)

    def _head(self, *names: str) -> tuple[str, ...]:
        return (self.say("candidate", "модель"), self.say("verdict", "вывод"), *names)

    def quality(self, split: str) -> Table:
        """List accuracy by candidate on one split."""
        say = self.say

        def rest(candidate: Candidate) -> tuple[Cell, ...] | str:
            quality = self.study.on(candidate, split)
            if quality is None:
                return self._unscored()
            return self._quality(quality, candidate.id == self.study.reference)

        head = self._head(
            say("weighted F1", "взвешенная F1"),
            say("change, thresholds refitted", "изменение, пороги свои"),
            say("change, reference's thresholds", "изменение, пороги эталона"),
            say("macro F1", "макро F1"),
            say("rows with other labels", "строк с другими метками"),
            say("calibration error", "ошибка калибровки"),
        )
        rows = self.study.data.rows.get(split)
        counted = f" ({say.count(rows, 'row|rows', 'строка|строки|строк')})" if rows else ""
        caption = say(
            "Accuracy on {}{}, with 95 % intervals", "Точность на {}{} с 95-процентными интервалами"
        ).format(split, counted)
        kind = "choice" if split == self.study.data.choice_split else "final"
        return Table(f"quality-{kind}", caption, head, self._each(rest), texts=2)

    def _quality(self, quality: Quality, is_reference: bool) -> tuple[Cell, ...]:
        say, refitted, frozen = self.say, quality.refitted, quality.frozen
        none = Cell(NONE)
        flipped = Cell(say.percent(refitted.flipped_rows, 1), refitted.flipped_rows)
        return (
            _score(refitted.weighted, say),
            none if is_reference else _difference(refitted.difference.weighted_f1, say),
            none if is_reference else _difference(frozen.difference.weighted_f1, say),
            Cell(say.score(refitted.macro_f1), refitted.macro_f1),
            none if is_reference else flipped,
            none if quality.ece is None else Cell(say.score(quality.ece), quality.ece),
        )

    def speed(self) -> Table:
        """List latency and throughput by candidate."""
        say = self.say

        def rest(candidate: Candidate) -> tuple[Cell, ...]:
            latency, ratios = candidate.latency, candidate.ratios
            tails = (latency.p50_ms, latency.p90_ms, latency.p99_ms) if latency else (None,) * 3
            rate = candidate.throughput.texts_per_second if candidate.throughput else None
            return (
                *(_spread(tail, say) for tail in tails),
                times_cell(ratios.p50 if ratios else None, say),
                _spread(rate, say),
                times_cell(ratios.throughput if ratios else None, say),
            )

        head = self._head(
            say("one text, p50, ms", "один текст, p50, мс"),
            say("p90, ms", "p90, мс"),
            say("p99, ms", "p99, мс"),
            say("p50, times as fast", "p50, во сколько раз быстрее"),
            say("texts/s", "текстов/с"),
            say("texts/s, times as fast", "текстов/с, во сколько раз быстрее"),
        )
        caption = say(
            "Speed: median over the rounds (smallest–largest)",
            "Скорость: медиана раундов (наименьшее–наибольшее)",
        )
        return Table("speed", caption, head, self._each(rest), texts=2)

    def memory(self) -> Table:
        """List size, start and memory by candidate."""
        say = self.say

        def rest(candidate: Candidate) -> tuple[Cell, ...]:
            start = candidate.start
            costs = (start.load_s, start.first_inference_ms, start.rss_mb) if start else (None,) * 3
            size = Cell(say.megabytes(candidate.size_bytes), candidate.size_bytes)
            return (size, *(_spread(cost, say) for cost in costs))

        head = self._head(
            say("size", "размер"),
            say("load, s", "загрузка, с"),
            say("first inference, ms", "первый ответ, мс"),
            say("memory, MB", "память, МБ"),
        )
        caption = say(
            "Size, and what a fresh process pays: median (smallest–largest)",
            "Размер и цена нового процесса: медиана (наименьшее–наибольшее)",
        )
        return Table("memory", caption, head, self._each(rest), texts=2)

    def refused(self) -> Table | None:
        """List what may not be shipped, and why."""
        say = self.say
        rows = tuple(
            Row(cells(Cell(id_, code=True), reason)) for id_, reason in self.verdict.refused.items()
        )
        head = (say("candidate", "модель"), say("why", "почему"))
        title = say("Not eligible", "Не годятся")
        return Table("refused", title, head, rows, texts=2, words=True) if rows else None

    def labels(self) -> Table | None:
        """List F1 by label: the reference, and a candidate beside it."""
        study, say, new = self.study, self.say, self._compared
        base = study.on_choice(study.candidate(study.reference))
        other = study.on_choice(new) if new and new.id != study.reference else None
        if base is None:
            return None
        rows = []
        for label, old in base.refitted.labels.items():
            found = other.refitted.labels.get(label) if other else None
            line = [
                Cell(label),
                Cell((study.model.label_names_ru or {}).get(label, "")),
                Cell(say.count(old.support), old.support),
                label_f1(label, old, base.refitted, say),
            ]
            if other and found:
                line.append(label_f1(label, found, other.refitted, say))
                line.append(Cell(say.signed(found.f1 - old.f1, 3), found.f1 - old.f1))
            rows.append(Row(tuple(line)))
        head = [say("label", "метка"), say("in Russian", "по-русски"), say("rows", "строк")]
        head += [study.reference, *([new.id, say("change", "изменение")] if new and other else [])]
        caption = say(
            "F1 by label on {}, thresholds refitted, 95 % intervals",
            "F1 по меткам на {}, пороги свои, 95-процентные интервалы",
        ).format(study.data.choice_split)
        return Table("labels", caption, tuple(head), tuple(rows), texts=2)

    def changes(self) -> Table | None:
        """List the texts whose probabilities changed most."""
        study, say, new = self.study, self.say, self._compared
        quality = study.on_choice(new) if new else None
        if new is None or quality is None or not quality.largest_changes:
            return None
        rows = tuple(
            Row(
                cells(
                    one.text,
                    one.label,
                    Cell(say.score(one.reference), one.reference),
                    Cell(say.score(one.candidate), one.candidate),
                    Cell(
                        say.signed(one.candidate - one.reference, 3), one.candidate - one.reference
                    ),
                )
            )
            for one in quality.largest_changes
        )
        caption = say(
            "Largest changes of a probability on {}", "Наибольшие изменения вероятности на {}"
        ).format(study.data.choice_split)
        head = (
            say("text", "текст"),
            say("label", "метка"),
            study.reference,
            new.id,
            say("change", "изменение"),
        )
        return Table("changes", caption, head, rows, texts=2, words=True)

    def steps(self) -> Table | None:
        """List what each step of the study cost."""
        say = self.say
        rows = tuple(
            Row(
                cells(
                    step.step,
                    Cell(say.duration(step.seconds), step.seconds),
                    Cell(NONE)
                    if step.peak_memory_mb is None
                    else Cell(say.unit(step.peak_memory_mb, "MB", "МБ"), step.peak_memory_mb),
                )
            )
            for step in self.study.steps or ()
        )
        head = (say("step", "шаг"), say("time", "время"), say("peak memory", "пик памяти"))
        title = say("What making this study cost", "Во что обошлось это исследование")
        return Table("steps", title, head, rows) if rows else None


def label_f1(label: str, found: LabelF1, scoring: Scoring, say: Language) -> Cell:
    """Write one label's F1, with its interval where there is one."""
    ends = scoring.intervals_95.labels.get(label)
    if ends is None:
        return Cell(say.score(found.f1), found.f1)
    return _score(Interval(value=found.f1, low=ends[0], high=ends[1]), say)
