"""Settings of all tests."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Threads of torch that wait let other processes work; it is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The same examples on every machine, however slow it is.
settings.register_profile("anywhere", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anywhere")


@pytest.fixture(scope="session", autouse=True)
def hears_signals() -> Iterator[None]:
    """SIGINT and SIGHUP do what they do by default, even where the tests were started in the background or by nohup."""
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    if hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
