"""The search: candidates take turns, and another setting must beat the default to be chosen."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import DEFAULT_CHUNK_SIZE, EmotionClassifier
from ov_emotions.runtime.models import default_batch_tokens
from ov_emotions.system import cpu_budget
from ov_emotions.tuning.profile import Goal, Settings

_NEAR_BEST = 1.1
"""A balanced setting answers one text within this factor of the quickest."""

_CLEAR_GAIN = 1.03
"""What differs less than this from the default is not worth leaving it."""

_BUDGETS = (256, 512, 1024, 2048, 4096, 8192)
_CHUNK_SIZES = (64, 256, 1024)
"""More texts than that would be answered too long after they were given."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long to measure: turns of every candidate, after one to warm up; single texts in each."""

    rounds: int
    singles: int


QUICK = Effort(rounds=3, singles=30)
FULL = Effort(rounds=7, singles=100)


@dataclass(frozen=True)
class Trial:
    """A candidate and what it reached, one value a round.

    :param p50_ms: of one text, the median.
    :param texts_per_second: of one list, or of a stream of it.
    """

    settings: Settings
    p50_ms: tuple[float, ...]
    texts_per_second: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the settings and each figure's median and range."""
        figures = {"p50_ms": self.p50_ms, "texts_per_second": self.texts_per_second}
        return asdict(self.settings) | {
            name: {"median": statistics.median(v), "min": min(v), "max": max(v)}
            for name, v in figures.items()
            if v
        }


@dataclass(frozen=True)
class SearchResult:
    """The best settings, and every trial by what was varied."""

    settings: Settings
    stages: Mapping[str, tuple[Trial, ...]]

    def to_dict(self) -> dict[str, Any]:
        return {name: [trial.to_dict() for trial in found] for name, found in self.stages.items()}


def default_settings(cores: int) -> Settings:
    """Return what a classifier does without a profile: one stream on all of its cores.

    Lists and single texts have models of their own then.
    """
    return Settings(
        threads=cores,
        streams=1,
        batch_tokens=default_batch_tokens(cores),
        chunk_size=DEFAULT_CHUNK_SIZE,
    )


def layouts(cores: int) -> list[tuple[int, int]]:
    """List the threads and streams that are worth a try.

    One stream on fewer threads than cores can win for short texts, where threads wait for each
    other; several streams can win for lists, down to a thread each. The default comes first.
    """
    halves = [cores]
    while halves[-1] > 1:
        halves.append(halves[-1] // 2)
    found = [(cores, 1), *((threads, 1) for threads in halves[1:])]
    found += [(cores, streams) for streams in sorted(halves[:-1])]
    return list(dict.fromkeys(found))


def search(
    bundle: Bundle,
    texts: Sequence[str],
    *,
    goal: Goal = "balanced",
    effort: Effort = FULL,
    cores: int | None = None,
    tell: Tell = lambda _: None,
) -> SearchResult:
    """Find the fastest settings, one kind after the other.

    :param texts: a list to classify; its texts are also timed one by one.
    :param cores: whole cores to use; those that this process may keep busy if None.
    :param tell: gets a line about what is being measured.
    :raises DeviceError: if a candidate does not run.
    """
    cores = cores or cpu_budget().cores
    start = default_settings(cores)
    tried = [
        replace(start, threads=t, streams=s, batch_tokens=default_batch_tokens(t, s))
        for t, s in layouts(cores)
    ]
    stages: dict[str, tuple[Trial, ...]] = {}
    with ExitStack() as stack:
        run = _Rounds(stack, bundle, list(texts), effort, tell)
        stages["threads and streams"] = run("threads and streams", tried, run.lists, run.singles)
        best = choose(stages["threads and streams"], goal)
        if goal != "latency":
            budgets = [best.batch_tokens, *(n for n in _BUDGETS if n != best.batch_tokens)]
            tried = [replace(best, batch_tokens=n) for n in budgets]
            stages["batch_tokens"] = run("batch_tokens", tried, run.lists)
            best = choose(stages["batch_tokens"], "throughput")
            sizes = [best.chunk_size, *(n for n in _CHUNK_SIZES if n != best.chunk_size)]
            # A chunk that holds all texts says nothing of larger ones.
            tried = [replace(best, chunk_size=n) for n in sizes if n <= len(texts)] or [best]
            stages["chunk_size"] = run("chunk_size", tried, run.streams)
            best = choose(stages["chunk_size"], "throughput")
    return SearchResult(best, stages)


class _Rounds:
    """Lets candidates take turns, so that a drift of the machine's speed hits all alike.

    Each classifier is made once, whatever its batches hold, and closed with the stack.
    """

    def __init__(
        self, stack: ExitStack, bundle: Bundle, texts: list[str], effort: Effort, tell: Tell
    ) -> None:
        self.stack, self.bundle, self.texts = stack, bundle, texts
        self.effort, self.tell = effort, tell
        self.made: dict[tuple[int, int], EmotionClassifier] = {}

    def __call__(
        self,
        what: str,
        candidates: Sequence[Settings],
        many: Callable[[Settings], float],
        one: Callable[[Settings], float] | None = None,
    ) -> tuple[Trial, ...]:
        rates: dict[Settings, list[float]] = {settings: [] for settings in candidates}
        p50s: dict[Settings, list[float]] = {settings: [] for settings in candidates}
        for number in range(self.effort.rounds + 1):
            self.tell(f"{what}: round {number} of {self.effort.rounds}")
            for settings in candidates:
                rates[settings].append(many(settings))
                if one is not None:
                    p50s[settings].append(one(settings))
        # The first turn prepares kernels for shapes that are new to them.
        return tuple(Trial(s, tuple(p50s[s][1:]), tuple(rates[s][1:])) for s in candidates)

    def classifier(self, settings: Settings) -> EmotionClassifier:
        key = settings.threads, settings.streams
        if key not in self.made:
            made = EmotionClassifier(
                self.bundle,
                threads=settings.threads,
                # Not given, so that models for lists and for single texts stand beside it.
                streams=None if settings.streams == 1 else settings.streams,
            )
            self.made[key] = self.stack.enter_context(made)
            made.warm_up()
        self.made[key]._models.limit_batches(settings.batch_tokens)
        return self.made[key]

    def lists(self, settings: Settings) -> float:
        """Time a list: texts a second."""
        started = time.perf_counter()
        self.classifier(settings)(self.texts)
        return len(self.texts) / (time.perf_counter() - started)

    def streams(self, settings: Settings) -> float:
        """Time a stream: texts a second."""
        classifier = self.classifier(settings)
        started = time.perf_counter()
        for _ in classifier.stream(self.texts, chunk_size=settings.chunk_size):
            pass
        return len(self.texts) / (time.perf_counter() - started)

    def singles(self, settings: Settings) -> float:
        """Time single texts: the median, in milliseconds."""
        classifier = self.classifier(settings)
        times = []
        for text in self.texts[: self.effort.singles]:
            started = time.perf_counter()
            classifier(text)
            times.append(time.perf_counter() - started)
        return 1e3 * statistics.median(times)


def choose(trials: Sequence[Trial], goal: Goal) -> Settings:
    """Pick a candidate; the first is the default, and stays unless another clearly beats it.

    A candidate beats the default if it does so round by round: its median ratio is a clear gain,
    and no more than one round in four says the opposite.
    """
    if goal == "balanced":
        quickest = min(statistics.median(trial.p50_ms) for trial in trials)
        near = [t for t in trials if statistics.median(t.p50_ms) <= _NEAR_BEST * quickest]
        # Where not even the default is near the quickest, it is measured like any other.
        trials = [trials[0], *(trial for trial in near if trial is not trials[0])]
    default = trials[0]
    best, best_gain = default, 1.0
    for trial in trials[1:]:
        ratios = _gains(default, trial, goal)
        gain = statistics.median(ratios)
        losses = sum(ratio < 1 for ratio in ratios)
        if gain >= _CLEAR_GAIN and gain > best_gain and losses <= len(ratios) // 4:
            best, best_gain = trial, gain
    return best.settings


def _gains(default: Trial, trial: Trial, goal: Goal) -> list[float]:
    """Give, round by round, how many times as good a trial is as the default."""
    if goal == "latency":
        return [a / b for a, b in zip(default.p50_ms, trial.p50_ms, strict=True)]
    pairs = zip(default.texts_per_second, trial.texts_per_second, strict=True)
    return [b / a for a, b in pairs]


# Texts to measure with where the user names none: as long as utterances of speech are

_SENTENCES = (
    "да",
    "алло",
    "нет не надо",
    "ну ладно",
    "спасибо большое",
    "я вас не слышу",
    "подождите минуту пожалуйста",
    "мне очень жаль что так вышло",
    "когда привезут мой заказ",
    "я звоню уже третий раз за неделю",
    "никто не может объяснить что случилось",
    "мы очень рады что всё получилось",
    "посылка пришла вовремя и ничего не разбилось",
    "я боюсь что деньги спишут ещё раз",
    "мастер обещал прийти утром а пришёл только вечером",
    "скажите пожалуйста можно ли перенести встречу на понедельник",
    "у меня второй день не работает интернет и это просто невыносимо",
    "ничего себе я совсем не ожидал что вы так быстро ответите",
    "вчера мы с дочкой ходили в парк кормили уток и ели мороженое",
    "в магазине мне продали просроченное молоко и отказались вернуть деньги",
)


def sample_texts(count: int, seed: int = 0) -> list[str]:
    """Make texts of one to four sentences; their words say nothing, their lengths do."""
    generator = random.Random(seed)
    return [
        " ".join(generator.choices(_SENTENCES, k=generator.choice((1, 1, 2, 2, 3, 4))))
        for _ in range(count)
    ]
