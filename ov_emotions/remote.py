"""The classifier's API in front of a model server: for threads, and for asyncio."""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier, decide
from ov_emotions.client.facts import ServedFacts
from ov_emotions.client.loop import LoopThread, shared_loop
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.session import ServerSession, Truncated
from ov_emotions.encoding import LongTexts
from ov_emotions.errors import ServerError
from ov_emotions.prediction import (
    Prediction,
    Texts,
    Thresholds,
    as_texts,
    check_count,
    merge_thresholds,
    not_a_text,
)


class SessionScorer:
    """A `ServerSession` on the process's own event loop; safe to use from several threads.

    :param session: opened on the loop.
    :param loop: the loop.
    """

    def __init__(self, session: ServerSession, loop: LoopThread) -> None:
        self._session = session
        self._loop = loop
        loop.keep(session)
        # For one that nobody closed. What is left at the end of the process, the loop closes.
        self._finalizer = weakref.finalize(self, loop.close_later, session)
        self._finalizer.atexit = False

    @property
    def facts(self) -> ServedFacts:
        """The facts of the model."""
        return self._session.facts

    def scores(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], Truncated]:
        """Ask for probabilities; see `ServerSession.scores`."""
        return self._loop.run(self._session.scores(texts))

    def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        if self._finalizer.detach() is not None:
            self._loop.close(self._session)


class ServerClassifier(EmotionClassifier):
    """An `EmotionClassifier` whose model runs on a server; see `EmotionClassifier.from_server`.

    :param scorer: the served model, verified.
    :param bundle: the local bundle that it was compared with, if there is one.
    :param thresholds: probability in (0, 1) by label; labels left out keep the model's.
    :raises InputError: if a threshold makes no sense.
    """

    def __init__(
        self, scorer: SessionScorer, bundle: Bundle | None, thresholds: Thresholds | None
    ) -> None:
        facts = scorer.facts
        self._scorer = scorer
        self._bundle = bundle
        self._labels = facts.labels
        self._long_texts = facts.long_texts
        ours = {label: facts.thresholds[label] for label in facts.labels}
        self._thresholds = merge_thresholds(ours, thresholds)

    def _no_bundle(self) -> ServerError:
        return ServerError(
            "this classifier asks a server and has no bundle of its own; give one as model"
        )

    def predict_logits(self, texts: Texts) -> NDArray[np.float32]:
        """Give the logits of the probabilities that the server gives.

        :param texts: a list or tuple of texts.
        :return: float32, shape (texts, labels); infinite where a probability is 0 or 1 in float32.
        :raises InputError: if something is not a text; the message names its position.
        """
        scores = self._score(as_texts(texts))[0]
        with np.errstate(divide="ignore"):
            logits: NDArray[np.float32] = np.log(scores) - np.log1p(-scores)
        return logits

    def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        self._scorer.close()

    def _score(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], Sequence[bool | None]]:
        return self._scorer.scores(texts)


def open_classifier(
    url: str,
    *,
    bundle: Bundle | None,
    metadata_url: str | None,
    verify: bool,
    thresholds: Thresholds | None,
    long_texts: LongTexts | None,
    options: ServerOptions | None,
) -> EmotionClassifier:
    """Connect to a server; the arguments are those of `EmotionClassifier.from_server`.

    :return: the classifier.
    """
    loop = shared_loop()
    session = loop.run(
        ServerSession.open(
            url,
            bundle=bundle,
            metadata_url=metadata_url,
            verify=verify,
            long_texts=long_texts,
            options=options,
        )
    )
    scorer = SessionScorer(session, loop)
    try:
        return ServerClassifier(scorer, bundle, thresholds)
    except BaseException:
        scorer.close()
        raise


class AsyncEmotionClassifier:
    """`EmotionClassifier.from_server` for asyncio: `await classifier(text)`.

    Made by `from_server`; belongs to the event loop that it is made in.

    :param session: the verified server.
    :param thresholds: probability in (0, 1) by label; labels left out keep the model's.
    :raises InputError: if a threshold makes no sense.
    """

    def __init__(self, session: ServerSession, thresholds: Thresholds | None = None) -> None:
        facts = session.facts
        self._session = session
        self._labels = facts.labels
        ours = {label: facts.thresholds[label] for label in facts.labels}
        self._thresholds = merge_thresholds(ours, thresholds)

    @classmethod
    async def from_server(
        cls,
        url: str,
        *,
        model: str | os.PathLike[str] | Bundle | None = None,
        metadata_url: str | None = None,
        verify: bool = True,
        thresholds: Thresholds | None = None,
        long_texts: LongTexts | None = None,
        options: ServerOptions | None = None,
    ) -> Self:
        """Connect to a server and verify it; the arguments are those of `EmotionClassifier`'s.

        :param url: of the served model, as there.
        :param model: the bundle that the server must serve.
        :param metadata_url: REST URL of the same server.
        :param verify: False to believe `model`.
        :param thresholds: by label.
        :param long_texts: where the server takes tokens.
        :param options: time limits and the rest.
        :return: the classifier.
        """
        session = await ServerSession.open(
            url,
            bundle=model if model is None or isinstance(model, Bundle) else Bundle.load(model),
            metadata_url=metadata_url,
            verify=verify,
            long_texts=long_texts,
            options=options,
        )
        try:
            return cls(session, thresholds)
        except BaseException:
            await session.close()
            raise

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self._labels

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds in use, by label; a copy."""
        return dict(self._thresholds)

    @overload
    async def __call__(self, texts: str) -> Prediction: ...

    @overload
    async def __call__(self, texts: Texts) -> list[Prediction]: ...

    async def __call__(self, texts: str | Texts) -> Prediction | list[Prediction]:
        """Classify one text or several, as `EmotionClassifier` does.

        :param texts: a text, or a list or tuple of them.
        :return: one prediction for a text, a list in the same order for several.
        :raises InputError: if something is not a text; the message names its position.
        """
        if isinstance(texts, str):
            return (await self._predict([texts]))[0]
        return await self._predict(as_texts(texts))

    async def predict_proba(self, texts: Texts) -> NDArray[np.float32]:
        """Give the probability of every label for every text.

        :param texts: a list or tuple of texts.
        :return: float32, shape (texts, labels), in [0, 1]; columns are in the order of `labels`.
        :raises InputError: if something is not a text; the message names its position.
        """
        return (await self._session.scores(as_texts(texts)))[0]

    async def stream(
        self, texts: Iterable[str] | AsyncIterable[str], *, chunk_size: int = 256
    ) -> AsyncIterator[Prediction]:
        """Classify any number of texts lazily, in bounded memory.

        :param texts: any iterable of texts, an asynchronous one too; a chunk is read ahead.
        :param chunk_size: texts that are classified together.
        :return: yields one prediction per text, in order.
        :raises InputError: if something is not a text, after the predictions for all before it.
        """
        check_count("chunk_size", chunk_size)
        chunk: list[str] = []
        position = 0
        async for text in _each(texts):
            if not isinstance(text, str):
                for prediction in await self._predict(chunk):
                    yield prediction
                raise not_a_text(position, text)
            chunk.append(text)
            position += 1
            if len(chunk) >= chunk_size:
                for prediction in await self._predict(chunk):
                    yield prediction
                chunk = []
        for prediction in await self._predict(chunk):
            yield prediction

    async def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        return decide(self._labels, self._thresholds, *await self._session.scores(texts))


async def _each(texts: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[object]:
    if isinstance(texts, AsyncIterable):
        async for text in texts:
            yield text
    else:
        for text in texts:
            yield text
