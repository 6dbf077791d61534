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
from typing import Literal

from ov_emotions.quantization.study_schema import Candidate, Spread, Study

SURE_ENOUGH = 3.0
NEAR = 0.10
SAME_SIZE = 0.05

_ONE = Spread(median=1.0, min=1.0, max=1.0)

Refusal = Literal["failed", "torch", "not scored", "not timed", "loses", "too few rows"]


@dataclass(frozen=True)
class Choice:
    """What the rule came to.

    :param chosen: id of the winner; None if nothing may be said.
    :param eligible: ids that keep the accuracy, the reference among them.
    :param refused: by id of all others, why.
    :param pareto: ids that no eligible candidate beats in everything.
    :param near: ids left by step 3.
    :param tied: ids that shared the highest throughput.
    :param timed: whether timings decided.
    """

    chosen: str | None
    eligible: tuple[str, ...]
    refused: Mapping[str, Refusal]
    pareto: tuple[str, ...]
    near: tuple[str, ...]
    tied: tuple[str, ...]
    timed: bool


def choose(study: Study) -> Choice:
    """Apply the rule; with random weights accuracy takes no part and nothing is chosen."""
    refused = {c.id: reason for c in study.candidates if (reason := _refusal(study, c))}
    eligible = [c for c in study.candidates if c.id not in refused]
    reference = study.candidate(study.reference)
    timed = not study.noisy and reference.id not in refused and reference.timed
    if timed:
        untimed = [c for c in eligible if not c.timed]
        refused.update((c.id, "not timed") for c in untimed)
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


def _refusal(study: Study, candidate: Candidate) -> Refusal | None:
    """Say why a candidate may not be shipped; None if it may."""
    if not candidate.ok:
        return "failed"
    if not candidate.shippable:
        return "torch"
    if study.model.random_weights:
        return None
    quality = study.on_choice(candidate)
    if quality is None:
        return "not scored"
    if candidate.id == study.reference:
        return None
    if quality.change.value < -study.max_drop:
        return "loses"
    return "too few rows" if quality.change.low < -SURE_ENOUGH * study.max_drop else None


def _p50(candidate: Candidate) -> Spread:
    assert candidate.latency is not None  # only timed candidates come here
    return candidate.latency.p50_ms


def _throughput(candidate: Candidate) -> Spread:
    assert candidate.throughput is not None  # only timed candidates come here
    return candidate.throughput.texts_per_second


def _goods(study: Study, candidate: Candidate, *, timed: bool) -> tuple[float, ...]:
    """Return what counts for a candidate, more being better."""
    quality = study.on_choice(candidate)
    size = candidate.size_bytes
    goods = [
        quality.refitted.weighted_f1 if quality else 0.0,
        float("-inf") if size is None else -float(size),
    ]
    if timed:
        goods += [-_p50(candidate).median, _throughput(candidate).median]
    return tuple(goods)


def _pareto(study: Study, candidates: Sequence[Candidate], *, timed: bool) -> list[Candidate]:
    goods = {c.id: _goods(study, c, timed=timed) for c in candidates}

    def beaten(one: tuple[float, ...]) -> bool:
        return any(
            other != one and all(a >= b for a, b in zip(other, one, strict=True))
            for other in goods.values()
        )

    return [c for c in candidates if not beaten(goods[c.id])]


def _alike(
    one: Candidate, other: Candidate, reference: str, what: Literal["p50", "throughput"]
) -> bool:
    """Tell whether two candidates' timings overlap: as ratios if known, else as measured."""
    mine, theirs = (
        _ONE if c.id == reference else getattr(c.ratios, what, None) for c in (one, other)
    )
    if mine is None or theirs is None:
        mine, theirs = map(_p50 if what == "p50" else _throughput, (one, other))
    return mine.overlaps(theirs)


def _near(candidates: Sequence[Candidate], reference: str) -> list[Candidate]:
    best = min(candidates, key=lambda c: _p50(c).median)
    limit = (1 + NEAR) * _p50(best).median
    return [c for c in candidates if _p50(c).median <= limit or _alike(c, best, reference, "p50")]


def _fastest(candidates: Sequence[Candidate], reference: str) -> list[Candidate]:
    best = max(candidates, key=lambda c: _throughput(c).median)
    return [c for c in candidates if c is best or _alike(c, best, reference, "throughput")]


def _smallest(study: Study, candidates: Sequence[Candidate]) -> Candidate:
    sizes = [c.size_bytes for c in candidates if c.size_bytes is not None]
    limit = (1 + SAME_SIZE) * min(sizes) if sizes else float("inf")
    small = [c for c in candidates if not sizes or (c.size_bytes or float("inf")) <= limit]
    return max(small, key=lambda c: _goods(study, c, timed=False)[0])
