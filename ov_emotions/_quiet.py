"""Other libraries kept from writing to a program's output, for the length of a block."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from ov_emotions._extras import require
from ov_emotions._telemetry import keep_gradio_silent
from ov_emotions.runtime import core_for_others

_KEPT: list[object] = []


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch off transformers' progress bars and advisory messages; errors are still logged."""
    log = require("transformers.utils.logging", extra="train")
    bars, level = log.is_progress_bar_enabled(), log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def import_sentencepiece(extra: str) -> None:
    """Import `sentencepiece` before anything else does.

    The types of its wrapper bring deprecation warnings on import; where warnings are errors, they
    end the interpreter. At exit, the wrapper's destructor can run after the types that it needs are
    gone, and the process that did its work well ends with a segmentation fault.

    :param extra: the extra that installs it.
    :raises MissingExtraError: if it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        require("sentencepiece", extra=extra)
    capsule = getattr(sys.modules.get("swig_runtime_data4"), "type_pointer_capsule", None)
    if capsule is not None and not _KEPT:
        _KEPT.append(capsule)
        # One reference more than there are, so that it is never destroyed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))


def import_gradio() -> Any:
    """Import Gradio with its reports of use off, and without the warnings of what it imports.

    :return: the module.
    :raises MissingExtraError: if it is not installed.
    """
    keep_gradio_silent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return require("gradio", extra="demo")


class _Collector(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def quiet_nncf() -> Iterator[list[str]]:
    """Keep NNCF's log, progress bars and tables off standard output; errors are still logged.

    Its models are compiled by this process's one core.

    :return: yields the list that its messages are collected in, for what it tells nowhere else.
    """
    # Imported first: its log handler keeps the standard output that it finds at import.
    require("nncf", extra="quantize")
    log = logging.getLogger("nncf")
    collector, level = _Collector(), log.level
    levels = {handler: handler.level for handler in log.handlers}
    log.setLevel(logging.INFO)
    for handler in levels:
        handler.setLevel(logging.ERROR)
    log.addHandler(collector)
    try:
        # Its bars have no switch; they go to what standard output is when they start.
        with contextlib.redirect_stdout(io.StringIO()), core_for_others():
            yield collector.messages
    finally:
        log.removeHandler(collector)
        for handler, previous in levels.items():
            handler.setLevel(previous)
        log.setLevel(level)
