"""Runs the application: the address, the protocol's times and limits, signals, worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httptools
import msgspec
from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ov_emotions.errors import InputError, OvEmotionsError
from ov_emotions.server.answers import JSON
from ov_emotions.server.service import SHARED_METRICS, Service
from ov_emotions.server.settings import ServerSettings

_LOGGER = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 15.0
_BACKLOG = 2048
_READ_SECONDS = 30.0
"""A client that was answered has this long to take the rest of it."""
_MOST_HEAD = 65_536
"""Bytes of a request's first line and headers."""
_RESTART_SECONDS = 1.0


@contextlib.contextmanager
def listen(settings: ServerSettings) -> Iterator[socket.socket]:
    """Open the address, so that a wrong or a taken one is told before a model is loaded.

    :return: yields a listening socket; that of a path is removed at the end.
    :raises InputError: if it cannot be had.
    """
    with _open(settings) as sock:
        try:
            yield sock
        finally:
            if settings.unix_socket is not None:
                settings.unix_socket.unlink(missing_ok=True)


def _open(settings: ServerSettings) -> socket.socket:
    path = settings.unix_socket
    if path is not None and not hasattr(socket, "AF_UNIX"):
        raise InputError("this system has no Unix sockets; give --host and --port")
    where = f"{settings.host} port {settings.port}" if path is None else str(path)
    address: Any = where
    try:
        if path is not None:
            family, kind, protocol = socket.AF_UNIX, socket.SOCK_STREAM, 0
            _clear_left(path)
        else:
            found = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            # asyncio turns Nagle's algorithm off only where the socket knows that it is TCP.
            family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise InputError(f"cannot listen on {where}: {error.strerror or error}") from error
    return sock


def _clear_left(path: Path) -> None:
    """Remove the socket that a killed server left."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            if other.connect_ex(str(path)) == 0:
                raise InputError(f"cannot listen on {path}: another server does")
        path.unlink()


@contextlib.contextmanager
def _signals(**acts: Callable[[int, Any], None]) -> Iterator[None]:
    """Take signals, those that this system has, as long as the block runs."""
    numbers = {getattr(signal, name): act for name, act in acts.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, act) for number, act in numbers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _last_words(status: str, message: str) -> bytes:
    """Write an answer to what never became a request; the connection is closed after it."""
    ident = secrets.token_hex(8)
    body = msgspec.json.encode({"error": message, "request_id": ident})
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {ident}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class _OneWrite:
    """A transport that sends the head of an answer together with what follows it.

    uvicorn writes them one after the other, and each write is a call of the system.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or keep a head until something follows."""
        if data[:9] == b"HTTP/1.1 " and data[-4:] == b"\r\n\r\n" and data[9:12] != b"100":
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def close(self) -> None:
        """Send what is kept, and close."""
        if self._head:
            self.write(b"")
        self._transport.close()


class _BadHeadError(Exception):
    """A head that the parser lets through and the protocol does not."""


def timed_protocol(receive_seconds: float) -> type[HttpToolsProtocol]:
    """Make a protocol whose requests have to be proper, and arrive whole in time.

    :param receive_seconds: for head and body together; a connection without a request has them too.
    :return: a class for `uvicorn.Config(http=...)`.
    """

    class TimedProtocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _head = 0
        _why = ""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.transport = _OneWrite(transport)  # type: ignore[assignment]
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._let_be()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self._unset_keepalive_if_required()
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                self.cycle.keep_alive = False  # answered as if it had not asked
            except httptools.HttpParserError as error:
                self._refuse(self._why or str(error))

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._head = 0
            self._watch()

        def on_url(self, url: bytes) -> None:
            super().on_url(url)
            self._count(len(url))

        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            self._count(len(name) + len(value) + 4)

        def _count(self, size: int) -> None:
            self._head += size
            if self._head > _MOST_HEAD:
                self._bad(f"its head is longer than {_MOST_HEAD:,} bytes")

        def on_headers_complete(self) -> None:
            names = [name for name, _ in self.headers]
            hosts = names.count(b"host")
            if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
                self._bad(f"it has {hosts} Host headers")
            if b"transfer-encoding" in names and b"content-length" in names:
                # Two servers in a row that believe different ones see different requests.
                self._bad("it has both Content-Length and Transfer-Encoding")
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._let_be()
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():
                self.loop.call_later(_READ_SECONDS, self.transport.abort)

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self.loop.call_later(_READ_SECONDS, self.transport.abort)

        def _watch(self) -> None:
            if self._deadline is None and not self.transport.is_closing():
                # A second more than the application gives a body, which has a better answer.
                self._deadline = self.loop.call_later(receive_seconds + 1, self._too_slow)

        def _let_be(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            _LOGGER.info("a request did not arrive within %g s", receive_seconds)
            self._give_up("408 Request Timeout", "the request did not arrive in time")

        def _bad(self, why: str) -> None:
            self._why = why
            raise _BadHeadError(why)

        def _refuse(self, why: str) -> None:
            told = f"this is no proper HTTP/1.1 request: {why}"
            self._give_up("400 Bad Request", told)

        def _give_up(self, status: str, message: str) -> None:
            if self.transport.is_closing():
                return
            self._let_be()
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(_last_words(status, message))
            elif not self.cycle.response_started and self.cycle.more_body:
                self.cycle.disconnected = True  # whoever reads the body hears that it ends
                self.cycle.message_event.set()
                self.transport.write(_last_words(status, message))
            else:  # what was taken before is still answered
                self.cycle.keep_alive = False
                self.pipeline.clear()
                self.transport.pause_reading()
                return
            self.transport.close()

    return TimedProtocol


class OrderlyServer(Server):
    """Stops in order: refuses new requests while those that were taken are finished.

    :param started: called once the server listens, with its port, or 0 where it has none.
    """

    def __init__(
        self, config: Config, app: FastAPI, started: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(config)
        self._service: Service = app.state.service
        self._keys: tuple[bytes, ...] = app.state.keys
        self._tell = started
        self._grpc: Any = None
        self.grpc_port: int | None = None

    async def startup(self, sockets: Any = None) -> None:
        """Start to listen."""
        settings = self._service.settings
        if settings.grpc_port is not None:
            from ov_emotions.server.grpc import start

            self._grpc, self.grpc_port = await start(self._service, self._keys)
        self._service.connections = lambda: len(self.server_state.connections)
        await super().startup(sockets)
        if self.started and self._tell is not None:
            listener = sockets[0] if sockets else self.servers[0].sockets[0]
            address = listener.getsockname()
            self._tell(address[1] if isinstance(address, tuple) else 0)

    async def shutdown(self, sockets: Any = None) -> None:
        """Finish what was taken while the listener still answers others with 503; then close."""
        self._service.drain()
        loop = asyncio.get_running_loop()
        seconds = self._service.settings.grace_seconds
        end = loop.time() + seconds
        if self._grpc is not None:
            await self._grpc.stop(seconds)
        while self.server_state.tasks and loop.time() < end and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    def reload(self) -> None:
        """Load the model anew, beside the requests; a server that was given its model stops."""

        def work() -> None:
            if not self._service.reload():
                self.should_exit = True

        threading.Thread(target=work, name="ov-emotions-reload", daemon=True).start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals while serving; uvicorn would raise them again after an orderly stop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with _signals(
            SIGINT=self.handle_exit, SIGTERM=self.handle_exit, SIGHUP=lambda *_: self.reload()
        ):
            yield


def server(
    app: FastAPI, settings: ServerSettings, started: Callable[[int], None] | None = None
) -> OrderlyServer:
    """Make the uvicorn server of an application and its settings, without running it.

    :param started: called with the port once requests are taken.
    """
    config = Config(
        app,
        http=timed_protocol(settings.receive_seconds),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # Idle connections end in silence, before they would be taken for slow ones.
        timeout_keep_alive=min(_KEEP_ALIVE_SECONDS, settings.receive_seconds),  # type: ignore[arg-type]
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        backlog=_BACKLOG,
    )
    return OrderlyServer(config, app, started)


def _work(settings: ServerSettings, sock: socket.socket, ready: Connection) -> None:
    """Be a worker process."""
    from ov_emotions.server import create_app
    from ov_emotions.server.middleware import json_log

    with json_log():
        try:
            app = create_app(settings)
        except OvEmotionsError as error:
            ready.send(str(error))
            return
        service: Service = app.state.service

        def tell(_port: int) -> None:
            ready.send((service.model.name, service.model.version))

        server(app, settings, tell).run([sock])


class Workers:
    """Several processes that take requests from one socket; those that die are started anew.

    :param sock: what `listen` gave.
    """

    def __init__(self, settings: ServerSettings, sock: socket.socket) -> None:
        self._settings, self._sock = settings, sock
        # Spawned: a child of a fork shares locks and threads of libraries that do not bear it.
        self._context = multiprocessing.get_context("spawn")
        self._stopping = False
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def run(self, started: Callable[[str, str], None]) -> None:
        """Serve until SIGINT or SIGTERM; SIGHUP has every worker load its model anew.

        :param started: called with the model's name and version once all take requests.
        :raises InputError: if a worker cannot start.
        """
        with (
            _signals(SIGINT=self._stop, SIGTERM=self._stop, SIGHUP=self._pass_on),
            tempfile.TemporaryDirectory(prefix="ov-emotions-metrics-") as folder,
        ):
            os.environ[SHARED_METRICS] = folder
            try:
                for number in range(self._settings.workers):
                    self._workers.append(self._start(number))
                told = [self._hear(number) for number in range(self._settings.workers)]
                if not self._stopping:
                    started(*told[0])
                while not self._stopping:
                    time.sleep(0.2)
                    self._restart()
            finally:
                self._end()
                del os.environ[SHARED_METRICS]

    def _start(self, number: int) -> tuple[BaseProcess, Connection]:
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work, args=(self._settings, self._sock, writer), name=f"worker-{number}"
        )
        process.start()
        writer.close()
        return process, reader

    def _hear(self, number: int) -> tuple[str, str]:
        try:
            told = self._workers[number][1].recv()
        except EOFError:
            told = "it ended before it took requests"
        if isinstance(told, str) and not self._stopping:
            raise InputError(f"worker {number} cannot start: {told}")
        return ("", "") if isinstance(told, str) else told

    def _restart(self) -> None:
        for number, (process, _) in enumerate(self._workers):
            if process.is_alive() or self._stopping:
                continue
            _LOGGER.error("worker %d ended with %s; another is started", number, process.exitcode)
            mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            time.sleep(_RESTART_SECONDS)
            self._workers[number] = self._start(number)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _pass_on(self, number: int, _frame: object) -> None:
        for process, _ in self._workers:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)

    def _end(self) -> None:
        self._pass_on(signal.SIGTERM, None)
        for process, _ in self._workers:
            process.join(self._settings.grace_seconds + 10)
            if process.is_alive():
                process.kill()
                process.join()
