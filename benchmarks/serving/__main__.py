"""`python -m benchmarks.serving`."""

import signal
import sys

from benchmarks.serving.cli import main

if __name__ == "__main__":
    # So that a server that was started here is ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
