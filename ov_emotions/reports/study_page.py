"""A study as a page, as GitHub Markdown and as a plot of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ov_emotions.quantization.study_schema import Candidate, Study
from ov_emotions.reports.charts import alone
from ov_emotions.reports.language import Language
from ov_emotions.reports.page import render
from ov_emotions.reports.study_charts import StudyCharts
from ov_emotions.reports.study_tables import StudyTables
from ov_emotions.reports.verdict import Verdict, judge, rule, shipped_note

Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class StudyPage:
    """Everything that a report shows, for the templates.

    :param study: the study.
    :param say: the language.
    :param shipped: id of the candidate that ships with this library under the model's name.
    """

    study: Study
    say: Language
    shipped: str | None = None

    @cached_property
    def verdict(self) -> Verdict:
        """What to ship, and why."""
        return judge(self.study, self.say)

    @cached_property
    def tables(self) -> StudyTables:
        """The tables."""
        return StudyTables(self.study, self.verdict, self.say)

    @cached_property
    def charts(self) -> StudyCharts:
        """The charts."""
        return StudyCharts(self.study, self.verdict, self.say)

    def html(self) -> str:
        """Write the page; it asks for nothing outside itself, and what the JSON holds stays text.

        :raises MissingExtraError: if what draws or writes pages is not installed.
        """
        return render("report.html.j2", self.say, **self._values())

    def markdown(self, image: str | None) -> str:
        """Write the report for a repository.

        :param image: the Pareto plot's file, relative to the report; None leaves it out.
        """
        return render("report.md.j2", self.say, image=image, **self._values())

    def plot(self) -> str:
        """Draw the Pareto plot as a file, for light and dark surroundings."""
        chart = self.charts.pareto()
        if chart is not None:
            return alone(chart.wide)
        told = self.say(
            "Nothing was measured that could be plotted.", "Не измерено ничего, что можно показать."
        )
        text = f'<text x="16" y="34" fill="var(--ink)" font-family="sans-serif">{told}</text>'
        return alone(
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" '
            f'width="820" height="56" viewBox="0 0 820 56">{text}</svg>'
        )

    def _values(self) -> dict[str, Any]:
        study, verdict, say = self.study, self.verdict, self.say
        mood = "none" if verdict.ship is None else ""
        base = study.on_choice(study.candidate(study.reference))
        return {
            "title": f"{verdict.headline} – {study.model.name}",
            "about": self._about(),
            "mood": mood,
            "skip_to": "all",
            "study": study,
            "verdict": verdict,
            "names": [candidate.id for candidate in study.candidates],
            "note": shipped_note(study, verdict, self.shipped, say),
            "tables": self.tables,
            "charts": self.charts,
            "base": base.refitted.weighted if base else None,
            "recipes": recipes(study, say),
            "rule": () if study.model.random_weights else rule(study, say),
            "measured": how_measured(study, say),
            "facts": facts(study, say),
            "repeat": how_to_repeat(study, say),
        }

    def _about(self) -> str:
        """Say in a line what was studied, on what and when."""
        study, say = self.study, self.say
        told = say("Quantization study of {}", "Исследование квантования {}")
        parts = [told.format(study.model.name), str((study.machine or {}).get("cpu") or "")]
        return " · ".join(part for part in (*parts, (study.created or "")[:10]) if part)


def how_measured(study: Study, say: Language) -> list[str]:
    """Say how the figures came about, a paragraph each."""
    paragraphs = [] if study.model.random_weights else [_splits(study, say)]
    paragraphs += _timings(study, say)
    if study.parity:
        paragraphs.append(
            say(
                "The fp32 IR was held against the original model: {}.",
                "IR в fp32 сверен с исходной моделью: {}.",
            ).format(_plain(study.parity))
        )
    if study.readings:
        found = study.readings
        paragraphs.append(
            say(
                "On {} ({}) the fp32 model's weighted F1 is {} on texts as they are written and {} "
                "stripped to what a recogniser writes: a difference of {} ({}).",
                "На {} ({}) взвешенная F1 модели fp32 равна {} на текстах как они написаны и {} на "
                "текстах в том виде, в каком их пишет распознаватель: разница {} ({}).",
            ).format(
                found.split,
                say.count(found.rows, "row|rows", "строка|строки|строк"),
                say.score(found.as_written.value),
                say.score(found.as_recognised.value),
                say.signed(found.difference.value),
                say.signed_range(found.difference.low, found.difference.high),
            )
        )
    by_reason: dict[str, list[str]] = {}
    for absent in study.not_measured or ():
        by_reason.setdefault(absent.why, []).append(absent.id)
    told = say("Not measured: {}, as {}.", "Не измерены: {}, потому что {}.")
    return paragraphs + [told.format(say.joined(ids), why) for why, ids in by_reason.items()]


def _splits(study: Study, say: Language) -> str:
    data = study.data
    uses = (
        (data.calibration_split, say("{} to calibrate", "{} для калибровки")),
        (data.thresholds_split, say("{} to fit thresholds", "{} для подбора порогов")),
        (data.choice_split, say("{} to choose", "{} для выбора")),
        (data.final_split, say("{} to confirm the choice", "{} для проверки выбора")),
    )
    roles = [use.format(_named(study, split, say)) for split, use in uses if split]
    samples = study.settings.get("bootstrap_samples")
    drawn = say("a bootstrap", "бутстрепа")
    if isinstance(samples, int):
        drawn = say.count(
            samples, "bootstrap sample|bootstrap samples", "выборки|выборок|выборок"
        ) + say("", " бутстрепа")
    return say(
        "What served what: {}. Intervals are 95 % intervals of {} of the rows. A change to the "
        "reference is paired: both models are scored on the same rows of each sample, so it is "
        "told more finely than either score.",
        "Что для чего: {}. Интервалы — 95-процентные, по {} из строк. Изменение относительно "
        "эталона парное: обе модели оцениваются на одних и тех же строках каждой выборки, поэтому "
        "оно известно точнее, чем каждая оценка.",
    ).format(say.joined(roles), drawn)


def _named(study: Study, split: str, say: Language) -> str:
    rows = study.data.rows.get(split)
    counted = "" if rows is None else f" ({say.count(rows, 'row|rows', 'строка|строки|строк')})"
    return split + counted


def _timings(study: Study, say: Language) -> list[str]:
    if not any(c.latency or c.throughput for c in study.candidates):
        return [say("Nothing was timed.", "Время не измеряли.")]

    def count(key: str, en: str, ru: str) -> str:
        value = study.settings.get(key)
        return say.count(value, en, ru) if isinstance(value, int) else say(*_SEVERAL)

    told = say(
        "Timings interleave the candidates in one run of {rounds}: each round times every "
        "candidate on {threads}. Latency is that of {single}, one at a time; throughput that of "
        "{many} at once. A figure is the median of the rounds with the smallest and the largest. A "
        "ratio is taken within each round, so that what slows the machine for a while slows both "
        "sides of it.",
        "Модели измеряются вперемешку за один прогон из {rounds}: в каждом раунде — все, "
        "{threads}. Время одного текста — по {single} по одному; скорость на потоке — по {many} "
        "сразу. Цифра — медиана раундов, рядом наименьшее и наибольшее. Отношение берётся внутри "
        "раунда, чтобы временная помеха мешала обеим сторонам.",
    ).format(
        rounds=count("rounds", "round|rounds", "раунда|раундов|раундов"),
        threads=count("threads", "thread|threads", "поток|потока|потоков"),
        single=count("single_texts", "text|texts", "тексту|текстам|текстам"),
        many=count("offline_texts", "text|texts", "тексту|текстам|текстам"),
    )
    if study.settings.get("starts"):
        told += say(
            " Load, first inference and memory are of {}.",
            " Загрузка, первый ответ и память — по {}.",
        ).format(
            count(
                "starts",
                "fresh process|fresh processes",
                "новому процессу|новым процессам|новым процессам",
            )
        )
    noise = (study.noise.sentence or "").strip() if study.noise else ""
    return [told, *([noise] if noise else [])]


_SEVERAL = ("several", "нескольким")


def facts(study: Study, say: Language) -> Facts:
    """List what the figures depend on: model, data, machine, versions, settings."""
    model, data = study.model, study.data
    pairs: list[tuple[str, Any]] = [
        (say("model", "модель"), model.name),
        (say("checkpoint", "чекпойнт"), model.checkpoint),
        (say("weights, SHA-256", "веса, SHA-256"), model.weights_sha256),
        (
            say("parameters", "параметров"),
            None if model.parameters is None else say.count(model.parameters),
        ),
        (say("data manifest, SHA-256", "манифест данных, SHA-256"), data.manifest_sha256),
        (say("data seed", "зерно данных"), data.seed),
        *((_words(key), value) for key, value in (study.machine or {}).items()),
        *((study.versions or {}).items()),
        *((_words(key), value) for key, value in study.settings.items()),
    ]
    return [(key, _plain(value)) for key, value in pairs if value not in (None, "", [], {})]


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(value: Any) -> str:
    """Write a free value of the JSON in a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(key))}: {_plain(item)}" for key, item in value.items())
    return json.dumps(value)


def recipes(study: Study, say: Language) -> list[tuple[Candidate, Facts]]:
    """List how each quantized model was made; precisions of one recipe are one entry."""
    seen, found = set(), []
    for candidate in study.candidates:
        key = candidate.recipe or candidate.id
        if candidate.quantization is not None and key not in seen:
            seen.add(key)
            found.append((candidate, list(_recipe_facts(candidate.quantization, say))))
    return found


def _recipe_facts(made: Mapping[str, Any], say: Language) -> Iterator[tuple[str, str]]:
    """Write the free facts in a flat list; what is said twice is written once."""
    seen: dict[str, str] = {}
    # What stands outermost first: it has the short name where two share one.
    for path, value in sorted(_leaves(made, ()), key=lambda leaf: len(leaf[0])):
        key = path[-1]
        name = say("time", "время") if key == "seconds" else _words(key)
        text = _recipe_value(key, value, say)
        if not text or seen.get(name) == text:
            continue
        name = _words(" ".join(path)) if name in seen else name
        seen[name] = text
        yield name, text


def _leaves(
    made: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in made.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, str(key)))
        elif key not in ("name", "description"):  # they are the entry's title
            yield (*path, str(key)), value


def _recipe_value(key: str, value: Any, say: Language) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key == "seconds":
            return say.duration(value)
        if key == "final_drop":
            return say.number(value, 4)
    if key == "reverted_operations" and isinstance(value, list | tuple):
        return f"{len(value)}: {_plain(value)}" if value else "0"
    return "" if value is None else _plain(value)


def how_to_repeat(study: Study, say: Language) -> str:
    """Say what must be the same for the same figures."""
    seeds = [f"{_words(k)} {v}" for k, v in study.settings.items() if k.endswith("seed")]
    return say(
        "The same command on the same data, with the same versions, gives the same scores and "
        "intervals up to rounding{}; timings are the machine's own. All figures are in study.json, "
        "beside this page.",
        "Та же команда на тех же данных с теми же версиями даёт те же оценки и интервалы с "
        "точностью до округления{}; время у каждой машины своё. Все цифры — в study.json рядом с "
        "этой страницей.",
    ).format(f" ({', '.join(seeds)})" if seeds else "")
