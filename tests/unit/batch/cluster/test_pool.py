"""What workers may ask of Ray, and what is told where it cannot be had; with a stand-in for Ray."""

import math
import sys
from types import ModuleType
from typing import Any

import pytest

from quillread.batch.cluster.pool import PoolConfig, running_ray
from quillread.batch.cluster.shipping import Cargo
from quillread.errors import UsageError


class FakeRay(ModuleType):
    """A Ray on a machine with some GPUs, which refuses settings if it is told to."""

    def __init__(self, gpus: float = 0.0, refusal: Exception | None = None) -> None:
        super().__init__("ray")
        self.resources = {"CPU": 2.0, **({"GPU": gpus} if gpus else {})}
        self.refusal = refusal
        self.ended = 0

    def init(self, **settings: Any) -> None:
        if self.refusal is not None:
            raise self.refusal

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def shutdown(self) -> None:
        self.ended += 1


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USAGE_STATS_ENABLED", "AUTH_MODE", "AUTH_TOKEN", "ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(f"RAY_{name}", "0")


@pytest.mark.parametrize("kind", ["cpus", "gpus"])
@pytest.mark.parametrize("number", [-1.0, math.nan, math.inf, 0.00001])
def test_shares_that_no_worker_can_have_are_refused(kind: str, number: float):
    with pytest.raises(UsageError, match=f"--{kind}-per-worker must be 0, or at least 0.0001, got"):
        PoolConfig(**{f"{kind}_per_worker": number})


def test_one_and_a_half_gpus_are_refused():
    with pytest.raises(UsageError, match="--gpus-per-worker must be a whole number where it is more than 1, got"):
        PoolConfig(gpus_per_worker=1.5)


@pytest.mark.parametrize(("cpus", "gpus"), [(0.0, 0.0), (1.5, 0.25), (0.5, 2.0)])
def test_shares_that_ray_hands_out_are_taken(cpus: float, gpus: float):
    PoolConfig(cpus_per_worker=cpus, gpus_per_worker=gpus)


def test_a_runtime_environment_that_ray_refuses_is_told(monkeypatch: pytest.MonkeyPatch):
    refusal = TypeError("runtime_env['env_vars'] must be of type Dict[str, str]")
    ray = FakeRay(refusal=refusal)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(UsageError) as caught, running_ray(PoolConfig(runtime_env={"env_vars": {"A": 1}}), Cargo()):
        pass
    assert "must be of type Dict[str, str]" in caught.value.message
    assert "--runtime-env" in (caught.value.hint or "")
    assert ray.ended == 1


@pytest.mark.parametrize("gpus", [0.0, 1.0])
def test_workers_that_need_more_gpus_than_this_machine_has_are_refused(gpus: float, monkeypatch: pytest.MonkeyPatch):
    ray = FakeRay(gpus)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with (
        pytest.raises(UsageError, match=f"--gpus-per-worker 2: Ray finds {gpus:g} GPUs on this machine"),
        running_ray(PoolConfig(gpus_per_worker=2.0), Cargo()),
    ):
        pass
    assert ray.ended == 1


def test_machines_of_a_cluster_may_join_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    with running_ray(PoolConfig(address="auto", gpus_per_worker=2.0), Cargo()):
        pass
