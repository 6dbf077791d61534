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

    if settings.workers > 1:
        return _run_workers(settings, as_json=answer.json)
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
    environment=ENVIRONMENT,
)
def demo(options: PageOptions, given: Given[ServerSettings], answer: Answer) -> int:
    """Serve a page for people, in Russian and English, and the API beside it.

    The page asks nothing of other hosts. The same address answers programs, as `ov-emotions serve`
    does: POST /v1/emotions, KServe v2, /metrics, /openapi.json.
    """
    for module, extra in (("fastapi", "server"), ("prometheus_client", "server")):
        require(module, extra=extra)
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
    return _run(
        settings,
        lambda: create_demo_app(settings, options.compare_with, options.report),
        as_json=answer.json,
        path=f"{PATH}/",
    )


def _run(
    settings: ServerSettings, create: Callable[[], FastAPI], *, as_json: bool, path: str = ""
) -> int:
    """Serve an application until told to stop; it is made once its address is had."""
    _require()
    from ov_emotions.server.middleware import json_log
    from ov_emotions.server.run import listen, server

    with json_log(), listen(settings) as sock:
        app = create()
        model = app.state.service.model

        def tell(port: int) -> None:
            url = replace(settings, port=port).url + settings.root_path + path
            _tell(url, model.name, model.version, runner.grpc_port, as_json=as_json)

        runner = server(app, settings, tell)
        runner.run([sock])
    return 0


def _run_workers(settings: ServerSettings, *, as_json: bool) -> int:
    """Serve in several processes until told to stop."""
    _require()
    from ov_emotions.server.middleware import json_log
    from ov_emotions.server.run import Workers, listen

    if settings.grpc_port == 0:
        raise InputError("several workers share a gRPC port, which must be named: not 0")
    with json_log(), listen(settings) as sock:
        url = settings.url
        if settings.unix_socket is None:
            url = replace(settings, port=sock.getsockname()[1]).url
        Workers(settings, sock).run(
            lambda model, version: _tell(
                url + settings.root_path, model, version, settings.grpc_port, as_json=as_json
            )
        )
    return 0


def _require() -> None:
    for module in ("uvicorn", "httptools", "fastapi", "prometheus_client"):
        require(module, extra="server")


def _tell(url: str, model: str, version: str, grpc_port: int | None, *, as_json: bool) -> None:
    out = utf8_stdout()
    told: dict[str, str | int] = {"url": url, "model": model, "version": version}
    if grpc_port is not None:
        told["grpc_port"] = grpc_port
    if as_json:
        print(json.dumps(told), file=out, flush=True)
    else:
        also = "" if grpc_port is None else f", and over gRPC on port {grpc_port}"
        print(f"{model} answers at {url}{also}", file=out, flush=True)
