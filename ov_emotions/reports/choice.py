"""Which candidate to ship: the rule, without words around it.

1. Eligible is an OpenVINO candidate that lost no more weighted F1 than `max_drop` to the reference
   (paired by row, on the choice split, at thresholds fitted to itself), and whose 95 % interval
   stays above `SURE_ENOUGH` times that loss. The reference itself is eligible.
2. Of these, the Pareto set remains: no other is at least as good in weighted F1, p50, throughput
   and size, and better in one.
3. Of these, those remain whose p50 is within `NEAR` of the shortest, or cannot be told from it.
4. Of these, the one with the highest throughput wins. What cannot be told from it shares the win:
   then the smallest is taken, and of equally small ones (within `SAME_SIZE`) the most accurate.

Two timings cannot be told apart where the ranges of their round ratios to the reference overlap.
Where timings are missing or too noisy, size decides in place of steps 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ov_emotions.reports.format import plural, signed, signed_interval
from ov_emotions.reports.study import Candidate, Latency, Spread, Study

SURE_ENOUGH = 3.0
NEAR = 0.10
SAME_SIZE = 0.05

_ONE = Spread(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Choice:
    """What the rule came to.

    :param chosen: id of the winner; None if nothing may be said.
    :param eligible: ids that keep the accuracy, the reference among them.
    :param refused: reason by id of all others.
    :param pareto: ids that no eligible candidate beats in everything.
    :param near: ids left by step 3.
    :param tied: ids that shared the highest throughput.
    :param timed: whether timings decided.
    """

    chosen: str | None
    eligible: tuple[str, ...]
    refused: Mapping[str, str]
    pareto: tuple[str, ...]
    near: tuple[str, ...]
    tied: tuple[str, ...]
    timed: bool


def choose(study: Study) -> Choice:
    """Apply the rule.

    :param study: the study.
    :return: the choice; with random weights accuracy takes no part and nothing is chosen.
    """
    refused = {c.id: reason for c in study.candidates if (reason := _refusal(study, c))}
    eligible = [c for c in study.candidates if c.id not in refused]
    reference = study.candidate(study.reference)
    timed = not study.noisy and reference.id not in refused and _is_timed(reference)
    if timed:
        untimed = [c for c in eligible if not _is_timed(c)]
        refused |= {c.id: "not timed, so it cannot be compared" for c in untimed}
        eligible = [c for c in eligible if c not in untimed]
    pareto = _pareto(study, eligible, timed=timed)
    near = _near(pareto, study.reference) if timed else pareto
    tied = _fastest(near, study.reference) if timed else pareto
    can_choose = reference.id not in refused and not study.model.random_weights
    return Choice(
        chosen=_smallest(study, tied).id if can_choose and tied else None,
        eligible=_ids(eligible),
        refused=refused,
        pareto=_ids(pareto),
        near=_ids(near),
        tied=_ids(tied),
        timed=timed,
    )


def _ids(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(candidate.id for candidate in candidates)


def _refusal(study: Study, candidate: Candidate) -> str | None:
    """Say why a candidate may not be shipped; None if it may."""
    if not candidate.ok:
        return f"failed: {candidate.error or 'no error was recorded'}"
    if not candidate.shippable:
        return "PyTorch, measured for comparison; what ships is OpenVINO"
    if study.model.random_weights:
        return None
    quality = study.on_choice(candidate)
    if quality is None:
        return f"not scored on {study.data.choice_split}"
    if candidate.id == study.reference:
        return None
    difference, max_drop = quality.refitted.difference, study.max_drop
    if difference.value < -max_drop:
        return (
            f"changes weighted F1 by {signed_interval(difference)}; at most {max_drop:g} may be "
            "lost"
        )
    if difference.low < -SURE_ENOUGH * max_drop:
        return (
            f"changes weighted F1 by {signed_interval(difference)}: with "
            f"{plural(quality.rows, 'row')} the interval is too wide to tell, as it reaches below "
            f"{signed(-SURE_ENOUGH * max_drop)}"
        )
    return None


def _is_timed(candidate: Candidate) -> bool:
    return candidate.latency is not None and candidate.throughput is not None


def _latency(candidate: Candidate) -> Latency:
    assert candidate.latency is not None  # only timed candidates come here
    return candidate.latency


def _throughput(candidate: Candidate) -> Spread:
    assert candidate.throughput is not None  # only timed candidates come here
    return candidate.throughput


def _goods(study: Study, candidate: Candidate, *, timed: bool) -> tuple[float, ...]:
    """Return what counts for a candidate, more being better."""
    quality = study.on_choice(candidate)
    size = candidate.size_bytes
    goods = [
        quality.refitted.weighted_f1.value if quality else 0.0,
        float("-inf") if size is None else -float(size),
    ]
    if timed:
        goods += [-_latency(candidate).p50.median, _throughput(candidate).median]
    return tuple(goods)


def _pareto(study: Study, candidates: Sequence[Candidate], *, timed: bool) -> list[Candidate]:
    goods = {c.id: _goods(study, c, timed=timed) for c in candidates}

    def beaten(one: tuple[float, ...]) -> bool:
        return any(
            other != one and all(a >= b for a, b in zip(other, one, strict=True))
            for other in goods.values()
        )

    return [c for c in candidates if not beaten(goods[c.id])]


def _alike(one: Candidate, other: Candidate, reference: str, what: str) -> bool:
    """Tell whether two candidates' timings overlap: as ratios if known, else as measured."""
    ratios = [_ONE if c.id == reference else getattr(c, f"{what}_ratio") for c in (one, other)]
    if all(ratio is not None for ratio in ratios):
        return bool(ratios[0].overlaps(ratios[1]))
    if what == "p50":
        return _latency(one).p50.overlaps(_latency(other).p50)
    return _throughput(one).overlaps(_throughput(other))


def _near(candidates: Sequence[Candidate], reference: str) -> list[Candidate]:
    best = min(candidates, key=lambda c: _latency(c).p50.median)
    limit = (1 + NEAR) * _latency(best).p50.median
    return [
        c
        for c in candidates
        if _latency(c).p50.median <= limit or _alike(c, best, reference, "p50")
    ]


def _fastest(candidates: Sequence[Candidate], reference: str) -> list[Candidate]:
    best = max(candidates, key=lambda c: _throughput(c).median)
    return [c for c in candidates if c is best or _alike(c, best, reference, "throughput")]


def _smallest(study: Study, candidates: Sequence[Candidate]) -> Candidate:
    sizes = [c.size_bytes for c in candidates if c.size_bytes is not None]
    limit = (1 + SAME_SIZE) * min(sizes) if sizes else float("inf")
    small = [c for c in candidates if not sizes or (c.size_bytes or float("inf")) <= limit]
    return max(small, key=lambda c: _goods(study, c, timed=False)[0])
