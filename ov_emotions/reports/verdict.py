"""The verdict on a study: what to ship, because of what.

`ov_emotions.reports.choice` is the rule, and `templates/verdict.j2` the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ov_emotions.quantization.study_schema import Candidate, Study, parse_study
from ov_emotions.reports import choice as rule
from ov_emotions.reports.choice import SAME_SIZE, Choice, choose
from ov_emotions.reports.language import Language
from ov_emotions.reports.page import words

_ROWS = ("row|rows", "строка|строки|строк")


@dataclass(frozen=True)
class Verdict:
    """A verdict and what stands behind it.

    :param ship: id of the candidate to ship; None if the study cannot say.
    :param headline: the verdict in a few words.
    :param because: why, in a sentence or two; a verdict against quantizing names what ships.
    :param warning: what to know before anything else; empty if there is nothing.
    :param reasons: sentences, the weightiest first.
    :param confirmation: what the final split showed; None if there is none.
    :param confirmed: whether it bears the choice out.
    :param note: what ships under the model's name, where that is something else; None if not.
    :param compared: id of the candidate that is worth setting against the reference: the shipped
        one, else the quantized one that comes closest.
    :param choice: the rule's result.
    :param refused: by id, why a candidate may not be shipped.
    """

    ship: str | None
    headline: str
    because: str
    warning: str
    reasons: list[str]
    confirmation: str | None
    confirmed: bool | None
    note: str | None
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
    :raises MissingExtraError: if jinja2 is not installed.
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


def judge(study: Study, say: Language, shipped: str | None = None) -> Verdict:
    """Decide, and say why.

    :param shipped: id of the candidate that ships with this library; None if none does.
    """
    choice = choose(study)
    chosen = study.candidate(choice.chosen) if choice.chosen else None
    rivals = [study.candidate(id_) for id_ in choice.near if id_ != study.reference]
    tied = [id_ for id_ in choice.tied if id_ != choice.chosen]
    closest, compared, fastest = _closest(study), rivals[0] if rivals else None, None
    if chosen is not None:
        compared = closest if chosen.id == study.reference else chosen
    elif study.model.random_weights and choice.timed and rivals:
        fastest = compared = max(rivals, key=_throughput)
    told = words(
        "verdict.j2",
        say,
        study=study,
        rule=rule,
        rows=_ROWS,
        choice=choice,
        chosen=chosen,
        closest=closest,
        fastest=fastest,
        tied=tied,
        alike=chosen is not None and _as_small(study, chosen, tied),
    )
    final = study.on_final(chosen) if chosen and chosen.id != study.reference else None
    confirmed = final.change.value >= -study.max_drop if final else None
    return Verdict(
        ship=choice.chosen,
        headline=told.headline,
        because=told.because,
        warning=told.warning.strip(),
        reasons=list(filter(None, told.reasons().splitlines())),
        confirmation=told.confirmation(final, confirmed) if final else None,
        confirmed=confirmed,
        note=told.note(shipped, _told_apart(study, chosen, shipped) is False)
        if shipped not in (None, choice.chosen)
        else None,
        compared=compared.id if compared else None,
        choice=choice,
        refused={id_: told.why_not(study.candidate(id_)) for id_ in choice.refused},
    )


def _closest(study: Study) -> Candidate | None:
    """Return the quantized candidate that loses least; None if none was scored."""
    drops = {
        quality.change.value: c
        for c in reversed(study.candidates)
        if c.quantized and c.shippable and (quality := study.on_choice(c))
    }
    return drops[max(drops)] if drops else None


def _throughput(candidate: Candidate) -> float:
    return candidate.throughput.texts_per_second.median if candidate.throughput else 0.0


def _as_small(study: Study, chosen: Candidate, others: list[str]) -> bool:
    """Tell whether another is about as small."""
    sizes = [study.candidate(id_).size_bytes for id_ in others]
    limit = (1 + SAME_SIZE) * (chosen.size_bytes or 0)
    return any(size is not None and size <= limit for size in sizes)


def _told_apart(study: Study, chosen: Candidate | None, shipped: str | None) -> bool | None:
    """Tell whether the final split tells two candidates apart; None where it cannot be asked."""
    known = {candidate.id: candidate for candidate in study.candidates}
    pair = [study.on_final(c) for c in (chosen, known.get(shipped or "")) if c is not None]
    changes = [quality.change for quality in pair if quality is not None]
    if len(changes) < 2:
        return None
    return max(change.low for change in changes) > min(change.high for change in changes)
