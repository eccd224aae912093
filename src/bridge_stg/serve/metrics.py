"""What ``/metrics`` tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The counters of one service; a registry of their own, so that two can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bridge_stg_requests", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "bridge_stg_request_seconds",
            "Time to the head of the answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.jobs = Counter("bridge_stg_jobs", "Finished jobs", ["status"], registry=self.registry)
        self.job_seconds = Histogram(
            "bridge_stg_job_seconds", "Time that a batch of jobs ran", buckets=_SECONDS, registry=self.registry
        )
        self.sentences = Counter("bridge_stg_sentences", "Answered sentences", registry=self.registry)
        self.batched = Counter(
            "bridge_stg_batched_jobs", "Jobs that shared the reading of their video", registry=self.registry
        )
        self.upload_bytes = Counter("bridge_stg_upload_bytes", "Stored bytes", registry=self.registry)
        self.queued = Gauge("bridge_stg_queued_jobs", "Jobs that wait", registry=self.registry)
