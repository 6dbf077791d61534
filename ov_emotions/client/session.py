"""A served model: verified, then asked for probabilities, over REST or gRPC (KServe v2).

`EmotionClassifier.from_server` and `AsyncEmotionClassifier` stand on `ServerSession`. It speaks to
OpenVINO Model Server 2022.3 and newer, NVIDIA Triton, `ov-emotions serve`, and what else serves
KServe v2.

What a model is (labels, thresholds, normaliser, hash) is asked in this order:

1. at `metadata_url`, a REST URL of the same server, where it is given;
2. of the server: REST metadata (rt_info.model_info, Model Server), or the parameters of its model
   configuration (Triton, REST and gRPC);
3. by probes, where the caller expects a bundle and the server tells nothing (Model Server over
   gRPC): texts whose answers the bundle knows.

Where none of them proves the model, no prediction is made; `verify=False` believes the bundle.
A server may change its model at any time, so it is verified again at the first answer of another
version, after a failure from which a restarted server may have come back, and every
`ServerOptions.recheck` seconds.

A request passes `scores` (texts to batches), `_infer` (a batch, its bound, its version, its
values), `_ask` (attempts and pauses) and a `Transport` (one attempt).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Task
from ov_emotions.client.facts import (
    ServedFacts,
    Signature,
    check_facts,
    facts_of,
    parse_facts,
    refused_bound,
    signature_of,
    told_bound,
)
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.probes import PROBES, Compared, Expected, compare, known_answers
from ov_emotions.client.transport import (
    Answer,
    ModelMetadata,
    NotFoundError,
    OverloadedError,
    SlowAnswerError,
    Tensor,
    Transport,
    connect,
    text_bytes,
)
from ov_emotions.client.url import ServerAddress, parse_model_url, parse_url
from ov_emotions.encoding import LongTexts, TextEncoder
from ov_emotions.errors import (
    InputError,
    ServerError,
    ServerMismatchError,
    ServerUnavailableError,
)
from ov_emotions.normalize import NO_NORMALIZER, normalize
from ov_emotions.thresholds import to_probabilities

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")
Scores = NDArray[np.float32]
OnModelChange = Literal["error", "follow"]

_LOADING_PAUSE = 0.5
"""Seconds between two looks at a server that loads its models, which takes it a few seconds."""

_LEAST_TIME = 0.05
"""Seconds before the deadline in which no further attempt is begun."""

_WAY_OUT = (
    "OpenVINO Model Server tells what it serves over REST only: give its REST URL as metadata_url"
)


@dataclass(frozen=True)
class ServedModel:
    """A model as it was verified.

    :param proof: how it was compared with the bundle that is expected, in words; empty where none
        is expected, or it was believed.
    """

    signature: Signature
    facts: ServedFacts
    proof: str


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


class _ModelChanged(Exception):  # noqa: N818
    """The session follows another model since a request was made; the call begins anew."""


class ServerSession:
    """A verified model on a server; made by `open`, belongs to the event loop it was opened in."""

    def __init__(
        self,
        address: ServerAddress,
        options: ServerOptions,
        expected: Expected | None,
        *,
        beside: ServerAddress | None,
        verify: bool,
        long_texts: LongTexts | None,
        on_model_change: OnModelChange,
    ) -> None:
        self._address = address
        self._options = options
        self._expected = expected
        self._verifies = verify
        self._long_texts = long_texts
        self._follows = on_model_change == "follow"
        self._transport = connect(address, options)
        self._beside: Transport | None = None
        if beside is not None:
            self._beside = connect(beside, options)
        self._served: ServedModel | None = None
        self._encoder: TextEncoder | None = None
        self._versions: set[str] = set()  # those that were verified
        self._verified_at = 0.0
        self._doubtful = False
        self._bound: int | None = None  # rows of a request, as far as the server told
        self._lock = asyncio.Lock()
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        expected: Expected | None = None,
        metadata_url: str | None = None,
        verify: bool = True,
        long_texts: LongTexts | None = None,
        on_model_change: OnModelChange = "error",
        options: ServerOptions | None = None,
    ) -> ServerSession:
        """Connect, and verify the model before anything is predicted.

        :param url: of the model: `grpc://host:9000/emotions`, `https://host/emotions/versions/2`.
        :param expected: the bundle that must be served there; needed where the server takes tokens.
        :param metadata_url: REST URL of the same server, with or without the model, for facts that
            gRPC does not give.
        :param verify: False to believe the bundle.
        :param long_texts: `window` or `truncate` where the server takes tokens, `window` if None; a
            server that takes texts does what it was built for.
        :param on_model_change: what to do when the server serves other labels or thresholds:
            `error` refuses its answers, `follow` takes the new ones if they can be verified.
        :param options: time limits and the rest.
        :return: the session.
        :raises InputError: if an argument is wrong or contradicts what the server offers.
        :raises ServerUnavailableError: if the server is not reached in time.
        :raises ServerMismatchError: if it serves another model than expected, or that cannot be
            verified.
        :raises ServerError: if it refuses.
        """
        address = parse_model_url(url)
        if not verify and expected is None:
            raise InputError("verify=False believes a bundle without asking: give one as model")
        if long_texts is not None and long_texts not in get_args(LongTexts):
            raise InputError(f"long_texts must be 'window', 'truncate' or None, not {long_texts!r}")
        if on_model_change not in get_args(OnModelChange):
            raise InputError(
                f"on_model_change must be 'error' or 'follow', not {on_model_change!r}"
            )
        session = cls(
            address,
            options or ServerOptions(),
            expected,
            beside=None if metadata_url is None else _beside(metadata_url, address),
            verify=verify,
            long_texts=long_texts,
            on_model_change=on_model_change,
        )
        try:
            session._take(await session._verify(address.version))
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

        :param texts: raw texts.
        :return: probabilities, all of one model.
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

        :return: what was found.
        :raises InputError: if no bundle is expected.
        :raises ServerError: if the server does not answer.
        """
        served = self.served
        return (await self._probe(served.signature, served.facts, self._address.version))[0]

    async def close(self) -> None:
        """Let go of the connections; later calls raise ServerError."""
        self._closed = True
        for transport in (self._transport, self._beside):
            if transport is not None:
                await transport.close()

    # What is served

    async def _verify(self, version: str) -> tuple[ServedModel, set[str]]:
        """Find out what is served, and refuse what is not expected; with the versions that it is.

        :param version: of the model; empty for the one that the server prefers.
        """
        where = (
            str(self._address)
            if version == self._address.version
            else (f"{self._address} (version {version})")
        )
        # A version that is gone again by now would never come.
        patient = version == self._address.version
        metadata = await self._ask(partial(self._transport.metadata, version), patient=patient)
        signature = signature_of(metadata, where)
        ours = None if self._expected is None else facts_of(self._expected.bundle.manifest)
        beside, raw = metadata, cast("Mapping[str, str]", {})
        if self._verifies:
            beside, raw = await self._told_facts(version, metadata)
        self._bound = told_bound((metadata, beside), raw) or self._bound
        versions = {version} if version else set(metadata.versions)
        if len(versions) > 1:  # which of them answers, the first answer tells
            versions = set()
        if raw:
            facts = parse_facts(raw, where)
            check_facts(facts, signature, ours, where)
            if ours is None:
                return ServedModel(signature, facts, ""), versions
            if facts.manifest_sha256 is not None:
                return ServedModel(signature, facts, f"the same as {ours.name} here"), versions
        elif ours is None:
            raise ServerMismatchError(
                f"{where} does not tell the labels and thresholds of its model; {_WAY_OUT}, or the "
                "bundle that it serves as model"
            )
        else:
            check_facts(ours, signature, None, where)
            facts = ours
            if not self._verifies:
                return ServedModel(signature, ours, ""), versions
        found, answered = await self._probe(signature, facts, version)
        if found.wrong:
            more = f"; and {len(found.wrong) - 2} more" if len(found.wrong) > 2 else ""
            raise ServerMismatchError(
                f"{where} does not answer as {ours.name} does here: {'; '.join(found.wrong[:2])}"
                f"{more}. {_WAY_OUT} to see which model it is"
            )
        return ServedModel(signature, facts, str(found)), {answered} if answered else versions

    async def _told_facts(
        self, version: str, metadata: ModelMetadata
    ) -> tuple[ModelMetadata, Mapping[str, str]]:
        """Ask for the facts as texts, empty where the server has none to give."""
        transport = self._transport
        if self._beside is not None:
            transport = self._beside
            told = await self._ask(partial(transport.metadata, version))
            where = "the server at metadata_url"
            if signature_of(told, where) != signature_of(metadata, str(self._address)):
                raise ServerMismatchError(f"{where} serves another model than {self._address}")
            metadata = told
        if metadata.facts:
            return metadata, metadata.facts
        try:
            found = await self._ask(partial(transport.parameters, version))
        except ServerUnavailableError:
            raise
        except ServerError as error:  # an extension, which Model Server does not have
            _LOGGER.debug("no model configuration: %s", error)
            found = {}
        return metadata, found if "labels" in found or "manifest" in found else {}

    async def _probe(
        self, signature: Signature, facts: ServedFacts, version: str
    ) -> tuple[Compared, str]:
        """Compare the answers to the probes; with the version that gave them."""
        expected = self._expected
        if expected is None:
            raise InputError("without a bundle there is nothing to compare the probes with")
        long_texts = facts.long_texts if signature.takes == "text" else "truncate"
        known = await asyncio.to_thread(known_answers, expected, long_texts)
        if not known.tell_apart:
            raise ServerMismatchError(
                f"{self._address} cannot be verified by its answers: the known texts are all alike "
                f"to {expected.bundle.manifest.name}. {_WAY_OUT}, or believe it with verify=False"
            )
        texts = [text_bytes(text) for text in PROBES]
        tensors = [Tensor("text", "BYTES", np.array(texts, np.object_))]
        if signature.takes == "tokens":
            manifest = expected.bundle.manifest
            encoder = TextEncoder(expected.bundle.tokenizer(), manifest.max_length, "truncate")
            batch = next(encoder.encode(PROBES).batches([np.arange(len(PROBES))]))
            tensors = [
                Tensor("input_ids", "INT64", batch.input_ids),
                Tensor("attention_mask", "INT64", batch.attention_mask),
            ]
        outputs = [signature.output, *(["labels"] if signature.names else [])]
        answers = await self._run(tensors, outputs, version, patient=False)
        if len({answer.version for answer in answers}) > 1:
            raise ServerUnavailableError(f"{self._address} is changing its model; try again")
        raw = np.concatenate([answer.arrays[signature.output] for answer in answers])
        task = expected.bundle.manifest.task
        scores = self._checked(raw, signature, known.scores.shape, task)
        names = None
        if signature.names:
            names = [bytes(name) for a in answers for name in a.arrays["labels"]]
            if len(names) != len(texts):
                raise ServerError(
                    f"{self._address} gave {len(names)} labels for {len(texts)} texts"
                )
        return compare(known, expected.bundle, scores, names), answers[0].version

    def _take(self, verified: tuple[ServedModel, set[str]]) -> None:
        """Go on with a model that was verified."""
        served, versions = verified
        if self._served is None or self._served.signature.takes != served.signature.takes:
            self._encoder = self._encoder_of(served)
        self._served, self._versions = served, versions
        self._verified_at, self._doubtful = time.monotonic(), False

    async def _check_version(self, version: str) -> None:
        """Verify what answers, unless that was done: a server may change its model at any time."""
        if not self._verifies or self._is_verified(version):
            return
        async with self._lock:
            if self._is_verified(version):
                return
            known = self.served
            if not self._is_recent():
                self._versions = set()
            now, versions = await self._verify(version or self._address.version)
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
            if wrong:
                self._take((now, versions | {version}))
            else:
                self._take((known, self._versions | versions | {version}))

    def _is_verified(self, version: str) -> bool:
        return self._is_recent() and (not version or version in self._versions)

    def _is_recent(self) -> bool:
        age = time.monotonic() - self._verified_at
        return age < self._options.recheck and not self._doubtful

    def _encoder_of(self, served: ServedModel) -> TextEncoder | None:
        takes, theirs = served.signature.takes, served.facts.long_texts
        if takes == "text" and self._long_texts not in (None, theirs):
            raise InputError(
                f"{self._address} takes texts and does {theirs!r} with long ones: long_texts must "
                "be that or None (a server that takes tokens leaves it to you)"
            )
        if self._expected is None:
            if takes == "text":
                return None
            raise InputError(
                f"{self._address} takes token ids: give the bundle that it serves as model, for "
                "its tokeniser"
            )
        bundle = self._expected.bundle
        default: LongTexts = "window" if takes == "tokens" else theirs
        return TextEncoder(
            bundle.tokenizer(), bundle.manifest.max_length, self._long_texts or default
        )

    # Requests

    async def _score_texts(self, served: ServedModel, texts: Sequence[str]) -> Scores:
        encoded = [text_bytes(text) for text in texts]
        options = self._options
        most = min(options.batch_texts, self._bound or options.batch_texts)
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
                tensors = [
                    Tensor("input_ids", "INT64", batch.input_ids),
                    Tensor("attention_mask", "INT64", batch.attention_mask),
                ]
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
        output = served.signature.output
        answers = await self._run(tensors, [output], self._address.version)
        for answer in answers:
            await self._check_version(answer.version)
        if self._served is not served:
            raise _ModelChanged
        array = np.concatenate([answer.arrays[output] for answer in answers])
        shape = (len(tensors[0].array), len(served.facts.labels))
        return self._checked(array, served.signature, shape, served.facts.task)

    async def _run(
        self,
        tensors: Sequence[Tensor],
        outputs: Sequence[str],
        version: str,
        *,
        patient: bool = True,
    ) -> list[Answer]:
        """Make one request, or several where the server takes fewer rows at a time."""
        rows = len(tensors[0].array)
        most = min(rows, self._bound or rows)
        try:
            return [
                await self._ask(
                    partial(self._transport.infer, part, outputs, version), patient=patient
                )
                for part in _parts(tensors, most)
            ]
        except ServerError as error:
            bound = refused_bound(str(error))
            if not bound or bound >= most:
                raise
            _LOGGER.info("%s takes %d rows in a request at most", self._address, bound)
            self._bound = bound
        return await self._run(tensors, outputs, version, patient=patient)

    def _checked(
        self, array: NDArray[np.float32], signature: Signature, shape: tuple[int, ...], task: Task
    ) -> Scores:
        """Refuse what are no probabilities, or of another shape."""
        if array.shape != shape or array.dtype != np.float32:
            raise ServerError(
                f"{self._address} gave {signature.output} of {array.dtype} and shape "
                f"{list(array.shape)}, where float32 {list(shape)} is expected"
            )
        if signature.output == "logits" and np.isfinite(array).all():
            return to_probabilities(array, task)
        if not ((array >= 0) & (array <= 1)).all():
            raise ServerError(
                f"{self._address} gave {signature.output} that are no probabilities or logits"
            )
        return array

    async def _ask(self, attempt: Callable[[float], Awaitable[T]], *, patient: bool = True) -> T:
        """Make a request, again where that may help, until it succeeds or the deadline has come.

        A server that is loading or has too much to do is waited for until the deadline; one that
        is not reached, or slow, is asked `attempts` times.
        """
        options = self._options
        end = time.monotonic() + options.deadline
        tried = failures = 0
        while True:
            try:
                return await attempt(min(options.timeout, max(end - time.monotonic(), 1e-3)))
            except NotFoundError as error:
                known = self._served is not None and patient
                if options.attempts == 1 or not (known or await self._is_loading()):
                    raise
                caught, waits = ServerUnavailableError(str(error)), True
            except ServerUnavailableError as error:
                caught, waits = error, isinstance(error, OverloadedError)
            if not isinstance(caught, OverloadedError | SlowAnswerError):
                self._doubtful = True  # it may come back with another model
            tried += 1
            failures += not waits
            pause = options.pause(tried)
            if waits and not isinstance(caught, OverloadedError):
                pause = min(pause, _LOADING_PAUSE)
            given_up = failures >= options.attempts or options.attempts == 1
            if given_up or time.monotonic() + pause + _LEAST_TIME >= end:
                times = "once" if tried == 1 else f"{tried} times"
                raise ServerUnavailableError(f"{caught} (tried {times})") from caught
            _LOGGER.info("attempt %d failed, again in %.2f s: %s", tried, pause, caught)
            await asyncio.sleep(pause)

    async def _is_loading(self) -> bool:
        try:
            return await self._transport.loading(self._options.timeout)
        except ServerError as error:
            return isinstance(error, ServerUnavailableError)


def _beside(metadata_url: str, address: ServerAddress) -> ServerAddress:
    beside = parse_url(metadata_url, schemes=("http", "https"))
    if beside.model not in ("", address.model):
        raise InputError(
            f"metadata_url asks for the model {beside.model!r}, and the URL for {address.model!r}"
        )
    return replace(beside, model=address.model, version=address.version)


def _parts(tensors: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Cut the tensors of a request into several of `most` rows at most."""
    for start in range(0, len(tensors[0].array), most):
        yield [replace(tensor, array=tensor.array[start : start + most]) for tensor in tensors]


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
