"""A served model: verified, then asked for probabilities, over REST or gRPC (KServe v2).

`ServerSession` is what `EmotionClassifier.from_server` and `AsyncEmotionClassifier` stand on. It
speaks to OpenVINO Model Server 2022.3 and newer, NVIDIA Triton, and what else serves KServe v2.

Where the facts of the model (labels, thresholds, normaliser, hash) come from, in this order:

1. `metadata_url`, a REST URL of the same server, where it is given;
2. the server's REST metadata (rt_info.model_info, Model Server), or the parameters of its model
   configuration (Triton, REST and gRPC);
3. the local bundle that the caller expects. Model Server tells no facts over gRPC: then only the
   shapes of the tensors can be compared with the bundle, and a warning is logged.

Where there is neither, no prediction is made. With `verify=False` the bundle is believed whatever
the server says. Answers of another shape than expected, or with values that are no probabilities,
are refused in any case, and so are those of a model version whose facts are others than those that
were verified: a server may change its model at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.client.call import connect, with_retries
from ov_emotions.client.facts import ServedFacts, Signature, facts_of
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import Tensor, Transport
from ov_emotions.client.url import ServerAddress, parse_model_url, parse_url
from ov_emotions.client.verify import Verifier
from ov_emotions.encoding import LongTexts, TextEncoder
from ov_emotions.errors import InputError, ServerError
from ov_emotions.normalize import normalize, replace_surrogates
from ov_emotions.thresholds import sigmoid

__all__ = ["ServerOptions", "ServerSession", "Truncated"]

Scores = NDArray[np.float32]
Truncated = list[bool | None]


class ServerSession:
    """A verified model on a server; made by `open`, belongs to the event loop it was opened in."""

    def __init__(
        self,
        address: ServerAddress,
        options: ServerOptions,
        connections: Sequence[Transport],
        verifier: Verifier,
        known: tuple[Signature, ServedFacts],
        encoder: TextEncoder | None,
    ) -> None:
        self._address = address
        self._options = options
        self._connections = connections
        self._verifier = verifier
        self._signature, self._facts = known
        self._encoder = encoder
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        bundle: Bundle | None = None,
        metadata_url: str | None = None,
        verify: bool = True,
        long_texts: LongTexts | None = None,
        options: ServerOptions | None = None,
    ) -> ServerSession:
        """Connect, and verify the model before anything is predicted.

        :param url: of the model: `grpc://host:9000/emotions`, `https://host/emotions/versions/2`.
        :param bundle: the model that is expected there; needed where the server takes tokens.
        :param metadata_url: REST URL of the same server, with or without the model, for facts that
            gRPC does not give.
        :param verify: False to believe the bundle without asking for facts.
        :param long_texts: `window` or `truncate` where the server takes tokens, `window` if None; a
            server that takes texts does what it was built for.
        :param options: time limits and the rest.
        :return: the session.
        :raises InputError: if an argument is wrong or contradicts what the server offers.
        :raises ServerUnavailableError: if the server is not reached in time.
        :raises ServerMismatchError: if it serves another model than expected, or does not tell.
        :raises ServerError: if it refuses.
        """
        options = options or ServerOptions()
        address = parse_model_url(url)
        if not verify and bundle is None:
            raise InputError("verify=False believes a bundle without asking: give one as model")
        beside = None if metadata_url is None else _beside(metadata_url, address)
        connections = [connect(address, options)]
        try:
            if beside is not None:
                connections.append(connect(beside, options))
            verifier = Verifier(
                address,
                options,
                connections[0],
                connections[1] if beside is not None else None,
                None if bundle is None else facts_of(bundle.manifest),
            )
            known = await verifier.verify(ask_facts=verify)
            encoder = _encoder(address, known, bundle, long_texts)
        except BaseException:
            for connection in connections:
                await connection.close()
            raise
        return cls(address, options, connections, verifier, known, encoder)

    @property
    def facts(self) -> ServedFacts:
        """The facts of the model: the server's, or those of the bundle that is believed."""
        return self._facts

    @property
    def signature(self) -> Signature:
        """What the served model takes and gives."""
        return self._signature

    async def scores(self, texts: Sequence[str]) -> tuple[Scores, Truncated]:
        """Ask for the probability of every label for every text.

        :param texts: raw texts.
        :return: float32, shape (texts, labels), in [0, 1]; and whether each text was truncated,
            None where that cannot be known without the bundle.
        :raises ServerUnavailableError: if the server does not answer in time.
        :raises ServerMismatchError: if it serves another model by now.
        :raises ServerError: if it refuses, or its answer makes no sense.
        """
        if self._closed:
            raise ServerError("this classifier was closed; make a new one")
        if not texts:  # which Model Server answers with an internal error
            return np.empty((0, len(self._facts.labels)), np.float32), []
        if self._signature.takes == "text":
            return await self._score_texts(texts), await self._truncated(texts)
        return await self._score_tokens(texts)

    async def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        self._closed = True
        for connection in self._connections:
            await connection.close()

    async def _score_texts(self, texts: Sequence[str]) -> Scores:
        encoded = [replace_surrogates(text).encode() for text in texts]
        groups = list(_text_groups(encoded, self._options))

        async def one(rows: NDArray[np.int64]) -> Scores:
            array = np.array([encoded[row] for row in rows], dtype=np.object_)
            return await self._infer([Tensor("text", "BYTES", array)], len(rows))

        found = await self._gather([partial(one, rows) for rows in groups])
        scores = np.empty((len(texts), len(self._facts.labels)), np.float32)
        scores[np.concatenate(groups)] = np.concatenate(found)
        return scores

    async def _truncated(self, texts: Sequence[str]) -> Truncated:
        if self._facts.long_texts == "window":
            return [False] * len(texts)
        if (encoder := self._encoder) is not None:
            return list((await asyncio.to_thread(encoder.encode, texts)).truncated.tolist())
        # No tokeniser makes more tokens than there are characters, and one more for the start of
        # the first word; two are special.
        room = self._facts.max_length - 2
        return [False if len(normalize(text)) < room else None for text in texts]

    async def _score_tokens(self, texts: Sequence[str]) -> tuple[Scores, Truncated]:
        if self._encoder is None:  # open() does not allow it
            raise ServerError(f"{self._address} takes token ids, and there is no tokeniser")
        encoded = await asyncio.to_thread(self._encoder.encode, texts)
        scores = np.zeros((len(texts), len(self._facts.labels)), np.float32)
        groups = encoded.groups(self._options.batch_tokens)

        async def one(rows: NDArray[np.int64]) -> Scores:
            batch = next(encoded.batches([rows]))
            tensors = [
                Tensor("input_ids", "INT64", batch.input_ids),
                Tensor("attention_mask", "INT64", batch.attention_mask),
            ]
            return await self._infer(tensors, len(rows))

        if groups:
            found = np.concatenate(await self._gather([partial(one, rows) for rows in groups]))
            windows = np.empty_like(found)
            windows[np.concatenate(groups)] = found
            firsts = np.flatnonzero(np.diff(encoded.owners, prepend=-1))
            scores[encoded.owners[firsts]] = np.maximum.reduceat(windows, firsts, axis=0)
        return scores, list(encoded.truncated.tolist())

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

    async def _infer(self, tensors: Sequence[Tensor], rows: int) -> Scores:
        """Make one request: float32, shape (rows, labels)."""
        output, version = self._signature.output, self._address.version
        transport = self._connections[0]
        answer = await with_retries(
            lambda seconds: transport.infer(tensors, output, version, seconds), self._options
        )
        await self._verifier.check_version(answer.version)
        shape = (rows, len(self._facts.labels))
        if answer.array.shape != shape or answer.array.dtype != np.float32:
            raise ServerError(
                f"{self._address} gave {output} of {answer.array.dtype} and shape "
                f"{list(answer.array.shape)}, where float32 {list(shape)} is expected"
            )
        scores: Scores = answer.array
        if output == "logits" and np.isfinite(scores).all():
            return sigmoid(scores)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ServerError(f"{self._address} gave {output} that are no probabilities or logits")
        return scores


def _encoder(
    address: ServerAddress,
    known: tuple[Signature, ServedFacts],
    bundle: Bundle | None,
    long_texts: LongTexts | None,
) -> TextEncoder | None:
    takes, theirs = known[0].takes, known[1].long_texts
    if long_texts is not None and long_texts not in get_args(LongTexts):
        raise InputError(f"long_texts must be 'window', 'truncate' or None, not {long_texts!r}")
    if takes == "text" and long_texts not in (None, theirs):
        raise InputError(
            f"{address} takes texts and does {theirs!r} with long ones: long_texts must be that or "
            "None (a server that takes tokens leaves it to you)"
        )
    if takes == "tokens" and bundle is None:
        raise InputError(
            f"{address} takes token ids: give the bundle that it serves as model, for its tokeniser"
        )
    if bundle is None:
        return None
    default: LongTexts = "window" if takes == "tokens" else theirs
    return TextEncoder(bundle.tokenizer(), bundle.manifest.max_length, long_texts or default)


def _beside(metadata_url: str, address: ServerAddress) -> ServerAddress:
    beside = parse_url(metadata_url, schemes=("http", "https"))
    if beside.model not in ("", address.model):
        raise InputError(
            f"metadata_url asks for the model {beside.model!r}, and the URL for {address.model!r}"
        )
    return ServerAddress(
        beside.scheme, beside.host, beside.port, beside.prefix, address.model, address.version
    )


def _text_groups(encoded: Sequence[bytes], options: ServerOptions) -> Iterator[NDArray[np.int64]]:
    """Choose which texts share a request: those of like length, so that little is padding."""
    lengths = np.array([len(text) for text in encoded], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    start = size = 0
    for i, length in enumerate(lengths[order].tolist()):
        full = i - start >= options.batch_texts or size + length > options.batch_bytes
        if full and i > start:
            yield order[start:i]
            start, size = i, 0
        size += length
    yield order[start:]
