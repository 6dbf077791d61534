"""`monitoring`: which metrics a server exposes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from ov_emotions.serving.config_findings import Finding, accepted, shown
from ov_emotions.serving.profile import DEFAULT_METRICS, OPTIONAL_METRICS

_GRAPH_METRICS = (
    "ovms_current_graphs",
    "ovms_requests_accepted",
    "ovms_requests_rejected",
    "ovms_responses",
    "ovms_graph_error",
    "ovms_graph_processing_time_us",
)
_KNOWN = (*DEFAULT_METRICS, *OPTIONAL_METRICS, *_GRAPH_METRICS)
_WHERE = "monitoring.metrics.metrics_list"


def check_metrics(metrics: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the well-formed value of `monitoring.metrics`.

    :param metrics: the value; empty where there is none.
    :return: yields the findings.
    """
    if "metrics_list" not in metrics:
        return
    listed: list[str] = metrics["metrics_list"]
    if not metrics["enable"]:
        yield accepted("metrics-off", _WHERE, "enable is false: none of them is exposed")
    elif not listed:
        yield accepted(
            "metrics-off", _WHERE, "it is empty: no metric is exposed; leave it out for the default"
        )
    for i, name in enumerate(listed):
        where = f"{_WHERE}[{i}]"
        if name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield accepted(
                "metric-unknown",
                where,
                f"there is no metric {shown(name)}: the server reads the list no further{hint}",
            )
        elif name in listed[:i]:
            yield accepted(
                "metric-twice", where, f"{name} stands twice: the server reads the list no further"
            )
