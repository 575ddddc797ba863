"""Figures about the work of a server, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PAGE_SECONDS = (0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300)


class Metrics:
    """Counts what a server does; each has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "quillread_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "quillread_request_seconds",
            "Time until the answer to a request begins",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.pages = Counter("quillread_pages", "Pages read, by outcome", ["outcome"], registry=self.registry)
        self.page_seconds = Histogram(
            "quillread_page_seconds", "Time to read a page", buckets=_PAGE_SECONDS, registry=self.registry
        )
        self.worker_starts = Counter(
            "quillread_worker_starts",
            "Worker processes started: anew after they died, had to be replaced, or ended for want of work",
            registry=self.registry,
        )
        self.tasks = Gauge("quillread_tasks", "Tasks in the queue, by state", ["state"], registry=self.registry)
        self.jobs_unfinished = Gauge("quillread_jobs_unfinished", "Jobs that wait or run", registry=self.registry)
        self.watchers = Gauge("quillread_watchers", "Streams of events that are open", registry=self.registry)
