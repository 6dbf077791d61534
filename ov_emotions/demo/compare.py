"""Two models side by side on one text, with what each takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.bars import bars, hue, summary
from ov_emotions.demo.failures import failure
from ov_emotions.demo.markup import count, decimal, escape, label_words, percent
from ov_emotions.demo.models import Models
from ov_emotions.demo.single import MAX_CHARACTERS
from ov_emotions.demo.texts import TEXTS, say
from ov_emotions.prediction import Prediction

_WARM_UP = 3
_MOST_ROUNDS = 41
_BUDGET_SECONDS = 1.2
_CLEAR_POINTS = 0.05
_TO_FLOAT = """\
ov-emotions export quantize/checkpoints/emotions-ru-small fp32 --data prepared
ov-emotions demo --compare-with fp32"""


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


def compare(models: Models, first: str, second: str, text: str) -> str:
    """Classify a text by two models.

    :param models: to choose from.
    :param first: the name of one.
    :param second: the name of the other.
    :param text: what the reader wrote.
    :return: the markup.
    :raises OvEmotionsError: if a model cannot be loaded, or fails.
    """
    if not text.strip():
        return failure(TEXTS["compare.no_text"])
    if len(text) > MAX_CHARACTERS:
        hint = TEXTS["fail.long"].format(limit=count(MAX_CHARACTERS))
        return failure(TEXTS["fail.title"], hint)
    pair = [models.get(first), models.get(second)]
    predictions = [model(text) for model in pair]
    timings = measure(pair, text)
    sides = "".join(
        _side(models, name, model, prediction, timing)
        for name, model, prediction, timing in zip(
            (first, second), pair, predictions, timings, strict=True
        )
    )
    verdict = _verdict(predictions, timings, pair)
    return (
        f'<section class="versus"><div class="announce">{verdict}</div>'
        f'<div class="sides">{sides}</div>'
        f'<p class="hint">{say("compare.honest", rounds=timings[0].rounds)}</p></section>'
    )


def _side(
    models: Models, name: str, model: EmotionClassifier, prediction: Prediction, timing: Timing
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
        f'<article class="side"><h3>{escape(name)}</h3><p class="latency">{latency}</p>'
        f'<p class="hint">{say("compare.size", size=decimal(size, 1))}</p>'
        f"{summary(prediction, thresholds, russian)}{bars(prediction, thresholds, russian)}"
        "</article>"
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
    float_there = any(models.bundle(name).manifest.precision == "fp32" for name in names)
    hint = f'<p class="hint">{say("compare.no_float")}</p><code class="command">{_TO_FLOAT}</code>'
    return f'<div class="chooser">{fields}</div>{"" if float_there else hint}'


def _options(names: Sequence[str], chosen: int) -> str:
    marks = (" selected" if i == chosen else "" for i in range(len(names)))
    shown = map(escape, names)
    return "".join(
        f'<option value="{name}"{mark}>{name}</option>'
        for name, mark in zip(shown, marks, strict=True)
    )
