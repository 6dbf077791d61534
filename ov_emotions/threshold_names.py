"""Names of the ways to fit thresholds, for help texts that come without numpy."""

from __future__ import annotations

from typing import Literal

ThresholdMethod = Literal["bootstrap-median", "per-label", "global", "shrunk"]
Metric = Literal["weighted", "macro"]

METHODS: dict[ThresholdMethod, str] = {
    "bootstrap-median": "each label's best cut, as the median over bootstrap resamples",
    "per-label": "each label's best cut on all rows",
    "global": "one threshold for all labels",
    "shrunk": "the bootstrap median drawn towards the global one, as far as cross-fitting says",
}
"""What each way does, for people."""
