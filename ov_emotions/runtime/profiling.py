"""Where the time of a classification goes: by stage of the library, and by layer of the model.

Stages are timed on the classifier's own compiled model, one after the other and never inside a
production call, which holds no timer. OpenVINO's counters come from a second compiled copy, because
counting slows the layers that it counts.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ov_emotions.encoding import EncodedTexts
from ov_emotions.runtime.models import Plan
from ov_emotions.runtime.openvino import LayerCounter

_T = TypeVar("_T")
_Decided = TypeVar("_Decided")


@dataclass(frozen=True)
class StageTimes:
    """Seconds that each stage of one call takes; medians over the repetitions.

    :param group: choose the batches and pad them.
    :param threshold: join windows, turn logits into probabilities, compare with the thresholds.
    :param results: build the predictions.
    """

    tokenize: float
    group: float
    infer: float
    threshold: float
    results: float

    @property
    def total(self) -> float:
        return self.tokenize + self.group + self.infer + self.threshold + self.results

    @property
    def shares(self) -> dict[str, float]:
        """The part of the total that each stage takes, in [0, 1]."""
        return {name: seconds / self.total for name, seconds in asdict(self).items()}


@dataclass(frozen=True)
class LayerTime:
    """What OpenVINO counted of one layer, or of all layers of a type.

    :param implementations: the kernels that ran it, as OpenVINO names them.
    :param seconds: in one pass over all batches.
    :param share: of all layers' time, in [0, 1].
    """

    name: str
    implementations: tuple[str, ...]
    layers: int
    seconds: float
    share: float


@dataclass(frozen=True)
class ClassifierProfile:
    """What one call with these texts costs, and where.

    :param windows: token windows that reached the model.
    :param padded_tokens: tokens that the model computed, padding included.
    :param whole_s: seconds of the ordinary call; less than the stages' total where they overlap.
    :param layer_types: time by type of layer, the longest first.
    :param top_layers: the layers that take longest.
    """

    texts: int
    windows: int
    tokens: int
    padded_tokens: int
    batches: int
    repeats: int
    whole_s: float
    stages: StageTimes
    layer_types: tuple[LayerTime, ...]
    top_layers: tuple[LayerTime, ...]

    @property
    def padding(self) -> float:
        """The part of the computed tokens that is padding, in [0, 1)."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0

    @property
    def texts_per_second(self) -> float:
        """Texts a second in the ordinary call."""
        return self.texts / self.whole_s

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, the derived ones included."""
        stages = asdict(self.stages) | {"total": self.stages.total, "shares": self.stages.shares}
        derived = {"padding": self.padding, "texts_per_second": self.texts_per_second}
        return asdict(self) | {"stages": stages} | derived


def profile_stages(
    texts: Sequence[str],
    repeats: int,
    *,
    whole: Callable[[Sequence[str]], object],
    tokenize: Callable[[Sequence[str]], EncodedTexts],
    plan: Callable[[EncodedTexts], Plan],
    decide: Callable[[EncodedTexts, NDArray[np.float32] | None], _Decided],
    results: Callable[[_Decided], object],
) -> ClassifierProfile:
    """Time what a classifier does, which it gives as functions, and count its layers.

    :param texts: at least one.
    :param repeats: how often every stage is timed, after a first pass that is not.
    :param whole: an ordinary call.
    """
    taken: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, stage: Callable[..., _T], *arguments: Any) -> _T:
        started = time.perf_counter()
        made = stage(*arguments)
        taken[name].append(time.perf_counter() - started)
        return made

    def laid_out(encoded: EncodedTexts) -> Plan | None:
        if not len(encoded.lengths):
            return None
        chosen = plan(encoded)
        return chosen._replace(batches=list(chosen.batches))

    def infer(chosen: Plan | None) -> NDArray[np.float32] | None:
        return chosen and chosen.run()

    for _ in range(repeats + 1):
        timed("whole", whole, texts)
        encoded = timed("tokenize", tokenize, texts)
        chosen = timed("group", laid_out, encoded)
        windows = timed("infer", infer, chosen)
        timed("results", results, timed("threshold", decide, encoded, windows))
    # The first pass prepares kernels for shapes that are new to them.
    medians = {name: statistics.median(times[1:]) for name, times in taken.items()}
    whole_s = medians.pop("whole")
    batches = list(chosen.batches) if chosen else []
    types, top = summarise_layers(chosen.backend.count_layers(batches) if chosen else [])
    return ClassifierProfile(
        texts=len(texts),
        windows=len(encoded.lengths),
        tokens=len(encoded.ids),
        padded_tokens=sum(batch.input_ids.size for batch in batches),
        batches=len(batches),
        repeats=repeats,
        whole_s=whole_s,
        stages=StageTimes(**medians),
        layer_types=types,
        top_layers=top,
    )


def summarise_layers(
    counters: Sequence[LayerCounter], top: int = 10
) -> tuple[tuple[LayerTime, ...], tuple[LayerTime, ...]]:
    """Add layers up by type, and pick the single ones that take longest; the longest are first."""
    total = sum(counter.seconds for counter in counters) or 1.0

    def added(name: str, members: Sequence[LayerCounter]) -> LayerTime:
        seconds = sum(member.seconds for member in members)
        kernels = tuple(sorted({member.implementation for member in members}))
        return LayerTime(name, kernels, len(members), seconds, seconds / total)

    by_type: dict[str, list[LayerCounter]] = defaultdict(list)
    for counter in counters:
        by_type[counter.kind].append(counter)
    types = [added(kind, members) for kind, members in by_type.items()]
    layers = [added(counter.name, [counter]) for counter in counters]
    types.sort(key=attrgetter("seconds"), reverse=True)
    layers.sort(key=attrgetter("seconds"), reverse=True)
    return tuple(types), tuple(layers[:top])
