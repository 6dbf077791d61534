"""Runs the application with uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable

from fastapi import FastAPI
from uvicorn import Config

from ov_emotions.server.protocol import OrderlyServer, timed_protocol
from ov_emotions.server.settings import ServerSettings

_KEEP_ALIVE_SECONDS = 15
_BACKLOG = 2048


def listen(settings: ServerSettings) -> socket.socket:
    """Open the address, so that a wrong or a taken one is told before a model is loaded.

    :param settings: host and port.
    :return: a listening socket.
    :raises OSError: if it cannot be had.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot listen on {settings.host} port {settings.port}: {reason}"
        ) from error


def run(
    app: FastAPI,
    settings: ServerSettings,
    *,
    sock: socket.socket | None = None,
    started: Callable[[int], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    :param app: to serve.
    :param settings: those that it was made with.
    :param sock: what `listen` gave; opened here if None.
    :param started: called with the port once requests are taken.
    :raises OSError: if the address cannot be had.
    """
    with sock or listen(settings) as listener:
        server(app, settings, started).run([listener])


def server(
    app: FastAPI, settings: ServerSettings, started: Callable[[int], None] | None = None
) -> OrderlyServer:
    """Make the server without running it.

    :param app: to serve.
    :param settings: those that it was made with.
    :param started: called with the port once requests are taken.
    :return: a uvicorn server.
    """
    config = Config(
        app,
        http=timed_protocol(settings.receive_seconds),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        backlog=_BACKLOG,
    )
    return OrderlyServer(config, app.state.service, started)
