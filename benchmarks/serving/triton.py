"""A real Triton server with the shipped models, text-in and token-in, for the driver to load."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.serving.target import Endpoint
from ov_emotions.bundle import Bundle
from ov_emotions.errors import OvEmotionsError
from ov_emotions.serving.triton import TritonConfig
from ov_emotions.serving.triton_repository import build_repository

_TESTS = Path(__file__).resolve().parents[2] / "tests" / "serving"


@contextmanager
def served_by_triton(models: Sequence[str], threads: int | None) -> Iterator[list[Endpoint]]:
    """Serve bundles with Triton's Python backend on loopback, each as texts and as tokens.

    :param models: shipped names or folders.
    :param threads: CPU threads of each model; None for all cores.
    :return: yields the endpoints, REST and gRPC; token-in is compared with text-in.
    :raises OvEmotionsError: if Triton cannot be had on this machine, or does not start.
    """
    # The tests start the same server; what they know of it stands there once.
    if str(_TESTS) not in sys.path:
        sys.path.append(str(_TESTS))
    triton: Any = importlib.import_module("triton_server")

    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        repository = Path(folder) / "models"
        try:
            environment = triton.find_triton(Path(folder))
        except triton.NoTritonError as error:
            raise OvEmotionsError(str(error)) from error
        found = []
        server = triton.TritonServer(environment, repository, Path(folder) / "log")
        for model in models:
            bundle = Bundle.load(model)
            text, tokens = bundle.manifest.name, f"{bundle.manifest.name}-tokens"
            for name, token_in in ((text, False), (tokens, True)):
                config = TritonConfig(
                    name=name, long_texts="truncate", threads=threads, token_in=token_in
                )
                build_repository(bundle, repository, config)
                found += [
                    Endpoint(name, server.url(scheme, name), bundle, text if token_in else None)
                    for scheme in ("http", "grpc")
                ]
        try:
            try:
                server.start()
            except AssertionError as error:
                raise OvEmotionsError(f"Triton does not start: {error}") from error
            yield found
        finally:
            server.stop()
