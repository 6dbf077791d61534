"""What uvicorn does not do by itself: give up on silent clients, and stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from ov_emotions.server.service import Service

_LOGGER = logging.getLogger(__name__)

_READ_SECONDS = 30.0
"""A client that was answered has this long to take the rest of it."""

_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: 44\r\n\r\n"
    b'{"error":"the request did not come in time"}'
)


def timed_protocol(receive_seconds: float) -> type[H11Protocol]:
    """Make a protocol whose requests have to arrive whole in time.

    :param receive_seconds: for head and body together; a connection without a request has them too.
    :return: a class for `uvicorn.Config(http=...)`.
    """

    class TimedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._let_be()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():
                self.loop.call_later(_READ_SECONDS, self.transport.abort)

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self.loop.call_later(_READ_SECONDS, self.transport.abort)

        def _watch(self) -> None:
            arriving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
            if not arriving or self.transport.is_closing():
                self._let_be()
            elif self._deadline is None:
                # A second more than the application gives a body, which has a better answer.
                self._deadline = self.loop.call_later(receive_seconds + 1, self._too_slow)

        def _let_be(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            if self.transport.is_closing():
                return
            _LOGGER.info("a request did not arrive within %g s", receive_seconds)
            if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
                self.transport.write(_SLOW)
            self.transport.close()

    return TimedProtocol


class OrderlyServer(Server):
    """Stops in order: refuses new requests while those that were taken are finished.

    :param config: uvicorn's.
    :param service: that is told to stop.
    :param started: called once the server listens, with its port.
    """

    def __init__(
        self, config: Config, service: Service, started: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(config)
        self._service = service
        self._tell = started

    async def startup(self, sockets: Any = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        if self.started and self._tell is not None:
            listener = sockets[0] if sockets else self.servers[0].sockets[0]
            self._tell(listener.getsockname()[1])

    async def shutdown(self, sockets: Any = None) -> None:
        """Finish what was taken while the listener still answers others with 503; then close."""
        batcher = self._service.batcher
        batcher.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._service.settings.grace_seconds
        while self.server_state.tasks and loop.time() < end and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals while serving; uvicorn would raise them again after an orderly stop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
