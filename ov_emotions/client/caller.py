"""A transport called with patience: again where that may help, in parts where it must be."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from ov_emotions.client.facts import refused_bound
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import (
    Answer,
    ModelMetadata,
    NotFoundError,
    OverloadedError,
    SlowAnswerError,
    Tensor,
    Transport,
)
from ov_emotions.client.url import ServerAddress
from ov_emotions.errors import ServerError, ServerUnavailableError

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

_LOADING_PAUSE = 0.5
"""Seconds between two looks at a server that loads its models, which takes it a few seconds."""

_LEAST_TIME = 0.05
"""Seconds before the deadline in which no further attempt is begun."""


def connect(address: ServerAddress, options: ServerOptions) -> Transport:
    """Make a transport for the protocol of an address, inside a running event loop.

    :raises MissingExtraError: if its client library is not installed.
    :raises InputError: if the options ask for what the protocol cannot.
    """
    if address.legacy:
        from ov_emotions.client.tfs import TfsTransport

        return TfsTransport(address, options)
    if address.grpc:
        from ov_emotions.client.grpc import GrpcTransport

        return GrpcTransport(address, options)
    from ov_emotions.client.rest import RestTransport

    return RestTransport(address, options)


class Caller:
    """Calls a server for one model; belongs to the event loop that it is made in.

    :param address: where the model is.
    :param options: attempts, pauses and time limits.
    """

    def __init__(self, address: ServerAddress, options: ServerOptions) -> None:
        self._address = address
        self._options = options
        self._transport = connect(address, options)
        self.known = False
        """Whether the model was there before: a 404 then says that it is being loaded."""
        self.interrupted = False
        """Whether a failure came since this was reset, after which a server may be another one."""
        self.bound: int | None = None
        """Rows that a request may have, as far as the server told."""

    async def metadata(self, version: str) -> ModelMetadata:
        """Ask what the server says of the model."""
        # A version that is gone by now would never come: only the one of the URL is waited for.
        return await self._ask(
            partial(self._transport.metadata, version), wait=version == self._address.version
        )

    async def parameters(self, version: str) -> Mapping[str, str]:
        """Ask for the parameters of Triton's configuration; empty where there is none."""
        try:
            return await self._ask(partial(self._transport.parameters, version), wait=False)
        except ServerUnavailableError:
            raise
        except ServerError as error:  # an extension, which Model Server does not have
            _LOGGER.debug("no model configuration: %s", error)
            return {}

    async def infer(
        self, tensors: Sequence[Tensor], outputs: Sequence[str], version: str
    ) -> list[Answer]:
        """Run the model, in several requests where the server takes fewer rows at a time."""
        rows = len(tensors[0].array)
        most = min(rows, self.bound or rows)
        try:
            return [
                await self._ask(
                    partial(self._transport.infer, part, outputs, version),
                    wait=version == self._address.version,
                )
                for part in _parts(tensors, most)
            ]
        except ServerError as error:
            bound = refused_bound(str(error))
            if not bound or bound >= most:
                raise
            _LOGGER.info("%s takes %d rows in a request at most", self._address, bound)
            self.bound = bound
        return await self.infer(tensors, outputs, version)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._transport.close()

    async def _ask(self, attempt: Callable[[float], Awaitable[T]], *, wait: bool) -> T:
        """Make a request until it succeeds or the deadline has come.

        A server that is loading or has too much to do is waited for until the deadline; one that
        is not reached, or slow, is asked `attempts` times.
        """
        options = self._options
        end = time.monotonic() + options.deadline
        tried = failures = 0
        asked_again = False
        while True:
            try:
                return await attempt(min(options.timeout, max(end - time.monotonic(), 1e-3)))
            except NotFoundError as error:
                if options.attempts == 1:
                    raise
                if not ((self.known and wait) or await self._loading()):
                    if asked_again:
                        raise
                    # It may have come to be there between the two questions.
                    asked_again = True
                    continue
                asked_again = False
                caught, longest = ServerUnavailableError(str(error)), _LOADING_PAUSE
            except OverloadedError as error:
                caught, longest = error, options.max_backoff
            except ServerUnavailableError as error:
                caught, longest = error, options.max_backoff
                failures += 1
            if not isinstance(caught, OverloadedError | SlowAnswerError):
                self.interrupted = True
            tried += 1
            pause = min(options.pause(tried), longest)
            given_up = failures >= options.attempts or options.attempts == 1
            if given_up or time.monotonic() + pause + _LEAST_TIME >= end:
                times = "once" if tried == 1 else f"{tried} times"
                raise ServerUnavailableError(f"{caught} (tried {times})") from caught
            _LOGGER.info("attempt %d failed, again in %.2f s: %s", tried, pause, caught)
            await asyncio.sleep(pause)

    async def _loading(self) -> bool:
        try:
            return await self._transport.loading(self._options.timeout)
        except ServerError as error:
            return isinstance(error, ServerUnavailableError)


def _parts(tensors: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Cut the tensors of a request into several of `most` rows at most."""
    for start in range(0, len(tensors[0].array), most):
        yield [replace(tensor, array=tensor.array[start : start + most]) for tensor in tensors]
