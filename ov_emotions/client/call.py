"""One request to a server: by the right protocol, and again where that may help."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import Transport
from ov_emotions.client.url import ServerAddress
from ov_emotions.errors import ServerUnavailableError

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")


def connect(address: ServerAddress, options: ServerOptions) -> Transport:
    """Make a transport for the protocol of an address, inside a running event loop.

    :param address: where the model is.
    :param options: TLS, headers and the rest.
    :return: the transport; it connects at its first call.
    :raises MissingExtraError: if its client library is not installed.
    """
    if address.legacy:
        from ov_emotions.client.tfs import LegacyTransport

        return LegacyTransport(address, options)
    if address.grpc:
        from ov_emotions.client.grpc import GrpcTransport

        return GrpcTransport(address, options)
    from ov_emotions.client.http import HttpTransport

    return HttpTransport(address, options)


async def with_retries(attempt: Callable[[float], Awaitable[T]], options: ServerOptions) -> T:
    """Make a request, again where that may help, until it succeeds or the deadline has come.

    :param attempt: makes it once, in the seconds it is given.
    :param options: attempts, pauses and time limits.
    :return: what the attempt gave.
    :raises ServerUnavailableError: the last attempt's, if none succeeded.
    :raises ServerError: at once, if trying again is of no use.
    """
    end = time.monotonic() + options.deadline
    failures = 0
    while True:
        try:
            return await attempt(min(options.timeout, max(end - time.monotonic(), 1e-3)))
        except ServerUnavailableError as error:
            failures += 1
            pause = options.pause(failures)
            if failures >= options.attempts or time.monotonic() + pause >= end:
                times = "once" if failures == 1 else f"{failures} times"
                raise ServerUnavailableError(f"{error} (tried {times})") from error
            _LOGGER.info("attempt %d failed, again in %.2f s: %s", failures, pause, error)
        await asyncio.sleep(pause)
