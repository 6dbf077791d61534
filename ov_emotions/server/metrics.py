"""What Prometheus is told, at `/metrics`; a registry of each application's own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from ov_emotions.server.batcher import Batcher, BatchReport

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counts what happens.

    :param model: the name of the served bundle.
    :param version: what identifies its contents.
    """

    def __init__(self, model: str, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        Gauge(
            "ov_emotions_model_info",
            "The model that is served; always 1.",
            ("model", "version"),
            registry=registry,
        ).labels(model, version).set(1)
        self.requests = Counter(
            "ov_emotions_requests",
            "Requests by endpoint and status of the answer.",
            ("endpoint", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "ov_emotions_request_seconds",
            "From a request's head to the end of its answer.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.rejected = Counter(
            "ov_emotions_rejected",
            "Requests that got no prediction, by reason.",
            ("reason",),
            registry=registry,
        )
        self._texts = Counter("ov_emotions_texts", "Texts classified.", registry=registry)
        self._tokens = Counter(
            "ov_emotions_tokens", "Tokens classified, estimated from characters.", registry=registry
        )
        self._batch_requests = Histogram(
            "ov_emotions_batch_requests",
            "Requests that shared an inference.",
            buckets=_SIZES,
            registry=registry,
        )
        self._batch_texts = Histogram(
            "ov_emotions_batch_texts", "Texts of an inference.", buckets=_SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            "ov_emotions_batch_seconds",
            "Tokenising and inference of a batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._waited = Histogram(
            "ov_emotions_queue_seconds",
            "Time in the queue, of the request of a batch that waited longest.",
            buckets=_SECONDS,
            registry=registry,
        )

    def batch(self, report: BatchReport) -> None:
        """Count an inference.

        :param report: what it was.
        """
        self._texts.inc(report.texts)
        self._tokens.inc(report.tokens)
        self._batch_requests.observe(report.requests)
        self._batch_texts.observe(report.texts)
        self._batch_seconds.observe(report.seconds)
        self._waited.observe(report.waited)

    def watch(self, batcher: Batcher) -> None:
        """Show how long a queue is whenever Prometheus asks.

        :param batcher: whose.
        """
        for name, text, read in (
            ("requests", "Requests that wait.", lambda: batcher.waiting_requests),
            ("tokens", "Tokens that wait, estimated.", lambda: batcher.waiting_tokens),
        ):
            gauge = Gauge(f"ov_emotions_queue_{name}", text, registry=self.registry)
            gauge.set_function(read)

    def render(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return bytes(generate_latest(self.registry))
