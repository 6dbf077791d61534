"""`ov-emotions serve` and `demo`: the classifier behind HTTP, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ov_emotions.cli.frame import Answer, Given, verb
from ov_emotions.cli.output import utf8_stdout
from ov_emotions.errors import InputError
from ov_emotions.schema import Flag
from ov_emotions.server.settings import API_KEY_VARIABLE, ENVIRONMENT, ServerSettings
from ov_emotions.system import require

if TYPE_CHECKING:
    from fastapi import FastAPI

# A page that stays open keeps a connection, for which an orderly stop would wait.
_DEMO_GRACE_SECONDS = 3.0


@verb(
    texts={"json": "print one object when requests are taken: url, model, version"},
    config=True,
    environment=ENVIRONMENT,
)
def serve(settings: ServerSettings, answer: Answer) -> int:
    r"""Answer over HTTP: POST /v1/emotions for people, KServe v2 for programs.

        curl http://127.0.0.1:8000/v1/emotions -H 'Content-Type: application/json' \
            -d '{"texts": ["ну наконец то доехали я так рада вас всех видеть"]}'

    The same address speaks KServe v2, as OpenVINO Model Server does: EmotionClassifier.from_server(
    "http://127.0.0.1:8000/emotions") and `ov-emotions ovms check` ask it; so do KServe's SDK and
    Hugging Face's InferenceClient. With --grpc-port it speaks KServe v2 over gRPC too. /metrics is
    for Prometheus, /docs describes everything. The log, a line of JSON a request, goes to standard
    error; texts are not in it. SIGTERM and Ctrl-C end it once what was taken is answered; SIGHUP
    loads the model anew meanwhile.
    """
    from ov_emotions.server import create_app

    return _run(settings, lambda: create_app(settings), answer)


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
    environment=ENVIRONMENT,
)
def demo(options: PageOptions, given: Given[ServerSettings], answer: Answer) -> int:
    """Serve a page for people, in Russian and English, and the API beside it.

    The page asks nothing of other hosts. The same address answers programs, as `ov-emotions serve`
    does: POST /v1/emotions, KServe v2, /metrics, /openapi.json.
    """
    for module in ("fastapi", "prometheus_client"):
        require(module, extra="server")
    from ov_emotions.demo.app import PATH, create_demo_app
    from ov_emotions.server.middleware import read_api_keys

    settings = ServerSettings(**(dict[str, Any](grace_seconds=_DEMO_GRACE_SECONDS) | given))
    if read_api_keys(settings):
        raise InputError(
            f"the page brings no API key: leave out --api-key-file and {API_KEY_VARIABLE}, and put "
            "a proxy in front that asks for a password, or run `ov-emotions serve` for programs"
        )
    if settings.workers > 1:
        raise InputError("the page keeps results in its process: it has one, not several --workers")
    compare_with, report = options.compare_with, options.report
    return _run(
        settings, lambda: create_demo_app(settings, compare_with, report), answer, f"{PATH}/"
    )


def _run(
    settings: ServerSettings, create: Callable[[], FastAPI], answer: Answer, path: str = ""
) -> int:
    """Serve until told to stop; an application is made once its address is had."""
    for module in ("uvicorn", "httptools", "fastapi", "prometheus_client"):
        require(module, extra="server")
    from ov_emotions.server.middleware import json_log
    from ov_emotions.server.run import Workers, listen, server

    if settings.workers > 1 and settings.grpc_port == 0:
        raise InputError("several workers share a gRPC port, which must be named: not 0")
    with json_log(), listen(settings) as sock:
        url = settings.url
        if settings.unix_socket is None:
            url = replace(settings, port=sock.getsockname()[1]).url

        def tell(model: str, version: str, grpc_port: int | None) -> None:
            address = url + settings.root_path + path
            found: dict[str, Any] = {"url": address, "model": model, "version": version}
            told = f"{model} answers at {address}"
            if grpc_port is not None:
                found["grpc_port"] = grpc_port
                told += f", and over gRPC on port {grpc_port}"
            print(json.dumps(found) if answer.json else told, file=utf8_stdout(), flush=True)

        if settings.workers > 1:
            Workers(settings, sock).run(
                lambda model, version: tell(model, version, settings.grpc_port)
            )
            return 0
        app = create()
        model = app.state.service.model
        runner = server(
            app, settings, lambda _port: tell(model.name, model.version, runner.grpc_port)
        )
        runner.run([sock])
    return 0
