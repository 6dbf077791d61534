"""The models: what the page's own is, and two of them side by side with what each takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import Job, failure
from ov_emotions.demo.text import too_long
from ov_emotions.demo.words import count, render, say, stamp
from ov_emotions.errors import InputError
from ov_emotions.prediction import Prediction

_WARM_UP = 3
_MOST_ROUNDS = 41
_BUDGET_SECONDS = 1.2


class Models:
    """Classifiers by a name for people.

    :param first: the page's own.
    :param others: bundles by name, folder or Hub id, given to compare with.
    :param threads: CPU threads of an inference; None for all cores.
    :raises BundleError: if one of the others is missing or damaged.
    """

    def __init__(
        self, first: EmotionClassifier, others: Sequence[str] = (), threads: int | None = None
    ) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._bundles: dict[str, Bundle] = {}
        own = self._add(first.bundle)
        for source in (*others, *SHIPPED):
            self._add(Bundle.load(source))
        self._loaded = {own: first}

    def _add(self, bundle: Bundle) -> str:
        manifest = bundle.manifest
        plain = f"{manifest.name} · {manifest.precision.upper()}"
        name, number = plain, 1
        while name in self._bundles:
            if self._bundles[name].folder.resolve() == bundle.folder.resolve():
                return name
            number += 1
            name = f"{plain} ({number})"
        self._bundles[name] = bundle
        return name

    @property
    def names(self) -> tuple[str, ...]:
        """The page's own first, then those given, then those that come with the library."""
        return tuple(self._bundles)

    def get(self, name: str) -> EmotionClassifier:
        """Load a model, or return it where that was done before.

        :raises InputError: if there is no such model.
        :raises OvEmotionsError: if it cannot be loaded.
        """
        if name not in self._bundles:
            raise InputError(f"there is no model {name!r} here; there are {', '.join(self.names)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = EmotionClassifier(self._bundles[name], threads=self._threads)
            return self._loaded[name]


class Timing(NamedTuple):
    """Milliseconds of single calls, tokenising included."""

    median: float
    low: float
    high: float
    rounds: int


def measure(models: Sequence[EmotionClassifier], text: str) -> list[Timing]:
    """Time models on one text in turns, so that what disturbs one disturbs the others too."""
    for model in models:
        for _ in range(_WARM_UP):
            model(text)
    taken: list[list[float]] = [[] for _ in models]
    end = time.perf_counter() + _BUDGET_SECONDS
    while len(taken[0]) < _MOST_ROUNDS and (len(taken[0]) < 3 or time.perf_counter() < end):
        for model, mine in zip(models, taken, strict=True):
            start = time.perf_counter()
            model(text)
            mine.append(1000 * (time.perf_counter() - start))
    return [Timing(median(mine), min(mine), max(mine), len(mine)) for mine in taken]


class _Side(NamedTuple):
    """A model beside another."""

    name: str
    model: EmotionClassifier
    prediction: Prediction
    timing: Timing

    @property
    def megabytes(self) -> float:
        """What the model's files take."""
        return sum(f.stat().st_size for f in self.model.bundle.folder.glob("model.*")) / 1e6


def compare(models: Models, first: str, second: str, text: str, job: Job) -> str:
    """Classify a text by two models, named as `models` has them.

    :raises OvEmotionsError: if a model cannot be loaded, or fails.
    """
    if not text.strip():
        return failure("compare.no_text")
    if (refused := too_long(text)) is not None:
        return refused
    names = (first, second)
    pair = [models.get(name) for name in names]
    with job.turn():
        predictions = [model(text) for model in pair]
        timings = measure(pair, text)
    one, two = (prediction.scores for prediction in predictions)
    shared = [label for label in one if label in two]
    return render(
        "versus",
        mark=stamp(text),
        sides=list(map(_Side, names, pair, predictions, timings)),
        order=[*one, *(label for label in two if label not in one)],
        widest=max(shared, key=lambda label: abs(one[label] - two[label]), default=None),
    )


def card(bundle: Bundle, report: str | None) -> str:
    """Write the section about the model.

    :param report: address of the quantization report; None where there is none.
    """
    manifest = bundle.manifest
    return render(
        "card",
        report=report,
        model=manifest,
        facts=(
            ("name", manifest.name),
            ("precision", manifest.precision.upper()),
            ("base", manifest.base_model),
            ("licence", manifest.licence),
            ("normalizer", manifest.normalizer),
            ("length", say("model.tokens", tokens=count(manifest.max_length))),
        ),
        figures=[
            (split, figures)
            for split, figures in manifest.metrics.get(manifest.precision, {}).items()
            if {"weighted_f1", "macro_f1", "rows"} <= set(figures)
        ],
    )
