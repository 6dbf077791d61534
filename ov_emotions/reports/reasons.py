"""Sentences that stand behind a verdict: what was measured, and how one was told from others."""

from __future__ import annotations

from ov_emotions.reports import format as fmt
from ov_emotions.reports.choice import NEAR, SAME_SIZE, SURE_ENOUGH, Choice
from ov_emotions.reports.study import Candidate, Spread, Study


def reasons(study: Study, choice: Choice, chosen: Candidate) -> list[str]:
    """Say what speaks for the chosen candidate, and what must be done with it.

    :param study: the study.
    :param choice: the rule's result.
    :param chosen: the winner.
    :return: sentences, the weightiest first.
    """
    found = []
    quality = study.on_choice(chosen)
    if chosen.id != study.reference and quality is not None:
        refitted, frozen = quality.refitted, quality.frozen
        found.append(
            f"Weighted F1 on {study.data.choice_split} ({fmt.plural(quality.rows, 'row')}) is "
            f"{fmt.score(refitted.weighted_f1.value)}: a paired change of "
            f"{fmt.signed_interval(refitted.difference)}. {fmt.percent(refitted.flipped_rows)} of "
            "the rows get other labels."
        )
        if frozen.difference.value < -study.max_drop:
            found.append(
                "Refit the thresholds, as this study did: at those of the reference the change "
                f"would be {fmt.signed_interval(frozen.difference)}."
            )
        found.append(
            f"Serve it at inference precision {chosen.precision}, where its thresholds were fitted."
        )
    if not study.noisy and not choice.timed:
        found.append("No timings were taken, so size decided.")
    return found + _among(study, choice, chosen)


def noise_warning(study: Study) -> str | None:
    """Say that the timings are worth nothing; None if they are worth something."""
    if not study.noisy or study.noise is None:
        return None
    decided = "" if study.model.random_weights else ", and size decided in its place"
    return f"The machine was too noisy to tell speed{decided}. {study.noise.sentence}".strip()


def speed(candidate: Candidate) -> str:
    """Say how fast a timed candidate is, beside the reference."""
    assert candidate.latency is not None
    assert candidate.throughput is not None
    return (
        f"one text takes {fmt.number(candidate.latency.p50.median)} ms at the median"
        f"{_beside(candidate.p50_ratio)}, and many go at "
        f"{fmt.number(candidate.throughput.median)} texts/s{_beside(candidate.throughput_ratio)}"
    )


def _beside(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    told = ", not told from 1" if ratio.min <= 1 <= ratio.max else ""
    return f" ({fmt.times(ratio)} as fast, {fmt.number(ratio.min)}–{fmt.number(ratio.max)}{told})"


def _among(study: Study, choice: Choice, chosen: Candidate) -> list[str]:
    """Say how the winner was told from the other eligible candidates."""
    if len(choice.eligible) == 1:
        return []
    kept = f"Of {len(choice.eligible)} candidates that keep the accuracy, the reference included, "
    others = [id_ for id_ in choice.tied if id_ != chosen.id]
    if not choice.timed:
        return [f"{kept}{chosen.id} is {_tie_break(study, chosen, others)}."]
    if len(choice.near) == 1:
        return [f"{kept}none comes near {chosen.id} in the time of one text."]
    near = f"{kept}{len(choice.near)} need about the shortest time for one text"
    if not others:
        return [f"{near}, and of these {chosen.id} has the highest throughput."]
    return [
        f"{near}. In throughput {chosen.id} cannot be told from {fmt.joined(others)}: it is "
        f"{_tie_break(study, chosen, others)}."
    ]


def _tie_break(study: Study, chosen: Candidate, others: list[str]) -> str:
    limit = (1 + SAME_SIZE) * (chosen.size_bytes or 0)
    rivals = [study.candidate(id_).size_bytes for id_ in others]
    if any(size is not None and size <= limit for size in rivals):
        return "the most accurate of the smallest"
    return "the smallest"


def rule(study: Study) -> tuple[str, ...]:
    """Say how the verdict was reached.

    :param study: the study.
    :return: the steps, one sentence each.
    """
    data, drop = study.data, study.max_drop
    steps = [
        f"Eligible is an OpenVINO model that loses at most {drop:g} of weighted F1 to "
        f"{study.reference} on {data.choice_split}, at thresholds fitted to itself on "
        f"{data.thresholds_split or 'other rows'}. The difference is paired row by row, and its "
        f"95 % interval must stay above {fmt.signed(-SURE_ENOUGH * drop)}: else the rows are too "
        "few to tell.",
        "Of these, a model goes out if another is at least as good in weighted F1, p50, throughput "
        "and size, and better in one.",
        f"Of these, those remain whose p50 is within {100 * NEAR:.0f} % of the shortest, or cannot "
        "be told from it.",
        "Of these, the highest throughput wins. What cannot be told from it shares the win: then "
        f"the smallest is taken, and of those within {100 * SAME_SIZE:.0f} % of its size the "
        "most accurate.",
        "Two timings cannot be told apart if the ranges of their round-by-round ratios to the "
        "reference overlap. Where timings are missing or too noisy, size decides instead.",
    ]
    if data.final_split is not None:
        steps.append(f"{data.final_split} takes no part; it only confirms.")
    return tuple(steps)
