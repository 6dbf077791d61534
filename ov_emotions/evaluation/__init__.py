"""Models scored on prepared splits, by any backend: figures, errors, comparisons, a page."""

from ov_emotions.evaluation.run import (
    BOOTSTRAP_SAMPLES,
    BOOTSTRAP_SEED,
    Scored,
    data_facts,
    evaluate,
    evaluate_source,
    read_rows,
    record_metrics,
)
from ov_emotions.evaluation.sources import Source, open_source

__all__ = [
    "BOOTSTRAP_SAMPLES",
    "BOOTSTRAP_SEED",
    "Scored",
    "Source",
    "data_facts",
    "evaluate",
    "evaluate_source",
    "open_source",
    "read_rows",
    "record_metrics",
]
