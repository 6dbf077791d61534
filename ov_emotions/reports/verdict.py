"""The verdict in words: what to ship, because of what; the rule is `ov_emotions.reports.choice`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ov_emotions.evaluation.results import Interval
from ov_emotions.quantization.study_schema import Candidate, Quality, Spread, Study, parse_study
from ov_emotions.reports.choice import SAME_SIZE, SURE_ENOUGH, Choice, choose, keeps_accuracy
from ov_emotions.reports.language import Language

_ROWS = ("row|rows", "строка|строки|строк")


@dataclass(frozen=True)
class Verdict:
    """A verdict and what stands behind it.

    :param ship: id of the candidate to ship; None if the study cannot say.
    :param headline: the verdict in a few words.
    :param because: why, in a sentence or two; a verdict against quantizing names what ships.
    :param warning: what to know before anything else; None if there is nothing.
    :param reasons: sentences, the weightiest first.
    :param confirmation: what the final split showed; None if there is none.
    :param confirmed: whether it bears the choice out.
    :param compared: id of the candidate that is worth setting against the reference: the shipped
        one, else the quantized one that comes closest.
    :param choice: the rule's result.
    :param refused: by id, why a candidate may not be shipped.
    """

    ship: str | None
    headline: str
    because: str
    warning: str | None
    reasons: list[str]
    confirmation: str | None
    confirmed: bool | None
    compared: str | None
    choice: Choice
    refused: Mapping[str, str]


def decide(study: Mapping[str, Any] | Study, language: str = "en") -> dict[str, Any]:
    """Decide what to ship.

    Eligible is an OpenVINO candidate whose weighted F1 on the choice split, at thresholds fitted to
    itself, is at most `max_drop` below the reference's, the 95 % interval of the paired difference
    staying above three times that. Of the eligible ones that no other beats in everything (weighted
    F1, p50, throughput, size), those remain whose p50 is within 10 % of the shortest or cannot be
    told from it; of these the highest throughput wins. What cannot be told from it (ranges of the
    round ratios that overlap) shares the win, which goes to the smallest, then to the most
    accurate. Timings that are missing or too noisy leave the decision to size. The final split
    takes no part; random weights leave nothing to decide.

    :param study: a study, or its JSON.
    :param language: of the sentences, en or ru.
    :return: plain values: `ship` (an id or None), `headline`, `sentence`, `reasons`, `pareto`
        (ids), `refused` (reason by id), `confirmation` and `confirmed` (what the final split
        showed).
    :raises DataError: if it is no study.
    """
    parsed = study if isinstance(study, Study) else parse_study(study)
    verdict = judge(parsed, Language(language))
    return {
        "ship": verdict.ship,
        "headline": verdict.headline,
        "sentence": f"{verdict.headline}. {verdict.because}",
        "reasons": [*filter(None, [verdict.warning]), *verdict.reasons],
        "pareto": list(verdict.choice.pareto),
        "refused": dict(verdict.refused),
        "confirmation": verdict.confirmation,
        "confirmed": verdict.confirmed,
    }


def change(interval: Interval, say: Language) -> str:
    """Write a difference with its interval: `−0.0006 (−0.0019 to +0.0007)`."""
    return f"{say.signed(interval.value)} ({say.signed_range(interval.low, interval.high)})"


def times(value: Spread, say: Language) -> str:
    """Write a ratio with the range of its rounds: `2.80× (2.61–3.02)`."""
    shown = say.quantity(value.median)
    return f"{shown}× ({say.quantity(value.min)}–{say.quantity(value.max)})"


def judge(study: Study, say: Language) -> Verdict:
    """Decide, and say why."""
    return _Judge(study, choose(study), say).verdict()


@dataclass(frozen=True)
class _Judge:
    """Finds the words for one study's choice."""

    study: Study
    choice: Choice
    say: Language

    def verdict(self) -> Verdict:
        study, choice, say = self.study, self.choice, self.say
        refused = {id_: self._why_not(study.candidate(id_)) for id_ in choice.refused}
        confirmation: tuple[str | None, bool | None] = None, None
        reasons: list[str] = []
        if choice.chosen is not None:
            chosen = study.candidate(choice.chosen)
            kept = chosen.id == study.reference
            headline = self._headline(chosen)
            because = self._why_kept() if kept else self._why_better(chosen)
            reasons = self._reasons(chosen)
            confirmation = self._confirmation(chosen)
            compared = self._closest() if kept else chosen.id
        elif study.model.random_weights:
            headline = say("No verdict: random weights", "Вывода нет: веса случайные")
            because = say(
                "{} has random weights, so accuracy is not applicable and nothing here says what "
                "to ship; this study shows time and memory only.",
                "У {} случайные веса, поэтому точность не имеет смысла и выпускать по этому отчёту "
                "нечего; он показывает только время и память.",
                study.model.name,
            )
            others = [study.candidate(id_) for id_ in choice.near if id_ != study.reference]
            compared = others[0].id if others else None
            if choice.timed and others:
                fastest = max(others, key=_throughput)
                compared = fastest.id
                told = say("The fastest is {}: {}.", "Быстрее всех {}: {}.")
                reasons = [told.format(fastest.id, self._speed(fastest))]
        else:
            headline = say("No verdict: nothing to compare with", "Вывода нет: сравнить не с чем")
            reason = refused[study.reference]
            because = say("The reference {}: {}.", "Эталон {}: {}.", study.reference, reason)
            compared = next((id_ for id_ in choice.near if id_ != study.reference), None)
        return Verdict(
            choice.chosen,
            headline,
            because,
            self._noise(),
            reasons,
            *confirmation,
            compared=compared,
            choice=choice,
            refused=refused,
        )

    def _headline(self, chosen: Candidate) -> str:
        say = self.say
        quantized = [c for c in self.study.candidates if c.quantized and c.shippable]
        if chosen.quantized or not quantized:
            return say("Ship {}", "Выпускать {}", chosen.id)
        if not any(c.ok for c in quantized):
            return say(
                "Every quantized candidate failed", "Ни одну квантованную модель сделать не удалось"
            )
        return say("Do not ship a quantized model", "Квантованную модель не выпускать")

    def _why_better(self, chosen: Candidate) -> str:
        study, say = self.study, self.say
        quality = study.on_choice(chosen)
        assert quality is not None  # only a scored candidate is eligible
        told = "" if chosen.quantized else say("Ship {}. ", "Выпускать {}. ", chosen.id)
        if parts := [*self._gain(chosen), *self._smaller(chosen)]:
            joined = say(", and ".join(parts), say.joined(parts))
            told += say("Beside {} it {}. ", "Рядом с {} она {}. ", study.reference, joined)
        shown = change(quality.refitted.difference.weighted_f1, say), say.plain(study.max_drop)
        if keeps_accuracy(study, chosen):
            return told + say(
                "It keeps the accuracy: weighted F1 changes by {}, where a loss of {} is allowed.",
                "Точность сохраняется: взвешенная F1 меняется на {} при допустимой потере {}.",
                *shown,
            )
        return told + say(
            "Weighted F1 changes by {}, within the {} that may be lost, but the rows are too "
            "few to rule out more.",
            "Взвешенная F1 меняется на {}: это в пределах допустимой потери {}, но строк "
            "слишком мало, чтобы исключить большую.",
            *shown,
        )

    def _why_kept(self) -> str:
        study, say = self.study, self.say
        rivals = [c for c in study.candidates if c.shippable and c.id != study.reference]
        if not rivals:
            return say(
                "No other OpenVINO model was measured.", "Других моделей OpenVINO не измеряли."
            )
        ship = say("Ship {}: ", "Выпускать {}: ", study.reference)
        others = say.count(
            len(rivals),
            "other candidate|other candidates",
            "другой модели|других моделей|других моделей",
        )
        broken = [c for c in rivals if not c.ok]
        if len(broken) == len(rivals):
            return ship + say(
                "none of {} could be made. {} says: {}.",
                "не удалось сделать ни одну из {}. {}, ошибка: {}.",
                *(others, broken[0].id, (broken[0].error or "").rstrip(".")),
            )
        if len(self.choice.eligible) > 1:
            better = say("smaller", "меньше")
            if self.choice.timed:
                better = say("faster for certain", "быстрее наверняка")
            return ship + say(
                "others keep its accuracy as far as the rule asks, but none is {}.",
                "другие по правилу не теряют в точности, но ни одна не {}.",
                better,
            )
        told = say(
            "none of {} keeps weighted F1 within {} of it for certain.",
            "ни для одной из {} нельзя уверенно сказать, что взвешенная F1 теряет не больше {}.",
            *(others, say.plain(study.max_drop)),
        )
        best = self._closest()
        if best is not None and (quality := study.on_choice(study.candidate(best))):
            lost = say.signed(quality.refitted.difference.weighted_f1.value)
            told += say(" {} comes closest, at {}.", " Ближе всех {}: {}.", best, lost)
        return ship + told

    def _closest(self) -> str | None:
        """Return the quantized candidate that loses least; None if none was scored."""
        drops = {
            c.id: quality.refitted.difference.weighted_f1.value
            for c in self.study.candidates
            if c.quantized and c.shippable and (quality := self.study.on_choice(c))
        }
        return max(drops, key=drops.__getitem__) if drops else None

    def _gain(self, chosen: Candidate) -> list[str]:
        say, ratios = self.say, chosen.ratios
        if not self.choice.timed or not ratios or not ratios.throughput or not ratios.p50:
            return []
        if all(map(_not_told_from_one, (ratios.throughput, ratios.p50))):
            return [say("is as fast, as far as this run can tell", "не быстрее и не медленнее")]
        many, one = (
            say("about as fast", "примерно так же быстра")
            if _not_told_from_one(ratio)
            else say("{} times as fast", "в {} раза быстрее", say.quantity(ratio.median))
            for ratio in (ratios.throughput, ratios.p50)
        )
        if say.code == "en":
            return [f"is {many} with many texts and {one} with one"]
        return [f"{many} на потоке", f"{one} на одном тексте"]

    def _smaller(self, chosen: Candidate) -> list[str]:
        say = self.say
        old, new = self.study.candidate(self.study.reference).size_bytes, chosen.size_bytes
        if not old or not new:
            return []
        sizes = say.megabytes(new), say.megabytes(old)
        return [say("takes {} instead of {}", "занимает {} вместо {}", *sizes)]

    def _why_not(self, candidate: Candidate) -> str:
        """Say why a candidate may not be shipped."""
        study, say = self.study, self.say
        reason = self.choice.refused[candidate.id]
        if reason == "failed":
            error = candidate.error or say("no error was recorded", "ошибка не записана")
            return say("failed: {}", "не удалось сделать: {}", error)
        if reason == "torch":
            return say(
                "PyTorch, measured for comparison; what ships is OpenVINO",
                "PyTorch, измерен для сравнения; выпускается OpenVINO",
            )
        if reason == "not timed":
            return say("not timed, so it cannot be compared", "время не измерено, сравнить нельзя")
        quality = study.on_choice(candidate)
        if quality is None:
            return say("not scored on {}", "не оценена на {}", study.data.choice_split)
        told = say("changes weighted F1 by {}", "взвешенная F1 меняется на {}").format(
            change(quality.refitted.difference.weighted_f1, say)
        )
        if reason == "loses":
            return told + say(
                "; at most {} may be lost",
                "; терять можно не больше {}",
                say.plain(study.max_drop),
            )
        return told + say(
            ": with {} the interval is too wide to tell, as it reaches below {}",
            ": при {} интервал слишком широк, он заходит ниже {}",
            say.count(quality.rows, "row|rows", "строке|строках|строках"),
            say.signed(-SURE_ENOUGH * study.max_drop),
        )

    def _reasons(self, chosen: Candidate) -> list[str]:
        """Say what speaks for the chosen candidate, and what must be done with it."""
        study, say, found = self.study, self.say, []
        quality = study.on_choice(chosen)
        if chosen.id != study.reference and quality is not None:
            found.append(
                say(
                    "Weighted F1 on {} ({}) is {}. {} of the rows get other labels.",
                    "Взвешенная F1 на {} ({}) равна {}. Другие метки получают {} строк.",
                    study.data.choice_split,
                    say.count(quality.rows, *_ROWS),
                    say.score(quality.refitted.weighted_f1),
                    say.percent(quality.refitted.flipped_rows, 1),
                )
            )
            frozen = quality.frozen.difference.weighted_f1
            if frozen.value < -study.max_drop:
                told = say(
                    "Refit the thresholds, as this study did: at those of the reference the change "
                    "would be {}.",
                    "Пороги нужно подобрать заново, как здесь и сделано: с порогами эталона "
                    "изменение было бы {}.",
                )
                found.append(told.format(change(frozen, say)))
            told = say(
                "Serve it at inference precision {}, where its thresholds were fitted.",
                "Запускать с точностью вычислений {}: для неё подобраны пороги.",
            )
            found.append(told.format(chosen.precision))
        if not study.noisy and not self.choice.timed:
            found.append(
                say(
                    "No timings were taken, so size decided.",
                    "Время не измеряли, поэтому решил размер.",
                )
            )
        return found if len(self.choice.eligible) == 1 else [*found, self._among(chosen)]

    def _noise(self) -> str | None:
        """Say that the timings are worth nothing; None if they are worth something."""
        study, say = self.study, self.say
        if not study.noisy or study.noise is None:
            return None
        told = say(
            "The machine was too noisy to tell speed",
            "Машина была слишком занята, чтобы судить о скорости",
        )
        if not study.model.random_weights:
            told += say(", and size decided in its place", ", вместо неё решил размер")
        return f"{told}. {study.noise.sentence or ''}".strip()

    def _speed(self, candidate: Candidate) -> str:
        """Say how fast a timed candidate is, beside the reference."""
        say, ratios = self.say, candidate.ratios
        assert candidate.latency is not None

        def beside(ratio: Spread | None) -> str:
            if ratio is None:
                return ""
            told = times(ratio, say) + say(" as fast", " к эталону")
            if _not_told_from_one(ratio):
                told += say(", not told from 1", ", от 1 не отличить")
            return f" ({told})"

        return say(
            "one text takes {} at the median{}, and many go at {}{}",
            "один текст занимает {} по медиане{}, на потоке {}{}",
            say.unit(candidate.latency.p50_ms.median, "ms", "мс"),
            beside(ratios.p50 if ratios else None),
            say.unit(_throughput(candidate), "texts/s", "текстов/с"),
            beside(ratios.throughput if ratios else None),
        )

    def _among(self, chosen: Candidate) -> str:
        """Say how the winner was told from the other eligible candidates."""
        choice, say = self.choice, self.say
        told = say(
            "Of {} candidates that the rule lets through, the reference included, ",
            "Из {} моделей, которые пропускает правило (вместе с эталоном), ",
            len(choice.eligible),
        )
        others = [id_ for id_ in choice.tied if id_ != chosen.id]
        if not choice.timed:
            return told + say("{} is {}.", "{} — {}.", chosen.id, self._tie_break(chosen, others))
        if len(choice.near) == 1:
            return told + say(
                "none comes near {} in the time of one text.",
                "ни одна не близка к {} на одном тексте.",
                chosen.id,
            )
        told += say(
            "{} need about the shortest time for one text",
            "у {} время одного текста почти наименьшее",
            len(choice.near),
        )
        if not others:
            return told + say(
                ", and of these {} has the highest throughput.",
                ", и среди них {} быстрее всех на потоке.",
                chosen.id,
            )
        return told + say(
            ". In throughput {} cannot be told from {}: it is {}.",
            ". На потоке {} не отличить от {}: она {}.",
            *(chosen.id, say.joined(others), self._tie_break(chosen, others)),
        )

    def _tie_break(self, chosen: Candidate, others: list[str]) -> str:
        limit = (1 + SAME_SIZE) * (chosen.size_bytes or 0)
        rivals = [self.study.candidate(id_).size_bytes for id_ in others]
        if any(size is not None and size <= limit for size in rivals):
            return self.say("the most accurate of the smallest", "самая точная из самых малых")
        return self.say("the smallest", "самая малая")

    def _confirmation(self, chosen: Candidate) -> tuple[str | None, bool | None]:
        study, say = self.study, self.say
        quality = study.on_final(chosen)
        if quality is None or chosen.id == study.reference:
            return None, None
        difference = quality.refitted.difference.weighted_f1
        told = say(
            "On {} ({}), which had no part in the choice, the difference is {}: ",
            "На {} ({}), которая в выборе не участвовала, разница {}: ",
            study.data.final_split,
            say.count(quality.rows, *_ROWS),
            change(difference, say),
        )
        if difference.value >= -study.max_drop:
            return told + say("that bears the choice out.", "это подтверждает выбор."), True
        told += say(
            "more than {} is lost there, so look before you ship.",
            "там теряется больше {}, поэтому сначала проверьте.",
            say.plain(study.max_drop),
        )
        return told, False


def _throughput(candidate: Candidate) -> float:
    return candidate.throughput.texts_per_second.median if candidate.throughput else 0.0


def _not_told_from_one(ratio: Spread) -> bool:
    return ratio.min <= 1 <= ratio.max


def shipped_note(study: Study, verdict: Verdict, shipped: str | None, say: Language) -> str | None:
    """Say what ships under the model's name, where that is not what the verdict names.

    :param shipped: id of the candidate that ships with this library; None if none does.
    :return: a sentence or two; None if there is nothing to say.
    """
    if shipped is None or shipped == verdict.ship:
        return None
    told = say(
        "What ships as {name} is {shipped}, not {ship}.",
        "Под именем {name} поставляется {shipped}, а не {ship}.",
        name=study.model.name,
        shipped=shipped,
        ship=verdict.ship or say("this", "это"),
    )
    if shipped not in {candidate.id for candidate in study.candidates}:
        return told + say(" This study did not measure it.", " Здесь она не измерена.")
    candidate = study.candidate(shipped)
    figures = [
        say("{} on {}", "{} на {}", change(quality.refitted.difference.weighted_f1, say), split)
        for split in (study.data.choice_split, study.data.final_split)
        if (quality := study.on(candidate, split))
    ]
    if figures:
        told += say(
            " In this study its weighted F1 changes by {}.",
            " Здесь её взвешенная F1 меняется на {}.",
            say.joined(figures),
        )
    mine = study.on_final(candidate)
    other = study.on_final(study.candidate(verdict.ship)) if verdict.ship else None
    if mine and other and _overlap(mine, other):
        told += say(
            " On {} the two cannot be told apart.",
            " На {} их не отличить друг от друга.",
            study.data.final_split,
        )
    return told


def _overlap(one: Quality, other: Quality) -> bool:
    mine, theirs = (quality.refitted.difference.weighted_f1 for quality in (one, other))
    return mine.low <= theirs.high and theirs.low <= mine.high
