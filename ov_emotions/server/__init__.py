"""`ov-emotions serve`: the classifier behind HTTP and gRPC, for people and for KServe v2 clients.

`create_app` makes the application, which other pages can be mounted on; `run_server` runs it.

What stands where: `settings` holds every option; `service` is the model with its batches and
metrics; `batcher` merges concurrent requests and decides which can be answered in time; `schemas`
says what goes in and out, `answers` reads and writes it; `routes` is `/v1` and what Hugging Face's
clients ask, `kserve` is `/v2`, `grpc` the same over gRPC; `middleware` is what every request
passes; `run` holds the protocol, signals and worker processes. README.md beside this file says
what is answered to whom, bad requests included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ov_emotions.server.settings import ServerSettings
from ov_emotions.system import require

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ov_emotions.classifier import EmotionClassifier

__all__ = ["ServerSettings", "create_app", "run_server"]

_EXTRA = "server"


def create_app(
    settings: ServerSettings | None = None, classifier: EmotionClassifier | None = None
) -> FastAPI:
    """Make the application; the model is loaded before this returns.

    :param settings: all options; the defaults where None.
    :param classifier: to answer with, and left open at the end; None loads `settings.model`.
    :return: the application. Its `state.service` holds the model, its batcher and the metrics.
    :raises MissingExtraError: if the extra `server` is not installed.
    :raises BundleError: if the model is missing or damaged.
    :raises InputError: if a setting contradicts the model, or the file of keys is of no use.
    """
    for module in ("fastapi", "prometheus_client"):
        require(module, extra=_EXTRA)
    from ov_emotions.server.app import build_app

    return build_app(settings or ServerSettings(), classifier)


def run_server(app: FastAPI, settings: ServerSettings) -> None:
    """Serve an application until SIGINT or SIGTERM; what was taken then is still answered.

    :param app: what `create_app` made, with whatever was mounted on it. It runs in this process:
        `settings.workers` is for the command line.
    :param settings: those that it was made with.
    :raises MissingExtraError: if the extra `server` is not installed.
    :raises InputError: if the address is taken or does not exist.
    """
    for module in ("uvicorn", "httptools"):
        require(module, extra=_EXTRA)
    from ov_emotions.server.run import listen, server

    with listen(settings) as sock:
        server(app, settings).run([sock])
