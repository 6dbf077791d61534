"""The tables of a study, for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ov_emotions.evaluation.results import Interval
from ov_emotions.quantization.study_schema import Candidate, Scoring, Spread, Study
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import Cell, Table, figure, row, table
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


class StudyTables:
    """Makes the tables; one that would have no row is None."""

    def __init__(self, study: Study, verdict: Verdict, say: Language) -> None:
        self.study, self.verdict, self.say = study, verdict, say
        self._compared = study.candidate(verdict.compared) if verdict.compared else None

    def ledger(self) -> Table | None:
        """Set the reference beside the candidate that is worth it; None if there is none."""
        study, say, new = self.study, self.say, self._compared
        if new is None or new.id == study.reference:
            return None
        old = study.candidate(study.reference)
        chosen = say("chosen", "выбрана") if self.verdict.ship == new.id else None
        return table(
            "ledger",
            say(
                "The reference, and {} ({})",
                "Эталон и {} ({})",
                *(new.id, chosen or say("not chosen", "не выбрана")),
            ),
            ("", old.id, new.id, say("change", "изменение")),
            self._ledger(old, new),
        )

    def _ledger(self, old: Candidate, new: Candidate) -> Iterator[Sequence[str]]:
        say = self.say
        name = say("Weighted F1", "Взвешенная F1")
        before, after = self.study.on_choice(old), self.study.on_choice(new)
        if before is None or after is None:
            yield name, NONE, NONE, self._unscored()
        else:
            scores = [say.score(quality.refitted.weighted_f1) for quality in (before, after)]
            yield name, *scores, change(after.refitted.difference.weighted_f1, say)
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
        told = say(", not told from 1", ", от 1 не отличить") if ratio.min <= 1 <= ratio.max else ""
        return times(ratio, say) + say(" as fast", "") + told

    def _by_candidate(
        self,
        name: str,
        caption: str,
        head: list[str],
        rest: Callable[[Candidate], Sequence[Cell] | str],
    ) -> Table | None:
        """Make a table with a row a candidate; a text stands in place of its figures."""
        rows = []
        names = role_names(self.study, self.say)
        for candidate in self.study.candidates:
            kind = role(self.study, self.verdict, candidate)
            start = (Cell(candidate.id, code=True), names[kind])
            found = rest(candidate)
            if not candidate.ok:
                found = candidate.error or self.say("no error was recorded", "ошибка не записана")
            if isinstance(found, str):
                rows.append(row(start, note=found, role=kind))
            else:
                shown = kind if kind in ("chosen", "reference") else ""
                rows.append(row((*start, *found), role=shown))
        first = self.say.names("candidate|verdict", "модель|вывод")
        return table(name, caption, first + head, rows, texts=2)

    def quality(self, split: str) -> Table | None:
        """List accuracy by candidate on one split."""
        say = self.say

        def rest(candidate: Candidate) -> Sequence[Cell] | str:
            quality = self.study.on(candidate, split)
            if quality is None:
                return self._unscored()
            refitted, frozen = quality.refitted, quality.frozen
            changes: Sequence[Cell] = (
                _interval(change, refitted.difference.weighted_f1, say),
                _interval(change, frozen.difference.weighted_f1, say),
                figure(say.percent, refitted.flipped_rows, 1),
            )
            if candidate.id == self.study.reference:
                changes = (Cell(NONE),) * 3
            macro = figure(say.score, refitted.macro_f1)
            weighted = _interval(_score, refitted.weighted, say)
            return weighted, *changes[:2], macro, changes[2], figure(say.score, quality.ece)

        rows = self.study.data.rows.get(split)
        counted = f" ({say.count(rows, 'row|rows', 'строка|строки|строк')})" if rows else ""
        kind = "choice" if split == self.study.data.choice_split else "final"
        return self._by_candidate(
            f"quality-{kind}",
            say(
                "Accuracy on {}{}, with 95 % intervals",
                "Точность на {}{} с 95-процентными интервалами",
                *(split, counted),
            ),
            say.names(
                "weighted F1|change, thresholds refitted|change, reference's thresholds|macro F1|"
                "rows with other labels|calibration error",
                "взвешенная F1|изменение, пороги свои|изменение, пороги эталона|макро F1|"
                "строк с другими метками|ошибка калибровки",
            ),
            rest,
        )

    def speed(self) -> Table | None:
        """List latency and throughput by candidate."""
        say = self.say

        def rest(candidate: Candidate) -> Sequence[Cell]:
            latency, ratios = candidate.latency, candidate.ratios
            tails = (latency.p50_ms, latency.p90_ms, latency.p99_ms) if latency else (None,) * 3
            rate = candidate.throughput.texts_per_second if candidate.throughput else None
            return (
                *(_spread(_range, tail, say) for tail in tails),
                _spread(times, ratios.p50 if ratios else None, say),
                _spread(_range, rate, say),
                _spread(times, ratios.throughput if ratios else None, say),
            )

        return self._by_candidate(
            "speed",
            say(
                "Speed: median over the rounds (smallest–largest)",
                "Скорость: медиана раундов (наименьшее–наибольшее)",
            ),
            say.names(
                "one text, p50, ms|p90, ms|p99, ms|p50, times as fast|texts/s|"
                "texts/s, times as fast",
                "один текст, p50, мс|p90, мс|p99, мс|p50, во сколько раз быстрее|текстов/с|"
                "текстов/с, во сколько раз быстрее",
            ),
            rest,
        )

    def memory(self) -> Table | None:
        """List size, start and memory by candidate."""
        say = self.say

        def rest(candidate: Candidate) -> Sequence[Cell]:
            start = candidate.start
            costs = (start.load_s, start.first_inference_ms, start.rss_mb) if start else (None,) * 3
            size = figure(say.megabytes, candidate.size_bytes)
            return size, *(_spread(_range, cost, say) for cost in costs)

        return self._by_candidate(
            "memory",
            say(
                "Size, and what a fresh process pays: median (smallest–largest)",
                "Размер и цена нового процесса: медиана (наименьшее–наибольшее)",
            ),
            say.names(
                "size|load, s|first inference, ms|memory, MB",
                "размер|загрузка, с|первый ответ, мс|память, МБ",
            ),
            rest,
        )

    def refused(self) -> Table | None:
        """List what may not be shipped, and why."""
        say = self.say
        rows = [(Cell(id_, code=True), reason) for id_, reason in self.verdict.refused.items()]
        head = say.names("candidate|why", "модель|почему")
        return table("refused", say("Not eligible", "Не годятся"), head, rows, texts=2, words=True)

    def labels(self) -> Table | None:
        """List F1 by label: the reference, and a candidate beside it."""
        study, say, new = self.study, self.say, self._compared
        base = study.on_choice(study.candidate(study.reference))
        other = study.on_choice(new) if new and new.id != study.reference else None
        if base is None:
            return None
        rows = []
        for label, old in base.refitted.labels.items():
            line = [
                Cell(label),
                Cell((study.model.label_names_ru or {}).get(label, "")),
                figure(say.count, old.support),
                self._label_f1(label, base.refitted),
            ]
            if other and (found := other.refitted.labels.get(label)):
                line.append(self._label_f1(label, other.refitted))
                line.append(figure(say.signed, found.f1 - old.f1, 3))
            rows.append(line)
        head = [*say.names("label|in Russian|rows", "метка|по-русски|строк"), study.reference]
        caption = say(
            "F1 by label on {}, thresholds refitted, 95 % intervals",
            "F1 по меткам на {}, пороги свои, 95-процентные интервалы",
            study.data.choice_split,
        )
        more = [new.id, say("change", "изменение")] if new and other else []
        return table("labels", caption, head + more, rows, texts=2)

    def _label_f1(self, label: str, scoring: Scoring) -> Cell:
        """Write one label's F1, with its interval where there is one."""
        value, ends = scoring.labels[label].f1, scoring.intervals_95.labels.get(label)
        shown = self.say.score(value)
        return Cell(self.say.within(shown, *ends) if ends else shown, value)

    def changes(self) -> Table | None:
        """List the texts whose probabilities changed most."""
        study, say, new = self.study, self.say, self._compared
        quality = study.on_choice(new) if new else None
        if new is None or quality is None:
            return None
        rows = [
            (
                one.text,
                one.label,
                figure(say.score, one.reference),
                figure(say.score, one.candidate),
                figure(say.signed, one.candidate - one.reference, 3),
            )
            for one in quality.largest_changes or ()
        ]
        caption = say(
            "Largest changes of a probability on {}",
            "Наибольшие изменения вероятности на {}",
            study.data.choice_split,
        )
        text, label, changed = say.names("text|label|change", "текст|метка|изменение")
        head = (text, label, study.reference, new.id, changed)
        return table("changes", caption, head, rows, texts=2, words=True)

    def steps(self) -> Table | None:
        """List what each step of the study cost."""
        say = self.say

        def memory(value: float) -> str:
            return say.unit(value, "MB", "МБ")

        return table(
            "steps",
            say("What making this study cost", "Во что обошлось это исследование"),
            say.names("step|time|peak memory", "шаг|время|пик памяти"),
            [
                (
                    step.step,
                    figure(say.duration, step.seconds),
                    figure(memory, step.peak_memory_mb),
                )
                for step in self.study.steps or ()
            ],
        )


def _spread(write: Callable[[Spread, Language], str], spread: Spread | None, say: Language) -> Cell:
    return Cell(NONE) if spread is None else Cell(write(spread, say), spread.median)


def _range(spread: Spread, say: Language) -> str:
    low, high = say.quantity(spread.min), say.quantity(spread.max)
    return f"{say.quantity(spread.median)} ({low}–{high})"


def _interval(write: Callable[[Interval, Language], str], found: Interval, say: Language) -> Cell:
    return Cell(write(found, say), found.value)


def _score(found: Interval, say: Language) -> str:
    return say.within(say.score(found.value), found.low, found.high)
