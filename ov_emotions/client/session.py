"""A served model: verified, then asked for probabilities, over REST or gRPC (KServe v2).

`EmotionClassifier.from_server` and `AsyncEmotionClassifier` stand on `ServerSession`. It speaks to
OpenVINO Model Server 2022.3 and newer, NVIDIA Triton, `ov-emotions serve`, and what else serves
KServe v2.

A server may change its model at any time, so it is verified again at the first answer of another
version, after a failure from which a restarted server may have come back, and every
`ServerOptions.recheck` seconds.

A request passes `scores` (texts to batches), `_infer` (the model that answered), a `Caller`
(attempts, pauses, rows) and a `Transport` (one attempt).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.client.facts import ServedFacts
from ov_emotions.client.options import OnModelChange, ServerOptions
from ov_emotions.client.probes import Compared
from ov_emotions.client.transport import Tensor, text_bytes
from ov_emotions.client.url import ServerAddress, parse_model_url, parse_url
from ov_emotions.client.verify import Scores, ServedModel, Verifier, scores_of, token_tensors
from ov_emotions.encoding import TextEncoder
from ov_emotions.errors import InputError, ServerError, ServerMismatchError
from ov_emotions.normalize import NO_NORMALIZER, normalize
from ov_emotions.schema import LongTexts, check_choice
from ov_emotions.thresholds import to_probabilities

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """Probabilities of texts, and of what they are.

    :param facts: of the model that gave them all.
    :param scores: float32, shape (texts, labels), in [0, 1].
    :param truncated: whether each text was truncated; None where only the server knows.
    """

    facts: ServedFacts
    scores: Scores
    truncated: list[bool | None]


class SessionOptions(TypedDict, total=False):
    """The keyword arguments of `ServerSession.open` but for the bundle that is expected."""

    metadata_url: str | None
    verify: bool
    long_texts: LongTexts | None
    on_model_change: OnModelChange
    options: ServerOptions | None


class _ModelChanged(Exception):  # noqa: N818
    """The session follows another model since a request was made; the call begins anew."""


class ServerSession:
    """A verified model on a server; made by `open`, belongs to the event loop it was opened in."""

    def __init__(
        self,
        verifier: Verifier,
        options: ServerOptions,
        long_texts: LongTexts | None,
        follows: bool,
    ) -> None:
        self._verifier = verifier
        self._address = verifier.address
        self._caller = verifier.caller
        self._options = options
        self._long_texts = long_texts
        self._follows = follows
        self._served: ServedModel | None = None
        self._encoder: TextEncoder | None = None
        self._versions: frozenset[str] = frozenset()  # those that were verified
        self._verified_at = 0.0
        self._lock = asyncio.Lock()
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        expected: Bundle | None = None,
        metadata_url: str | None = None,
        verify: bool = True,
        long_texts: LongTexts | None = None,
        on_model_change: OnModelChange = "error",
        options: ServerOptions | None = None,
    ) -> ServerSession:
        """Connect, and verify the model before anything is predicted.

        :raises InputError: if an argument is wrong or contradicts what the server offers.
        :raises ServerUnavailableError: if the server is not reached in time.
        :raises ServerMismatchError: if it serves another model than expected, or that cannot be
            verified.
        :raises ServerError: if it refuses.
        """
        address = parse_model_url(url)
        if not verify and expected is None:
            raise InputError("verify=False believes a bundle without asking: give one as model")
        if long_texts is not None:
            check_choice("long_texts", long_texts, LongTexts)
        check_choice("on_model_change", on_model_change, OnModelChange)
        options = options or ServerOptions()
        beside = None if metadata_url is None else _beside(metadata_url, address)
        verifier = Verifier(address, beside, options, expected, believes=not verify)
        session = cls(verifier, options, long_texts, follows=on_model_change == "follow")
        try:
            served = await verifier.verify(address.version)
            session._take(served, served.versions)
        except BaseException:
            await session.close()
            raise
        return session

    @property
    def served(self) -> ServedModel:
        """The model as it was verified last."""
        if self._served is None:
            raise ServerError(f"{self._address} was not verified")  # open() does it
        return self._served

    async def scores(self, texts: Sequence[str]) -> Scored:
        """Ask for the probability of every label for every text.

        :raises ServerUnavailableError: if the server does not answer in time.
        :raises ServerMismatchError: if it serves another model by now.
        :raises ServerError: if it refuses, or its answer makes no sense.
        """
        if self._closed:
            raise ServerError("this classifier was closed; make a new one")
        for _ in range(5):
            served = self.served
            try:
                if not texts:  # which Model Server answers with an internal error
                    scores, truncated = np.empty((0, len(served.facts.labels)), np.float32), []
                elif served.signature.takes == "text":
                    scores = await self._score_texts(served, texts)
                    truncated = await self._truncated(served.facts, texts)
                else:
                    scores, truncated = await self._score_tokens(served, texts)
                return Scored(served.facts, scores, truncated)
            except _ModelChanged:
                continue
        raise ServerMismatchError(f"{self._address} changes its model faster than it answers")

    async def probe(self) -> Compared:
        """Ask the probes and compare the answers with the expected bundle's.

        :raises InputError: if no bundle is expected.
        :raises ServerError: if the server does not answer.
        """
        served, version = self.served, self._address.version
        return (await self._verifier.probe(served.signature, served.facts, version))[0]

    async def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        self._closed = True
        await self._verifier.close()

    def _take(self, served: ServedModel, versions: frozenset[str]) -> None:
        """Go on with a model that was verified."""
        if self._served is None or self._served.signature.takes != served.signature.takes:
            self._encoder = self._encoder_of(served)
        self._served, self._versions = served, versions
        self._verified_at, self._caller.interrupted = time.monotonic(), False

    async def _check_version(self, version: str) -> None:
        """Verify what answers, unless that was done: a server may change its model at any time."""
        if self._verifier.believes or self._is_verified(version):
            return
        async with self._lock:
            if self._is_verified(version):
                return
            known = self.served
            now = await self._verifier.verify(version or self._address.version)
            wrong = now.facts.differences(known.facts, weights=False)
            if now.signature != known.signature:
                wrong.append("it takes or gives something else")
            if wrong and not self._follows:
                where = f"{self._address} (version {version})" if version else str(self._address)
                raise ServerMismatchError(
                    f"{where} is not what was verified: {'; '.join(wrong)}; make a new classifier, "
                    "or one with on_model_change='follow'"
                )
            if version not in self._versions:
                _LOGGER.info("%s: version %s is served now", self._address, version or "unknown")
            verified = self._versions if self._is_recent() and not wrong else frozenset[str]()
            self._take(now if wrong else known, verified | now.versions | {version})

    def _is_verified(self, version: str) -> bool:
        return self._is_recent() and (not version or version in self._versions)

    def _is_recent(self) -> bool:
        age = time.monotonic() - self._verified_at
        return age < self._options.recheck and not self._caller.interrupted

    def _encoder_of(self, served: ServedModel) -> TextEncoder | None:
        takes, theirs = served.signature.takes, served.facts.long_texts
        if takes == "text" and self._long_texts not in (None, theirs):
            raise InputError(
                f"{self._address} takes texts and does {theirs!r} with long ones: long_texts must "
                "be that or None (a server that takes tokens leaves it to you)"
            )
        bundle = self._verifier.expected
        if bundle is None:
            if takes == "text":
                return None
            raise InputError(
                f"{self._address} takes token ids: give the bundle that it serves as model, for "
                "its tokeniser"
            )
        default: LongTexts = "window" if takes == "tokens" else theirs
        return TextEncoder(
            bundle.tokenizer(), bundle.manifest.max_length, self._long_texts or default
        )

    # Requests

    async def _score_texts(self, served: ServedModel, texts: Sequence[str]) -> Scores:
        encoded = [text_bytes(text) for text in texts]
        options = self._options
        most = min(options.batch_texts, self._caller.bound or options.batch_texts)
        groups = list(_groups([len(text) for text in encoded], most, options.batch_bytes))
        requests = []
        for rows in groups:
            array = np.array([encoded[row] for row in rows], dtype=np.object_)
            requests.append(partial(self._infer, served, [Tensor("text", "BYTES", array)]))
        scores = np.empty((len(texts), len(served.facts.labels)), np.float32)
        scores[np.concatenate(groups)] = np.concatenate(await self._gather(requests))
        return scores

    async def _score_tokens(
        self, served: ServedModel, texts: Sequence[str]
    ) -> tuple[Scores, list[bool | None]]:
        if self._encoder is None:  # _take() made one
            raise ServerError(f"{self._address} takes token ids, and there is no tokeniser")
        encoded = await asyncio.to_thread(self._encoder.encode, texts)
        scores = np.zeros((len(texts), len(served.facts.labels)), np.float32)
        groups = encoded.groups(self._options.batch_tokens)
        if groups:
            requests = []
            for batch in encoded.batches(groups):
                tensors = token_tensors(batch, served.signature)
                requests.append(partial(self._infer, served, tensors))
            windows = np.empty((len(encoded.lengths), scores.shape[1]), np.float32)
            windows[np.concatenate(groups)] = np.concatenate(await self._gather(requests))
            firsts = np.flatnonzero(np.diff(encoded.owners, prepend=-1))
            if served.facts.task == "single_label":
                # The mean of the windows' logits, which are the logarithms but for a constant.
                with np.errstate(divide="ignore"):
                    joined = np.add.reduceat(np.log(windows), firsts, axis=0)
                joined /= np.diff(firsts, append=len(windows))[:, None].astype(np.float32)
                joined = to_probabilities(joined, "single_label")
            else:
                joined = np.maximum.reduceat(windows, firsts, axis=0)
            scores[encoded.owners[firsts]] = joined
        return scores, list(encoded.truncated.tolist())

    async def _truncated(self, facts: ServedFacts, texts: Sequence[str]) -> list[bool | None]:
        if facts.long_texts == "window":
            return [False] * len(texts)
        if (encoder := self._encoder) is not None:
            return list((await asyncio.to_thread(encoder.encode, texts)).truncated.tolist())
        # No tokeniser makes more tokens than there are characters, and one more for the start of
        # the first word; two are special.
        room = facts.max_length - 2
        if facts.normalizer == NO_NORMALIZER:
            lengths = [len(text_bytes(text)) for text in texts]
        else:
            lengths = [len(normalize(text)) for text in texts]
        return [False if length < room else None for length in lengths]

    async def _gather(self, requests: Sequence[Callable[[], Awaitable[Scores]]]) -> list[Scores]:
        """Make the requests, some at a time; the first failure ends them all."""
        if len(requests) == 1:
            return [await requests[0]()]
        room = asyncio.Semaphore(self._options.concurrency)

        async def limited(request: Callable[[], Awaitable[Scores]]) -> Scores:
            async with room:
                return await request()

        tasks = [asyncio.ensure_future(limited(request)) for request in requests]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _infer(self, served: ServedModel, tensors: Sequence[Tensor]) -> Scores:
        """Give the probabilities of the rows of a request: shape (rows, labels)."""
        signature, facts = served.signature, served.facts
        answers = await self._caller.infer(tensors, [signature.output], self._address.version)
        for answer in answers:
            await self._check_version(answer.version)
        if self._served is not served:
            raise _ModelChanged
        shape = (len(tensors[0].array), len(facts.labels))
        return scores_of(answers, signature, shape, facts.task, self._address)


def _beside(metadata_url: str, address: ServerAddress) -> ServerAddress:
    beside = parse_url(metadata_url, schemes=("http", "https"))
    if beside.model not in ("", address.model):
        raise InputError(
            f"metadata_url asks for the model {beside.model!r}, and the URL for {address.model!r}"
        )
    return replace(beside, model=address.model, version=address.version)


def _groups(sizes: Sequence[int], most: int, most_bytes: int) -> Iterator[NDArray[np.int64]]:
    """Choose which texts share a request: those of like length, so that little is padding."""
    lengths = np.array(sizes, dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    start = size = 0
    for i, length in enumerate(lengths[order].tolist()):
        full = i - start >= most or size + length > most_bytes
        if full and i > start:
            yield order[start:i]
            start, size = i, 0
        size += length
    yield order[start:]
