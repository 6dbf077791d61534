"""Other libraries kept from writing to a program's output, for the length of a block."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

from ov_emotions._extras import require


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


@contextlib.contextmanager
def quiet_nncf() -> Iterator[None]:
    """Keep NNCF's log, progress bars and tables off standard output; errors are still logged."""
    # Imported first: its log handler keeps the standard output that it finds at import.
    require("nncf", extra="quantize")
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        # Its bars have no switch; they go to what standard output is when they start.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
