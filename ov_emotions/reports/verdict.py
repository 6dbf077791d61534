"""The verdict in words: what to ship, because of what; the rule is `ov_emotions.reports.choice`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ov_emotions.reports import format as fmt
from ov_emotions.reports.choice import Choice, choose
from ov_emotions.reports.reading import parse_study
from ov_emotions.reports.reasons import noise_warning, reasons, speed
from ov_emotions.reports.study import Candidate, Spread, Study

_NOT_TOLD = "about as fast"


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
    """

    ship: str | None
    headline: str
    because: str
    warning: str | None
    reasons: tuple[str, ...]
    confirmation: str | None
    confirmed: bool | None
    compared: str | None
    choice: Choice

    @property
    def sentence(self) -> str:
        """The headline and its because, in one."""
        return f"{self.headline}. {self.because}"


def decide(study: Mapping[str, Any]) -> dict[str, Any]:
    """Decide what to ship.

    Eligible is an OpenVINO candidate whose weighted F1 on the choice split, at thresholds fitted to
    itself, is at most `max_drop` below the reference's, the 95 % interval of the paired difference
    staying above three times that. Of the eligible ones that no other beats in everything (weighted
    F1, p50, throughput, size), those remain whose p50 is within 10 % of the shortest or cannot be
    told from it; of these the highest throughput wins. What cannot be told from it (ranges of the
    round ratios that overlap) shares the win, which goes to the smallest, then to the most
    accurate. Timings that are missing or too noisy leave the decision to size. The final split
    takes no part; random weights leave nothing to decide.

    :param study: study JSON.
    :return: plain values: `ship` (an id or None), `headline`, `sentence`, `reasons`, `pareto`
        (ids), `refused` (reason by id), `confirmation` and `confirmed` (what the final split
        showed).
    :raises DataError: if it is no study.
    """
    verdict = judge(parse_study(study))
    return {
        "ship": verdict.ship,
        "headline": verdict.headline,
        "sentence": verdict.sentence,
        "reasons": [*filter(None, [verdict.warning]), *verdict.reasons],
        "pareto": list(verdict.choice.pareto),
        "refused": dict(verdict.choice.refused),
        "confirmation": verdict.confirmation,
        "confirmed": verdict.confirmed,
    }


def judge(study: Study) -> Verdict:
    """Decide, and say why.

    :param study: the study.
    :return: the verdict.
    """
    choice = choose(study)
    if choice.chosen is None:
        return _no_verdict(study, choice)
    chosen = study.candidate(choice.chosen)
    confirmation, confirmed = _confirmation(study, chosen)
    kept = chosen.id == study.reference
    return Verdict(
        ship=chosen.id,
        headline=_headline(study, chosen),
        because=_why_kept(study, choice) if kept else _why_better(study, choice, chosen),
        warning=noise_warning(study),
        reasons=tuple(reasons(study, choice, chosen)),
        confirmation=confirmation,
        confirmed=confirmed,
        compared=_closest(study) if kept else chosen.id,
        choice=choice,
    )


def _no_verdict(study: Study, choice: Choice) -> Verdict:
    others = [c for c in choice.near if c != study.reference]
    compared, said = next(iter(others), None), []
    if study.model.random_weights:
        headline = "No verdict: random weights"
        because = (
            f"{study.model.name} has random weights, so accuracy is not applicable and nothing "
            "here says what to ship; this study shows time and memory only."
        )
        if choice.timed and others:
            fastest = max(map(study.candidate, others), key=_median_throughput)
            compared = fastest.id
            said.append(f"The fastest is {fastest.id}: {speed(fastest)}.")
    else:
        headline = "No verdict: nothing to compare with"
        reason = choice.refused[study.reference]
        was = reason if reason.startswith("failed") else f"cannot be used: {reason}"
        because = f"The reference {study.reference} {was}."
    return Verdict(
        ship=None,
        headline=headline,
        because=because,
        warning=noise_warning(study),
        reasons=tuple(said),
        confirmation=None,
        confirmed=None,
        compared=compared,
        choice=choice,
    )


def _median_throughput(candidate: Candidate) -> float:
    return candidate.throughput.median if candidate.throughput else 0.0


def _closest(study: Study) -> str | None:
    """Return the quantized candidate that loses least; None if none was scored."""
    drops = {
        c.id: quality.refitted.difference.value
        for c in study.candidates
        if c.quantized and c.shippable and (quality := study.on_choice(c))
    }
    return max(drops, key=drops.__getitem__) if drops else None


def _headline(study: Study, chosen: Candidate) -> str:
    if chosen.quantized:
        return f"Ship {chosen.id}"
    if any(c.quantized for c in study.candidates):
        return "Do not ship a quantized model"
    return f"Ship {chosen.id}"


def _why_better(study: Study, choice: Choice, chosen: Candidate) -> str:
    quality = study.on_choice(chosen)
    assert quality is not None  # only a scored candidate is eligible
    parts = [part for part in (_gain(choice, chosen), _smaller(study, chosen)) if part]
    parts.append(
        "keeps the accuracy: weighted F1 changes by "
        f"{fmt.signed(quality.refitted.difference.value)}, where a loss of {study.max_drop:g} is "
        "allowed"
    )
    told = f"Beside {study.reference} it {fmt.joined(parts)}."
    return told if chosen.quantized else f"Ship {chosen.id}. {told}"


def _why_kept(study: Study, choice: Choice) -> str:
    rivals = [c for c in study.candidates if c.shippable and c.id != study.reference]
    if not rivals:
        return "No other OpenVINO model was measured."
    ship = f"Ship {study.reference}: "
    if len(choice.eligible) > 1:
        by = "faster" if choice.timed else "smaller"
        return f"{ship}others keep its accuracy, but none is {by} for certain."
    best = _closest(study)
    near = ""
    if best is not None and (quality := study.on_choice(study.candidate(best))):
        near = f" {best} comes closest, at {fmt.signed(quality.refitted.difference.value)}."
    return (
        f"{ship}none of {fmt.plural(len(rivals), 'other candidate')} keeps weighted F1 within "
        f"{study.max_drop:g} of it for certain.{near}"
    )


def _gain(choice: Choice, chosen: Candidate) -> str:
    if not choice.timed or chosen.throughput_ratio is None or chosen.p50_ratio is None:
        return ""
    many, one = _faster(chosen.throughput_ratio), _faster(chosen.p50_ratio)
    if many == one == _NOT_TOLD:
        return "is as fast, as far as this run can tell"
    return f"is {many} with many texts and {one} with one"


def _faster(ratio: Spread) -> str:
    if ratio.min <= 1 <= ratio.max:
        return _NOT_TOLD
    return f"{fmt.number(ratio.median)} times as fast"


def _smaller(study: Study, chosen: Candidate) -> str:
    old, new = study.candidate(study.reference).size_bytes, chosen.size_bytes
    return f"takes {fmt.megabytes(new)} instead of {fmt.megabytes(old)}" if old and new else ""


def _confirmation(study: Study, chosen: Candidate) -> tuple[str | None, bool | None]:
    quality = study.on_final(chosen)
    if study.data.final_split is None or quality is None or chosen.id == study.reference:
        return None, None
    difference = quality.refitted.difference
    confirmed = difference.value >= -study.max_drop
    start = (
        f"On {study.data.final_split} ({fmt.plural(quality.rows, 'row')}), which had no part in "
        f"the choice, the difference is {fmt.signed_interval(difference)}: "
    )
    if confirmed:
        return start + "that bears the choice out.", True
    return start + f"more than {study.max_drop:g} is lost there, so look before you ship.", False
