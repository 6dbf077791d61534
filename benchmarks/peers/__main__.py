"""`python -m benchmarks.peers`."""

import signal
import sys

from benchmarks.peers.cli import main

if __name__ == "__main__":
    # So that workers that were started here are ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
