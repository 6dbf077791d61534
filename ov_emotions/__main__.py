"""`python -m ov_emotions` is the `ov-emotions` command."""

from __future__ import annotations

from ov_emotions.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
