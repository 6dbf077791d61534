"""Everything about an analysis of dialogues that can be adjusted, and why the defaults are so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from ov_emotions.errors import InputError
from ov_emotions.schema import Flag

SegmentBy = Literal["share", "quantile"]
NEGATIVE = frozenset(
    {
        "anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment",
        "fear", "grief", "guilt", "nervousness", "remorse", "sadness", "shame",
    }
)  # fmt: skip
"""Labels of the known sets that count as negative: the grouping published with GoEmotions
(Demszky et al., 2020), and guilt and shame of the Izard set."""

_LEAST = {
    "full_words": 1,
    "min_segment": 1,
    "permutations": 1,
    "handover_run": 1,
    "handover_repeats": 1,
    "handover_words": 0,
    "seed": 0,
}
_BETWEEN = {
    # low, high, and whether these are allowed
    "bandwidth": (0, 1e6, False),
    "half_life": (0, 1e6, False),
    "confidence": (0, 1, False),
    "alpha": (0, 1, False),
    "handover_level": (0, math.inf, False),
    "handover_strength": (0, math.inf, False),
    "min_shift": (0, 1, True),
    "calm": (0, 1, True),
    "upset": (0, 1, True),
}


@dataclass(frozen=True)
class DialogueSettings:
    """How dialogues are analysed.

    Strengths and levels are on one scale for every label: 0 is a probability of 0, 0.5 the label's
    threshold, 1 a probability of 1, linear between. A level of 0.5 is where the model decides.

    :param negative: labels that count as negative emotion; none given takes those of `NEGATIVE`
        that the model has.
    :param client: names of speakers who are clients; added to what the names themselves tell.
    :param operator: names of speakers who are operators.
    :param full_words: an utterance of so many words or more counts fully, a shorter one in
        proportion, so that «да» and «алло» say little.
    :param bandwidth: of the smoothing, in utterances of one speaker; not given is 2, or a fiftieth
        of their utterances where that is more.
    :param confidence: of the intervals.
    :param min_segment: utterances on each side of a turning point at least.
    :param alpha: the permutation test's p-value up to which a turning point is believed.
    :param permutations: of that test.
    :param min_shift: difference of the mean negativity before and after a turning point at least.
    :param half_life: of the running level that the hand-over rule looks at, in utterances: what
        was said so long ago counts half.
    :param handover_level: hand over where the client's running level stays at or above this;
        above 1 switches the rule off.
    :param handover_run: for so many of their utterances in a row.
    :param handover_label: or hand over where this label is strong.
    :param handover_strength: at least so strong; above 1 switches the rule off.
    :param handover_repeats: in so many of their utterances in a row.
    :param handover_words: utterances with fewer words neither count nor break a row.
    :param segment_by: whether the two cuts are shares of negative utterances, or quantiles of
        those shares over all clients.
    :param calm: a client up to this cut is calm.
    :param upset: a client from this cut on is upset; between the two they waver.
    :param seed: of the permutation test.
    """

    negative: Annotated[tuple[str, ...], Flag(each=True)] = ()
    client: Annotated[tuple[str, ...], Flag(each=True)] = ()
    operator: Annotated[tuple[str, ...], Flag(each=True)] = ()
    full_words: int = 3
    bandwidth: float | None = None
    confidence: float = 0.95
    min_segment: int = 3
    alpha: float = 0.05
    permutations: int = 499
    min_shift: float = 0.15
    half_life: float = 2.0
    handover_level: float = 0.5
    handover_run: int = 3
    handover_label: str = "anger"
    handover_strength: float = 0.65
    handover_repeats: int = 2
    handover_words: int = 2
    segment_by: SegmentBy = "share"
    calm: float = 0.15
    upset: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(
                    f"{name} must be a whole number of at least {least}, not {value!r}"
                )
        for name, (low, high, ends) in _BETWEEN.items():
            if (value := getattr(self, name)) is None and name == "bandwidth":
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not (low <= value <= high if ends else low < value < high):
                limits = f"above {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
                raise InputError(f"{name} must be a number {limits}, not {value!r}")
        if self.segment_by not in get_args(SegmentBy):
            raise InputError(f"segment_by must be share or quantile, not {self.segment_by!r}")
        for name in ("negative", "client", "operator"):
            if not isinstance(getattr(self, name), tuple):
                raise InputError(f"{name} must be a tuple of names")
        if self.calm > self.upset:
            raise InputError(f"calm, {self.calm:g}, must not be above upset, {self.upset:g}")

    def negative_labels(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the model's labels that count as negative.

        :param labels: the model's.
        :return: those, in the model's order.
        :raises InputError: if one that was given is not the model's, or none is known.
        """
        for label in self.negative:
            if label not in labels:
                raise InputError(
                    f"{label!r} is given as negative, but the model has {', '.join(labels)}"
                )
        found = tuple(x for x in labels if x in (self.negative or NEGATIVE))
        if not found:
            raise InputError(
                "which of the model's labels are negative is not known; name them as negative: "
                f"{', '.join(labels)}"
            )
        return found
