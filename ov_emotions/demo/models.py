"""The models: what the page's own is, and two of them side by side with what each takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import Job, failure
from ov_emotions.demo.text import MAX_CHARACTERS, bars, hue, summary
from ov_emotions.demo.words import (
    TEXTS,
    count,
    decimal,
    escape,
    label_words,
    percent,
    render,
    say,
    stamp,
)
from ov_emotions.errors import DataError, InputError
from ov_emotions.prediction import Prediction

REPORT_PAGE = "report.html"
_WARM_UP = 3
_MOST_ROUNDS = 41
_BUDGET_SECONDS = 1.2
_CLEAR_POINTS = 0.05


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

    def bundle(self, name: str) -> Bundle:
        """Return a model's folder."""
        return self._bundles[name]

    def get(self, name: str) -> EmotionClassifier:
        """Load a model, or return it where that was done before.

        :param name: one of `names`.
        :return: the classifier.
        :raises InputError: if there is no such model.
        :raises OvEmotionsError: if it cannot be loaded.
        """
        if name not in self._bundles:
            raise InputError(f"there is no model {name!r} here; there are {', '.join(self.names)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = EmotionClassifier(self._bundles[name], threads=self._threads)
            return self._loaded[name]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of single calls, tokenising included.

    :param median: of the rounds.
    :param low: the quickest.
    :param high: the slowest.
    :param rounds: how many there were.
    """

    median: float
    low: float
    high: float
    rounds: int


def measure(models: Sequence[EmotionClassifier], text: str) -> list[Timing]:
    """Time models on one text in turns, so that what disturbs one disturbs the others too.

    :param models: the classifiers.
    :param text: what each classifies, alone.
    :return: a timing each.
    """
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


def compare(models: Models, first: str, second: str, text: str, job: Job) -> str:
    """Classify a text by two models.

    :param models: to choose from.
    :param first: the name of one.
    :param second: the name of the other.
    :param text: what the reader wrote.
    :param job: that this is.
    :return: the markup.
    :raises OvEmotionsError: if a model cannot be loaded, or fails.
    """
    if not text.strip():
        return failure(TEXTS["compare.no_text"])
    if len(text) > MAX_CHARACTERS:
        hint = TEXTS["fail.long"].format(limit=count(MAX_CHARACTERS))
        return failure(TEXTS["fail.title"], hint)
    pair = [models.get(first), models.get(second)]
    with job.turn():
        predictions = [model(text) for model in pair]
        timings = measure(pair, text)
    order = tuple(predictions[0].scores)
    sides = "".join(
        _side(models, name, model, prediction, timing, order)
        for name, model, prediction, timing in zip(
            (first, second), pair, predictions, timings, strict=True
        )
    )
    verdict = _verdict(predictions, timings, pair)
    return (
        f'<section class="versus" data-of="{stamp(text)}"><div class="announce">{verdict}</div>'
        f'<div class="sides">{sides}</div>'
        f'<p class="hint">{say("compare.honest", rounds=timings[0].rounds)}</p></section>'
    )


def _side(
    models: Models,
    name: str,
    model: EmotionClassifier,
    prediction: Prediction,
    timing: Timing,
    order: Sequence[str],
) -> str:
    russian, thresholds = model.label_names_ru, model.thresholds
    size = sum(f.stat().st_size for f in models.bundle(name).folder.glob("model.*")) / 1e6
    latency = say(
        "compare.latency",
        median=decimal(timing.median, 2),
        low=decimal(timing.low, 2),
        high=decimal(timing.high, 2),
    )
    return (
        f'<article class="side"><h2>{escape(name)}</h2><p class="latency">{latency}</p>'
        f'<p class="hint">{say("compare.size", size=decimal(size, 1))}</p>'
        f"{summary(prediction, thresholds, russian)}"
        f"{bars(prediction, thresholds, russian, order=order)}</article>"
    )


def _verdict(
    predictions: Sequence[Prediction], timings: Sequence[Timing], pair: Sequence[EmotionClassifier]
) -> str:
    one, two = predictions
    same = set(one.labels) == set(two.labels)
    quick = sorted(timings, key=lambda timing: timing.median)
    # Within a twentieth, the order may be another at the next try.
    even = quick[1].median / quick[0].median < 1 + _CLEAR_POINTS
    parts = [f'<p class="verdict small">{say("compare.same" if same else "compare.differ")}</p>']
    shared = [label for label in one.scores if label in two.scores]
    if shared:
        most = max(shared, key=lambda label: abs(one.scores[label] - two.scores[label]))
        gap = say(
            "compare.gap",
            name=label_words(most, pair[0].label_names_ru),
            one=percent(one.scores[most]),
            two=percent(two.scores[most]),
        )
        parts.append(f'<p class="gap" data-emotion="{hue(most)}">{gap}</p>')
    if even:
        parts.append(f"<p>{say('compare.even')}</p>")
    else:
        side = "compare.first" if timings[0] is quick[0] else "compare.second"
        times = decimal(quick[1].median / quick[0].median, 1)
        parts.append(f"<p>{say('compare.faster', side=TEXTS[side], times=times)}</p>")
    return "".join(parts)


def chooser(models: Models) -> str:
    """Write the two fields that models are chosen by."""
    names = models.names
    fields = "".join(
        f'<p><label class="label" for="model-{place}">{say(f"compare.choose.{place}")}</label>'
        f'<select id="model-{place}">{_options(names, chosen)}</select></p>'
        for place, chosen in (("first", 0), ("second", min(1, len(names) - 1)))
    )
    return f'<div class="chooser">{fields}</div>'


def _options(names: Sequence[str], chosen: int) -> str:
    marks = (" selected" if i == chosen else "" for i in range(len(names)))
    shown = map(escape, names)
    return "".join(
        f'<option value="{name}"{mark}>{name}</option>'
        for name, mark in zip(shown, marks, strict=True)
    )


def find_report(folder: Path | None, model: str) -> Path | None:
    """Find the folder of the quantization report.

    :param folder: that was asked for; None for the one that is committed, where the library is
        run from a checkout.
    :param model: name of the model that the committed report is of.
    :return: a folder with `report.html`, or None.
    :raises DataError: if the folder that was asked for has no report.
    """
    if folder is not None:
        if not (folder / REPORT_PAGE).is_file():
            raise DataError(
                f"{folder} has no {REPORT_PAGE}; name a folder `ov-emotions report` wrote"
            )
        return folder
    root = Path(__file__).resolve().parents[2]
    committed = root / "quantize" / "reports" / model
    return committed if (committed / REPORT_PAGE).is_file() else None


def card(bundle: Bundle, report: str | None) -> str:
    """Write the section about the model.

    :param bundle: of the model.
    :param report: address of the report; None where there is none.
    :return: the markup.
    """
    manifest = bundle.manifest
    splits = manifest.metrics.get(manifest.precision, {})
    return render(
        "card",
        report=report,
        facts=(
            ("name", manifest.name),
            ("precision", manifest.precision.upper()),
            ("base", manifest.base_model),
            ("licence", manifest.licence),
            ("normalizer", manifest.normalizer),
            ("length", TEXTS["model.tokens"].format(tokens=count(manifest.max_length))),
        ),
        thresholds=[
            (label_words(x, manifest.label_names_ru), hue(x), manifest.thresholds[x])
            for x in manifest.labels
        ],
        figures=[
            (split, figures)
            for split, figures in splits.items()
            if {"weighted_f1", "macro_f1", "rows"} <= set(figures)
        ],
    )
