"""`ov-emotions serve` and `demo`: the classifier behind HTTP, for programs and for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ov_emotions.cli.frame import Answer, Flag, Given, verb
from ov_emotions.cli.output import utf8_stdout
from ov_emotions.errors import InputError
from ov_emotions.server.settings import API_KEY_VARIABLE, ServerSettings
from ov_emotions.system import require

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ov_emotions.server.service import Service

# A page that stays open keeps a connection, for which an orderly stop would wait.
_DEMO_GRACE_SECONDS = 3.0


@verb(texts={"json": "print one object when requests are taken: url, model, version"}, config=True)
def serve(settings: ServerSettings, answer: Answer) -> int:
    r"""Answer over HTTP: POST /v1/emotions for people, KServe v2 for programs.

        curl http://127.0.0.1:8000/v1/emotions -H 'Content-Type: application/json' \
            -d '{"texts": ["ну наконец то доехали я так рада вас всех видеть"]}'

    The same address speaks KServe v2, as OpenVINO Model Server does: EmotionClassifier.from_server(
    "http://127.0.0.1:8000/emotions") and `ov-emotions ovms check` ask it. /metrics is for
    Prometheus, /openapi.json describes everything. The log, a line of JSON a request, goes to
    standard error; texts are not in it. SIGTERM and Ctrl-C end it once what was taken is answered.
    """
    from ov_emotions.server import create_app

    return _run(settings, lambda: create_app(settings), as_json=answer.json)


@dataclass(frozen=True)
class PageOptions:
    """What the page shows.

    :param compare_with: a model to set beside the first: shipped name, bundle's folder or Hub id;
        may be given several times, and the shipped ones are there anyway.
    :param report: folder that `ov-emotions report` wrote (default: the committed one, in a
        checkout).
    """

    compare_with: Annotated[tuple[str, ...], Flag("MODEL", each=True)] = ()
    report: Annotated[Path | None, Flag("FOLDER")] = None


@verb(
    texts={"json": "print one object when the page is there: url, model, version"},
    defaults={"grace_seconds": _DEMO_GRACE_SECONDS},
    config=True,
)
def demo(options: PageOptions, given: Given[ServerSettings], answer: Answer) -> int:
    """Serve a page for people, in Russian and English, and the API beside it.

    The page asks nothing of other hosts. The same address answers programs, as `ov-emotions serve`
    does: POST /v1/emotions, KServe v2, /metrics, /openapi.json.
    """
    for module, extra in (("fastapi", "server"), ("prometheus_client", "server")):
        require(module, extra=extra)
    from ov_emotions.demo.app import PATH, DemoSettings, create_demo_app
    from ov_emotions.server.limits import read_api_keys

    settings = ServerSettings(**(dict[str, Any](grace_seconds=_DEMO_GRACE_SECONDS) | given))
    if read_api_keys(settings):
        raise InputError(
            f"the page brings no API key: leave out --api-key-file and {API_KEY_VARIABLE}, and put "
            "a proxy in front that asks for a password, or run `ov-emotions serve` for programs"
        )
    page = DemoSettings(options.compare_with, options.report)
    return _run(
        settings,
        lambda: create_demo_app(settings, page),
        as_json=answer.json,
        path=f"{PATH}/",
    )


def _run(
    settings: ServerSettings, create: Callable[[], FastAPI], *, as_json: bool, path: str = ""
) -> int:
    """Serve an application until told to stop; it is made once its address is had."""
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
