"""Ray for the length of a block: quiet, local unless an address is given, nothing left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ov_emotions._extras import require
from ov_emotions._telemetry import keep_ray_silent
from ov_emotions.errors import ClusterError

_OBJECT_STORE_BYTES = 128 * 2**20
"""Of a local Ray: descriptions of parts go through it and nothing else."""


def import_ray(*, local: bool) -> Any:
    """Import Ray and Ray Data, their reports of use switched off.

    :param local: whether it will run on this machine alone.
    :return: the module `ray`.
    :raises MissingExtraError: if it is not installed.
    """
    keep_ray_silent()
    if local:
        _lock_local_ray()
    # Its C++ part writes to standard error whatever Python's loggers say.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with warnings.catch_warnings():
        # Ray warns of its own modules' use of each other.
        warnings.simplefilter("ignore")
        require("ray.data", extra="cluster")
        return require("ray", extra="cluster")


@contextlib.contextmanager
def ray_session(address: str | None, processors: int, scratch: Path) -> Iterator[Any]:
    """Start Ray on this machine, or connect to a cluster.

    :param address: of the cluster, as `ray.init` takes it; None starts Ray here.
    :param processors: that Ray may give out here.
    :param scratch: a folder for its files.
    :return: yields the module `ray`, with `ray.data` imported.
    :raises MissingExtraError: if Ray is not installed.
    :raises ClusterError: if it does not start or is not reached.
    """
    before = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray = import_ray(local=address is None)
        with _quiet_loggers("ray", "ray.data"):
            try:
                _start(ray, address, processors, scratch)
                if threading.current_thread() is threading.main_thread():
                    # Ray puts its own in the place of ours, which cleans up.
                    signal.signal(signal.SIGTERM, before)
                _configure(ray)
                yield ray
            finally:
                ray.shutdown()


def _start(ray: Any, address: str | None, processors: int, scratch: Path) -> None:
    own: dict[str, Any] = {"address": address}
    if address is None:
        own = {
            "address": "local",
            "num_cpus": processors,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": str(scratch),
        }
    try:
        with _quiet_stderr():
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:  # of many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "InvalidAuthToken" in str(error.__cause__):
            reason = "it asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to that"
        what = "Ray did not start" if address is None else f"no Ray cluster answers at {address}"
        raise ClusterError(f"{what}: {reason}") from error


def _configure(ray: Any) -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _lock_local_ray() -> None:
    """Have a Ray of this machine ask for a token that nobody else knows, unless the user set one.

    It listens on all interfaces, and runs what anyone sends who is let in. Ray reads this at its
    import and never again, so it stays, and does nothing where the program imported Ray before.
    """
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def _quiet_loggers(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Point the descriptor elsewhere: what is started meanwhile would keep a pipe open too."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as nowhere:
        own = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)
