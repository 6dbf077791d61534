"""`ov-emotions serve`: the classifier behind HTTP."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ov_emotions.cli.flags import add_config_flags, config_values
from ov_emotions.cli.shared import Subparsers, add_json_flag, utf8_stdout
from ov_emotions.server.settings import ServerSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ov_emotions.server.service import Service

_EPILOG = """\
    curl http://127.0.0.1:8000/v1/emotions -H 'Content-Type: application/json' \\
        -d '{"texts": ["ну наконец то доехали я так рада вас всех видеть"]}'

The same address speaks KServe v2, as OpenVINO Model Server does: EmotionClassifier.from_server(
"http://127.0.0.1:8000/emotions") and `ov-emotions ovms check` ask it. /metrics is for Prometheus,
/openapi.json describes everything. The log, a line of JSON a request, goes to standard error; texts
are not in it. SIGTERM and Ctrl-C end it once what was taken is answered.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "serve",
        help="answer over HTTP: /v1/emotions, and KServe v2",
        description="Answer over HTTP: POST /v1/emotions for people, KServe v2 for programs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_config_flags(parser, ServerSettings)
    add_json_flag(parser, "print one object when requests are taken: url, model, version")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop.

    :param args: the parsed arguments.
    :return: 0 after an orderly stop.
    """
    from ov_emotions.server import create_app

    settings = ServerSettings(**config_values(ServerSettings, args))
    return run_app(settings, lambda: create_app(settings), as_json=args.json)


def run_app(
    settings: ServerSettings, create: Callable[[], FastAPI], *, as_json: bool, path: str = ""
) -> int:
    """Serve an application until told to stop.

    :param settings: of the server.
    :param create: makes the application, once its address is had.
    :param as_json: whether the address is told as JSON.
    :param path: of the page to look at, behind the address.
    :return: 0 after an orderly stop.
    """
    from dataclasses import replace

    from ov_emotions.system import require

    require("uvicorn", extra="server")
    from ov_emotions.server.run import listen
    from ov_emotions.server.run import run as serve

    with _json_log(), listen(settings) as sock:
        app = create()

        def tell(port: int) -> None:
            url = replace(settings, port=port).url + path
            _tell(app.state.service, url, as_json=as_json)

        serve(app, settings, sock=sock, started=tell)
    return 0


def _tell(service: Service, url: str, *, as_json: bool) -> None:
    import json

    out = utf8_stdout()
    if as_json:
        told = {"url": url, "model": service.model, "version": service.version}
        print(json.dumps(told), file=out, flush=True)
    else:
        print(f"{service.model} answers at {url}", file=out, flush=True)


@contextmanager
def _json_log() -> Iterator[None]:
    """Log as long as the server runs."""
    from ov_emotions.server.logs import JsonFormatter

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(name) for name in ("ov_emotions", "uvicorn")]
    before = [(logger, logger.handlers, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, handlers, level in before:
            logger.handlers = handlers
            logger.setLevel(level)
