"""What every endpoint shares: the model, its batches, the limits, and what Prometheus is told."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import OvEmotionsError
from ov_emotions.manifest import HASH_KEY
from ov_emotions.prediction import Prediction, decide
from ov_emotions.schema import DEFAULT_MODEL
from ov_emotions.server.answers import ClientGoneError, RefusedError
from ov_emotions.server.batcher import Batcher, BatchLimits, BatchReport
from ov_emotions.server.settings import ServerSettings
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.text_model import label_names
from ov_emotions.serving.triton import facts
from ov_emotions.system import cpu_budget

_LOGGER = logging.getLogger(__name__)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's variable for the folder in which several processes count together."""

_VERSION_DIGITS = 12
_SIDES = 2
"""Batches side by side, where there are as many cores; they share them out."""
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counts what happens, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._shared = SHARED_METRICS in os.environ
        if not self._shared:
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=registry)

        def made(kind: Any, name: str, text: str, labels: Sequence[str] = (), **more: Any) -> Any:
            return kind(f"ov_emotions_{name}", text, labels, registry=registry, **more)

        def timed(name: str, text: str, labels: Sequence[str] = ()) -> Any:
            return made(Histogram, name, text, labels, buckets=_SECONDS)

        self._model = made(
            Gauge,
            "model_info",
            "The model that is served; always 1.",
            ("model", "version"),
            multiprocess_mode="livemax",
        )
        self._told: tuple[str, str] | None = None
        told = "Requests by endpoint and status of the answer."
        self.requests = made(Counter, "requests", told, ("endpoint", "status"))
        told = "From a request's head to the end of its answer."
        self.seconds = timed("request_seconds", told, ("endpoint",))
        told = "Requests that got no prediction, by reason."
        self.rejected = made(Counter, "rejected", told, ("reason",))
        self._texts = made(Counter, "texts", "Texts classified.")
        self._tokens = made(Counter, "tokens", "Tokens classified, estimated from characters.")
        told = "Requests that shared an inference."
        self._batch_requests = made(Histogram, "batch_requests", told, buckets=_SIZES)
        self._batch_texts = made(Histogram, "batch_texts", "Texts of an inference.", buckets=_SIZES)
        self._batch_seconds = timed("batch_seconds", "Tokenising and inference of a batch.")
        told = "Time in the queue, of the request of a batch that waited longest."
        self._waited = timed("queue_seconds", told)
        self._queue = {
            name: made(Gauge, f"queue_{name}", text, multiprocess_mode="livesum")
            for name, text in (
                ("requests", "Requests that wait."),
                ("tokens", "Tokens that wait, estimated."),
            )
        }

    def batch(self, report: BatchReport) -> None:
        """Count an inference."""
        self._texts.inc(report.texts)
        self._tokens.inc(report.tokens)
        self._batch_requests.observe(report.requests)
        self._batch_texts.observe(report.texts)
        self._batch_seconds.observe(report.seconds)
        self._waited.observe(report.waited)

    def served(self, model: str, version: str) -> None:
        """Tell which model is served."""
        if self._told is not None:
            self._model.labels(*self._told).set(0)
        self._told = (model, version)
        self._model.labels(model, version).set(1)

    def queue(self, batcher: Batcher) -> None:
        """Tell how long a queue is."""
        self._queue["requests"].set(batcher.waiting_requests)
        self._queue["tokens"].set(batcher.waiting_tokens)

    def render(self) -> bytes:
        """Write everything in Prometheus' text format, that of other workers too."""
        registry = self.registry
        if self._shared:
            MultiProcessCollector(registry := CollectorRegistry())  # type: ignore[no-untyped-call]
        return bytes(generate_latest(registry))


@dataclass(frozen=True)
class Model:
    """A classifier that is served, what is told of it, and its batches.

    :param version: the beginning of the hash of its manifest.
    :param facts: that clients verify.
    :param names: by label, in the language of the answers.
    :param own: whether it was loaded here and is closed here.
    """

    classifier: EmotionClassifier
    name: str
    version: str
    facts: dict[str, str]
    names: dict[str, str]
    separator: str
    batcher: Batcher
    own: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the columns."""
        return self.classifier.labels

    def close(self, seconds: float | None) -> None:
        """Compute what was taken, for so long at most, and let go."""
        self.batcher.close(seconds)
        if self.own:
            self.classifier.close()


class Scored(NamedTuple):
    """The probabilities of a request's texts, with the model that they are of.

    :param probabilities: float32, shape (texts, labels).
    :param truncated: whether a part of the text was left out, per text.
    """

    model: Model
    probabilities: NDArray[np.float32]
    truncated: Sequence[bool | None]

    def predictions(self) -> list[Prediction]:
        """Decide which labels are present."""
        classifier = self.model.classifier
        task = classifier.bundle.manifest.task
        return decide(
            classifier.labels, classifier.thresholds, self.probabilities, self.truncated, task
        )

    def joined_names(self) -> list[str]:
        """Name the labels that are present, one string a text."""
        names, separator = self.model.names, self.model.separator
        return [separator.join(names[label] for label in one.labels) for one in self.predictions()]


class Service:
    """A model and what it is asked through.

    :param classifier: to answer with; None loads `settings.model`.
    :raises BundleError: if the model is missing or damaged.
    :raises InputError: if the classifier has no bundle.
    """

    def __init__(self, settings: ServerSettings, classifier: EmotionClassifier | None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.stopping = False
        self.connections: Callable[[], int] = lambda: 0  # what runs the application knows better
        self._reloading = threading.Lock()
        self.model = self._open(classifier)

    @property
    def batcher(self) -> Batcher:
        """That of the model that is served now."""
        return self.model.batcher

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return not self.stopping and not self.batcher.stopping

    async def score(self, request: Request, texts: Sequence[str]) -> Scored:
        """Classify the texts of a request whose body was read, unless its client goes away before.

        :raises RefusedError: if they are too many, or there is no answer in time.
        :raises ClientGoneError: if the client went away; what was not begun is not computed.
        """
        request.state.texts = texts
        gone = asyncio.ensure_future(_until_gone(request))
        try:
            return await self.classify(texts, self.settings.deadline, gone)
        finally:
            gone.cancel()

    async def classify(
        self, texts: Sequence[str], seconds: float, gone: asyncio.Future[Any] | None = None
    ) -> Scored:
        """Classify texts, together with those of others.

        :param seconds: in which there must be an answer.
        :param gone: ends the wait when it is done, by its exception.
        :raises RefusedError: if they are too many, or there is no answer in time.
        """
        self._check(texts)
        model = self.model
        if not texts:
            return Scored(model, np.empty((0, len(model.labels)), np.float32), [])
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            return Scored(model, *await model.batcher.score(texts, deadline, gone))
        except RefusedError:
            raise
        except OvEmotionsError as error:
            raise RefusedError(500, "failed", f"the model failed: {error}") from error

    def reload(self) -> bool:
        """Load the model anew; what was taken is answered by the old one.

        :return: False where the model was given by the program, which alone knows another.
        """
        if not self.model.own:
            return False
        with self._reloading:
            try:
                new = self._open(None, self.batcher.rate)
            except OvEmotionsError as error:
                _LOGGER.error("the model was not reloaded, the old one stays: %s", error)
                return True
            old, self.model = self.model, new
            if self.stopping:
                new.batcher.drain()
            _LOGGER.info("the model was reloaded: %s %s", new.name, new.version)
            old.close(None)
        return True

    def drain(self) -> None:
        """Refuse new requests; what was taken is computed."""
        self.stopping = True
        self.batcher.drain()

    def render_metrics(self) -> bytes:
        """Write what Prometheus is told."""
        self.metrics.queue(self.batcher)
        return self.metrics.render()

    def close(self) -> None:
        """Finish what was taken and let go of a model that was loaded here."""
        self.model.close(self.settings.grace_seconds)

    def _open(self, given: EmotionClassifier | None, rate: float = 0.0) -> Model:
        settings = self.settings
        classifier = given or _load(settings)
        bundle = classifier.bundle
        config = TritonConfig(
            name=settings.name, names=settings.label_names, long_texts=classifier.long_texts
        )
        found = facts(bundle, config)
        chosen = label_names(bundle, config.names, config.separator)
        names = dict(zip(bundle.manifest.labels, chosen, strict=True))
        limits = BatchLimits(
            settings.batch_tokens,
            settings.batch_wait_ms / 1000,
            settings.queue_tokens,
            settings.queue_requests,
        )
        name, version = bundle.manifest.name, found[HASH_KEY][:_VERSION_DIGITS]
        # The texts are checked, and whoever wants arrays shall not pay for predictions.
        cores = cpu_budget().cores
        threads = min(_threads(settings) or cores, cores)
        sides = min(_SIDES, threads)
        batcher = Batcher(
            classifier._score,
            limits,
            self._report,
            rate,
            beside=partial(classifier._score, streams=threads // sides),
            sides=sides,
        )
        self.metrics.served(name, version)
        return Model(
            classifier, name, version, found, names, config.separator, batcher, given is None
        )

    def _report(self, report: BatchReport) -> None:
        self.metrics.batch(report)
        self.metrics.queue(self.batcher)

    def _check(self, texts: Sequence[str]) -> None:
        most, limit = self.settings.max_texts, self.settings.max_text_characters
        if len(texts) > most:
            raise RefusedError(
                422,
                "too_long",
                f"{len(texts):,} texts are too many: a request holds {most:,} at most",
            )
        if max(map(len, texts), default=0) > limit:
            position = next(i for i, text in enumerate(texts) if len(text) > limit)
            raise RefusedError(
                422,
                "too_long",
                f"the text at position {position} has {len(texts[position]):,} characters; "
                f"{limit:,} are read at most",
            )


def _threads(settings: ServerSettings) -> int | None:
    """Give the threads of this process's inferences; None for all cores."""
    if settings.threads is None and settings.workers > 1:
        return max(1, cpu_budget().cores // settings.workers)
    return settings.threads


def _load(settings: ServerSettings) -> EmotionClassifier:
    classifier = EmotionClassifier(
        Bundle.load(settings.model or DEFAULT_MODEL),
        threads=_threads(settings),
        precision=settings.precision,
        cache_dir=settings.cache_dir,
        long_texts=settings.long_texts,
        mmap=False,
    )
    # All of its models now, from the files as they are: they may be replaced while it serves.
    classifier.warm_up()
    return classifier


async def _until_gone(request: Request) -> None:
    """Wait for the client to close the connection, or its half of it."""
    while True:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
