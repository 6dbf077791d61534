"""What every endpoint shares: the model, its batches, the limits, and clients that go away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import Request

from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import OvEmotionsError
from ov_emotions.server.batcher import Batcher
from ov_emotions.server.jobs import BatchLimits, Scores
from ov_emotions.server.limits import check_texts
from ov_emotions.server.metrics import Metrics
from ov_emotions.server.refusal import ClientGoneError, RefusedError
from ov_emotions.server.settings import ServerSettings
from ov_emotions.serving.triton import HASH_KEY, TritonConfig, facts, label_names

_VERSION_DIGITS = 12


class Service:
    """A model and what it is asked through.

    :param settings: all options.
    :param classifier: to answer with; None loads `settings.model`.
    :raises BundleError: if the model is missing or damaged.
    :raises InputError: if the classifier has no bundle.
    """

    def __init__(self, settings: ServerSettings, classifier: EmotionClassifier | None) -> None:
        self.settings = settings
        self._own = classifier is None
        self.classifier = classifier or _load(settings)
        bundle = self.classifier.bundle
        config = TritonConfig(
            name=settings.name,
            names=settings.label_names,
            long_texts=self.classifier.long_texts,
        )
        self.facts = facts(bundle, config)
        self.names = dict(zip(bundle.manifest.labels, label_names(bundle, config), strict=True))
        self.separator = config.separator
        self.model = bundle.manifest.name
        self.version = self.facts[HASH_KEY][:_VERSION_DIGITS]
        self.metrics = Metrics(self.model, self.version)
        self.batcher = Batcher(
            # The texts are checked, and whoever wants arrays shall not pay for predictions.
            self.classifier._score,
            BatchLimits(
                settings.batch_tokens,
                settings.batch_wait_ms / 1000,
                settings.queue_tokens,
                settings.queue_requests,
            ),
            self.metrics.batch,
        )
        self.metrics.watch(self.batcher)

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return not self.batcher.stopping

    async def score(self, request: Request, texts: Sequence[str]) -> Scores:
        """Classify the texts of a request, unless its client goes away before.

        :param request: its body read.
        :param texts: in it.
        :return: float32, shape (texts, labels); and whether each text was truncated.
        :raises RefusedError: if they are too many, or there is no answer in time.
        :raises ClientGoneError: if the client went away; what was not begun is not computed.
        """
        check_texts(texts, self.settings)
        request.state.texts = texts
        if not texts:
            return np.empty((0, len(self.names)), np.float32), []
        deadline = asyncio.get_running_loop().time() + self.settings.deadline
        gone = asyncio.ensure_future(_until_gone(request))
        try:
            return await self.batcher.score(texts, deadline, gone)
        except (RefusedError, ClientGoneError):
            raise
        except OvEmotionsError as error:
            raise RefusedError(500, "failed", f"the model failed: {error}") from error
        finally:
            gone.cancel()

    def close(self) -> None:
        """Finish what was taken and let go of a model that was loaded here."""
        self.batcher.close(self.settings.grace_seconds)
        if self._own:
            self.classifier.close()


def _load(settings: ServerSettings) -> EmotionClassifier:
    return EmotionClassifier(
        Bundle.load(settings.model or DEFAULT_MODEL),
        threads=settings.threads,
        precision=settings.precision,
        cache_dir=settings.cache_dir,
        long_texts=settings.long_texts,
        mmap=False,
    )


async def _until_gone(request: Request) -> None:
    """Wait for the client to close the connection, or its half of it."""
    while True:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
