"""Settings of all tests."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, however slow it is.
settings.register_profile("anywhere", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anywhere")


@pytest.fixture(scope="session", autouse=True)
def hears_ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, even where the tests were started with it ignored, as in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
