"""The Grafana dashboard: requests, latency, errors, waiting and CPU of the served model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_MODEL = 'name="$model"'
_INFER = f'{_MODEL},method="ModelInfer"'
_RANGE = "[$__rate_interval]"
_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 24


@dataclass(frozen=True)
class Panel:
    """One graph.

    :param title: above it.
    :param unit: Grafana's name of the unit.
    :param queries: PromQL by what the legend says.
    :param text: what to read from it.
    """

    title: str
    unit: str
    queries: dict[str, str]
    text: str


def _quantiles(histogram: str, *quantiles: float) -> dict[str, str]:
    return {
        f"p{quantile * 100:g}": f"histogram_quantile({quantile:g}, "
        f"sum by (le) (rate({histogram}_bucket{{{_MODEL}}}{_RANGE})))"
        for quantile in quantiles
    }


def _failing() -> str:
    fail = f"sum(rate(ovms_requests_fail{{{_INFER}}}{_RANGE}))"
    success = f"sum(rate(ovms_requests_success{{{_INFER}}}{_RANGE}))"
    return f"{fail} / ({fail} + {success})"


PANELS = (
    Panel(
        "Requests",
        "reqps",
        {"{{interface}}": f"sum by (interface) (rate(ovms_requests_success{{{_INFER}}}{_RANGE}))"},
        "Answered inference requests; a request may hold many texts.",
    ),
    Panel(
        "Latency of requests",
        "µs",
        _quantiles("ovms_request_time_us", 0.5, 0.9, 0.99),
        "Inside the server, from the request to its answer. The buckets grow by 1.8, so a "
        "percentile is no finer than that.",
    ),
    Panel(
        "Errors",
        "reqps",
        {"{{interface}}": f"sum by (interface) (rate(ovms_requests_fail{{{_INFER}}}{_RANGE}))"},
        "Failed inference requests, those with malformed input included.",
    ),
    Panel("Share of errors", "percentunit", {"failing": _failing()}, "Of all inference requests."),
    Panel(
        "Queue",
        "short",
        {
            "in the server": f"sum(ovms_current_requests{{{_MODEL}}})",
            "being computed": f"sum(ovms_infer_req_active{{{_MODEL}}})",
            "room (nireq)": f"sum(ovms_infer_req_queue_size{{{_MODEL}}})",
        },
        "What is in the server and not computed is waiting. The last two metrics are off unless "
        "config.json lists them.",
    ),
    Panel(
        "Waiting for a free slot",
        "µs",
        _quantiles("ovms_wait_for_infer_req_time_us", 0.5, 0.9, 0.99),
        "If this grows, the cores are busy: add replicas, not threads.",
    ),
    Panel(
        "Computing",
        "µs",
        _quantiles("ovms_inference_time_us", 0.5, 0.9, 0.99),
        "The model alone. If it grows while requests stay the same, the cores are shared.",
    ),
    Panel(
        "CPU",
        "short",
        {
            "cores": "sum(rate(container_cpu_usage_seconds_total"
            '{container_label_com_docker_compose_service="ovms"}' + _RANGE + ")) or "
            'sum(rate(container_cpu_usage_seconds_total{container="ovms"}' + _RANGE + "))",
        },
        "Cores in use, from cAdvisor: by Compose service, or by container in Kubernetes.",
    ),
    Panel(
        "Streams by version",
        "short",
        {"version {{version}}": f"sum by (version) (ovms_streams{{{_MODEL}}})"},
        "Which versions are loaded: during a rollout there are two.",
    ),
)


def render_dashboard() -> str:
    """Render the dashboard in Grafana's JSON model.

    :return: indented JSON that ends with a newline.
    """
    dashboard = {
        "uid": "ov-emotions",
        "title": "Emotions on OpenVINO Model Server",
        "tags": ["openvino", "emotions"],
        "timezone": "browser",
        "editable": False,
        "refresh": "30s",
        "schemaVersion": 42,
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_variable()]},
        "panels": [_panel(i, panel) for i, panel in enumerate(PANELS)],
    }
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def _variable() -> dict[str, Any]:
    return {
        "name": "model",
        "label": "Model",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": "label_values(ovms_streams, name)", "refId": "model"},
        "refresh": 2,
        "sort": 1,
    }


def _panel(index: int, panel: Panel) -> dict[str, Any]:
    across = _COLUMNS // _WIDTH
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": {
            "h": _HEIGHT,
            "w": _WIDTH,
            "x": index % across * _WIDTH,
            "y": index // across * _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": _SOURCE, "expr": query, "legendFormat": name}
            for i, (name, query) in enumerate(panel.queries.items())
        ],
    }
