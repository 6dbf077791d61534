"""The classifier's API in front of a model server: for threads, and for asyncio."""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier, decide
from ov_emotions.client.loop import LoopThread, shared_loop
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.probes import Expected
from ov_emotions.client.session import OnModelChange, Scored, ServerSession
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

__all__ = ["AsyncEmotionClassifier", "ServerClassifier", "expected_model"]

Model = str | os.PathLike[str] | Bundle


def expected_model(model: Model | None) -> Expected | None:
    """Say what a server must serve, and how that answers in this process.

    :param model: a shipped name, a bundle's folder, a Hub id or a loaded bundle; None for any.
    :return: the bundle, and what runs it where its answers are needed; None for any.
    :raises BundleError: if the model is missing or damaged.
    """
    if model is None:
        return None
    bundle = model if isinstance(model, Bundle) else Bundle.load(model)

    def run(long_texts: LongTexts) -> EmotionClassifier:
        # One model and any batch: a probe is to be computed alone and beside a long text.
        return EmotionClassifier(bundle, streams=1, batch_tokens=1 << 20, long_texts=long_texts)

    return Expected(bundle, run)


class _Served:
    """What both kinds of classifier have in common: a session, and the caller's thresholds."""

    _session: ServerSession
    _given: Thresholds | None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`; the served model's."""
        return self._session.served.facts.labels

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds in use, by label; a copy."""
        facts = self._session.served.facts
        return merge_thresholds(facts.thresholds, self._given, facts.labels)

    def _decide(self, scored: Scored) -> list[Prediction]:
        facts = scored.facts
        cuts = merge_thresholds(facts.thresholds, self._given, facts.labels)
        return decide(facts.labels, cuts, scored.scores, scored.truncated, facts.task)


class ServerClassifier(_Served, EmotionClassifier):
    """An `EmotionClassifier` whose model runs on a server; see `EmotionClassifier.from_server`.

    :param session: opened on the loop.
    :param loop: the process's own event loop; calls from several threads meet there.
    :param bundle: the local bundle that it was compared with, if there is one.
    :param thresholds: probability in (0, 1) by label; labels left out keep the model's.
    :raises InputError: if a threshold makes no sense.
    """

    opened_by: partial[ServerClassifier]

    def __init__(
        self,
        session: ServerSession,
        loop: LoopThread,
        bundle: Bundle | None,
        thresholds: Thresholds | None,
    ) -> None:
        self._session = session
        self._loop = loop
        self._bundle = bundle
        self._given = thresholds
        self._long_texts = session.served.facts.long_texts
        self._task = session.served.facts.task
        _ = self.thresholds  # refused here rather than at the first text
        loop.keep(session)
        # For one that nobody closed. What is left at the end of the process, the loop closes.
        self._finalizer = weakref.finalize(self, loop.close_later, session)
        self._finalizer.atexit = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what it was opened with; a copy connects and verifies by itself."""
        return self.opened_by, ()

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
        scores = self.predict_proba(texts)
        with np.errstate(divide="ignore"):
            logits: NDArray[np.float32] = np.log(scores) - np.log1p(-scores)
        return logits

    def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        if self._finalizer.detach() is not None:
            self._loop.close(self._session)

    def _scored(self, texts: Sequence[str]) -> Scored:
        return self._loop.run(self._session.scores(texts))

    def _score(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], Sequence[bool | None]]:
        scored = self._scored(texts)
        return scored.scores, scored.truncated

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        return self._decide(self._scored(texts))


def open_classifier(
    url: str,
    *,
    model: Model | None,
    metadata_url: str | None,
    verify: bool,
    thresholds: Thresholds | None,
    long_texts: LongTexts | None,
    on_model_change: OnModelChange,
    options: ServerOptions | None,
) -> ServerClassifier:
    """Connect to a server; the arguments are those of `EmotionClassifier.from_server`."""
    expected = expected_model(model)
    loop = shared_loop()
    session = loop.run(
        ServerSession.open(
            url,
            expected=expected,
            metadata_url=metadata_url,
            verify=verify,
            long_texts=long_texts,
            on_model_change=on_model_change,
            options=options,
        )
    )
    try:
        bundle = None if expected is None else expected.bundle
        classifier = ServerClassifier(session, loop, bundle, thresholds)
        classifier.opened_by = partial(
            open_classifier,
            url,
            model=model,
            metadata_url=metadata_url,
            verify=verify,
            thresholds=thresholds,
            long_texts=long_texts,
            on_model_change=on_model_change,
            options=options,
        )
        return classifier
    except BaseException:
        loop.run(session.close())
        raise


class AsyncEmotionClassifier(_Served):
    """`EmotionClassifier.from_server` for asyncio: `await classifier(text)`.

    Made by `from_server`; belongs to the event loop that it is made in.

    :param session: the verified server.
    :param thresholds: probability in (0, 1) by label; labels left out keep the model's.
    :raises InputError: if a threshold makes no sense.
    """

    def __init__(self, session: ServerSession, thresholds: Thresholds | None = None) -> None:
        self._session = session
        self._given = thresholds
        _ = self.thresholds  # refused here rather than at the first text

    @classmethod
    async def from_server(
        cls,
        url: str,
        *,
        model: Model | None = None,
        metadata_url: str | None = None,
        verify: bool = True,
        thresholds: Thresholds | None = None,
        long_texts: LongTexts | None = None,
        on_model_change: OnModelChange = "error",
        options: ServerOptions | None = None,
    ) -> Self:
        """Connect to a server and verify it; the arguments are those of `EmotionClassifier`'s.

        :param url: of the served model, as there.
        :param model: the bundle that the server must serve.
        :param metadata_url: REST URL of the same server.
        :param verify: False to believe `model`.
        :param thresholds: by label.
        :param long_texts: where the server takes tokens.
        :param on_model_change: `error` or `follow`.
        :param options: time limits and the rest.
        :return: the classifier.
        """
        session = await ServerSession.open(
            url,
            expected=expected_model(model),
            metadata_url=metadata_url,
            verify=verify,
            long_texts=long_texts,
            on_model_change=on_model_change,
            options=options,
        )
        try:
            return cls(session, thresholds)
        except BaseException:
            await session.close()
            raise

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
        return (await self._session.scores(as_texts(texts))).scores

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
        return self._decide(await self._session.scores(texts))


async def _each(texts: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[object]:
    if isinstance(texts, AsyncIterable):
        async for text in texts:
            yield text
    else:
        for text in texts:
            yield text
