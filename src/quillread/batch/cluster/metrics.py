"""Figures of a run among the metrics of Ray, where its dashboard and Prometheus find them.

Each process tells them to Ray's agent on its machine; without the packages of Ray's dashboard there is none, and nobody
sees them.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from quillread.batch.cluster.progress import Progress
from quillread.extras import require, require_installed

log = logging.getLogger(__name__)

_NEEDED = ("aiohttp_cors", "opencensus", "prometheus_client")
"""Packages of Ray's dashboard that nothing else here needs."""
_SECONDS = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0]
"""Bounds of the histogram of the time that a page takes."""


class PageMetrics:
    """What a worker tells of its pages."""

    def __init__(self) -> None:
        metrics = require("ray.util.metrics", "ray")
        self._read = metrics.Counter("quillread_pages_read", "Pages that were read.")
        self._failed = metrics.Counter("quillread_pages_failed", "Pages and inputs that could not be read.")
        self._seconds = metrics.Histogram("quillread_page_seconds", "Seconds that a page took.", _SECONDS)

    def __call__(self, seconds: float, failed: bool) -> None:
        """Count a page."""
        (self._failed if failed else self._read).inc()
        self._seconds.observe(seconds)


class RunMetrics:
    """What the driver tells."""

    def __init__(self) -> None:
        metrics = require("ray.util.metrics", "ray")
        self._queue = metrics.Gauge(
            "quillread_queue", "Inputs that are listed and not read yet, and pages that are left of long documents."
        )
        self._workers = metrics.Gauge("quillread_workers", "Workers that are ready.")

    def __call__(self, progress: Progress) -> None:
        """Tell how far the run is."""
        self._queue.set(progress.left)
        self._workers.set(progress.workers)


def check_dashboard() -> None:
    """Check that Ray's dashboard can be started.

    Raises:
        MissingExtraError: If its packages are not installed.
    """
    require_installed(_NEEDED, "dashboard")


def tell_dashboard(url: str, nodes: Iterable[Mapping[str, Any]]) -> None:
    """Say where the dashboard and the metrics are of a Ray that was started here.

    Args:
        url: Of the dashboard, without a scheme.
        nodes: Of Ray, as it describes them.
    """
    log.info("Ray's dashboard: http://%s (token: %s)", url, os.environ["RAY_AUTH_TOKEN"])
    for node in nodes:
        log.info("metrics for Prometheus: http://%s:%d", node["NodeManagerAddress"], node["MetricsExportPort"])
