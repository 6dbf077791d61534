"""`python -m ov_emotions` is the `ov-emotions` command."""

from __future__ import annotations

# The module below `signal`, which takes a moment to import itself.
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGINT,
    default_int_handler,
    getsignal,
    signal,
)


def run() -> int:
    """Run the command; Ctrl-C while its modules are imported ends it without a traceback."""
    handler = getsignal(SIGINT)
    if handler is default_int_handler:  # not where a shell has it ignored
        signal(SIGINT, SIG_DFL)
    from ov_emotions.cli.main import main

    signal(SIGINT, handler)
    return main()


if __name__ == "__main__":
    raise SystemExit(run())
