"""The classifier's API in front of a model server: for threads, and for asyncio."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.client.session import Scored, ServerSession, SessionOptions
from ov_emotions.errors import ServerError
from ov_emotions.prediction import (
    Prediction,
    Texts,
    Thresholds,
    as_texts,
    decide,
    merge_thresholds,
    not_a_text,
)
from ov_emotions.schema import check_count

__all__ = ["AsyncEmotionClassifier", "ServerClassifier", "expected_model"]

Model = str | os.PathLike[str] | Bundle

T = TypeVar("T")


def expected_model(model: Model | None) -> Bundle | None:
    """Load the bundle that a server must serve; None for any.

    :raises BundleError: if it is missing or damaged.
    """
    return model if model is None or isinstance(model, Bundle) else Bundle.load(model)


class LoopThread:
    """An event loop in a thread of its own, for callers who have none; one serves the process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._open: set[ServerSession] = set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ov_emotions-server", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; it is cancelled if the caller is interrupted.

        :raises ServerError: in a process that was forked after the loop was started.
        """
        if os.getpid() != self.process:
            coroutine.close()
            raise ServerError(
                "this classifier was made before the process was forked; connections do not "
                "survive that: make it in the process that uses it"
            )
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise ServerError("a classifier cannot be called from its own event loop")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def keep(self, session: ServerSession) -> None:
        """Remember what has to be closed before the process ends."""
        self._open.add(session)

    def close_later(self, session: ServerSession) -> None:
        """Close what nobody uses any more, from any thread and without waiting for it."""
        if os.getpid() == self.process and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.close(session), self._loop)

    def stop(self) -> None:
        """Close what is still open, and stop the loop."""
        if os.getpid() != self.process or self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    async def close(self, session: ServerSession) -> None:
        """Close what was opened on this loop; a second time does nothing."""
        if session in self._open:
            self._open.discard(session)
            await session.close()

    async def _end(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closing = [session.close() for session in self._open]
        await asyncio.gather(*closing, return_exceptions=True)
        await self._loop.shutdown_default_executor()
        self._loop.stop()


_lock = threading.Lock()
_shared: LoopThread | None = None


def shared_loop() -> LoopThread:
    """Return the process's loop, started at the first call; after a fork, a new one."""
    global _shared
    with _lock:
        if _shared is None or _shared.process != os.getpid():
            _shared = LoopThread()
            atexit.register(_shared.stop)
        return _shared


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

    :param bundle: the local bundle that it was compared with, if there is one.
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

        :return: float32, shape (texts, labels); infinite where a probability is 0 or 1 in float32.
        """
        scores = self.predict_proba(texts)
        with np.errstate(divide="ignore"):
            logits: NDArray[np.float32] = np.log(scores) - np.log1p(-scores)
        return logits

    def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        if self._finalizer.detach() is not None:
            self._loop.run(self._loop.close(self._session))

    def _scored(self, texts: Sequence[str]) -> Scored:
        return self._loop.run(self._session.scores(texts))

    def _score(
        self, texts: Sequence[str], streams: int | None = None
    ) -> tuple[NDArray[np.float32], Sequence[bool | None]]:
        del streams  # the server's own business
        scored = self._scored(texts)
        return scored.scores, scored.truncated

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        return self._decide(self._scored(texts))


def open_classifier(
    url: str,
    *,
    model: Model | None,
    thresholds: Thresholds | None,
    **talk: Unpack[SessionOptions],
) -> ServerClassifier:
    """Connect to a server; the arguments are those of `EmotionClassifier.from_server`."""
    expected = expected_model(model)
    loop = shared_loop()
    session = loop.run(ServerSession.open(url, expected=expected, **talk))
    try:
        classifier = ServerClassifier(session, loop, expected, thresholds)
    except BaseException:
        loop.run(session.close())
        raise
    classifier.opened_by = partial(open_classifier, url, model=model, thresholds=thresholds, **talk)
    return classifier


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
        thresholds: Thresholds | None = None,
        **talk: Unpack[SessionOptions],
    ) -> Self:
        """Connect to a server and verify it; see `EmotionClassifier.from_server`.

        :param url: of the served model, as there.
        :param model: the bundle that the server must serve.
        :param thresholds: by label.
        :param talk: `metadata_url`, `verify`, `long_texts`, `on_model_change` and `options`, as
            there.
        :return: the classifier.
        """
        session = await ServerSession.open(url, expected=expected_model(model), **talk)
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
            if isinstance(text, str):
                chunk.append(text)
                position += 1
                if len(chunk) < chunk_size:
                    continue
            for prediction in await self._predict(chunk):
                yield prediction
            chunk = []
            if not isinstance(text, str):
                raise not_a_text(position, text)
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
