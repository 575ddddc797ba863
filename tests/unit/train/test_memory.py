from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quillread.train import memory
from quillread.train.memory import fit_micro_batch

MEGABYTE = 2**20


class Greedy(nn.Module):
    """Takes 32 MB for each line, of which the backward pass needs all."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        wide = (x * self.weight).repeat(1, 8 * MEGABYTE)
        return {"losses": (wide**2).mean(1)}


def fit(monkeypatch: pytest.MonkeyPatch, free: int, lines: int = 16, processes: int = 1) -> int:
    monkeypatch.setattr(memory, "_free", lambda device: free * MEGABYTE)
    return fit_micro_batch(Greedy(), {"x": torch.ones(lines, 1)}, torch.device("cpu"), None, processes)


def test_a_batch_that_fits_is_computed_at_once(monkeypatch: pytest.MonkeyPatch):
    assert fit(monkeypatch, free=100_000) == 16


def test_less_memory_takes_fewer_lines_at_a_time(monkeypatch: pytest.MonkeyPatch):
    assert 2 <= fit(monkeypatch, free=800) <= 8


def test_the_memory_is_shared_by_the_processes(monkeypatch: pytest.MonkeyPatch):
    assert fit(monkeypatch, free=800, processes=4) < fit(monkeypatch, free=800)


@pytest.mark.parametrize("kept", ["distributed", "averages"])
def test_what_is_kept_of_the_weights_leaves_less_for_lines(monkeypatch: pytest.MonkeyPatch, kept: str):
    monkeypatch.setattr(memory, "_free", lambda device: 1600 * MEGABYTE)

    class Large(Greedy):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(50 * MEGABYTE))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"losses": super().forward(x)["losses"] + self.table[0]}

    sizes = [
        fit_micro_batch(Large(), {"x": torch.ones(64, 1)}, torch.device("cpu"), None, **given)
        for given in ({}, {kept: True})
    ]
    assert sizes[1] < sizes[0]


def test_there_is_always_one_line(monkeypatch: pytest.MonkeyPatch):
    assert fit(monkeypatch, free=1) == 1


def test_a_measurement_that_runs_out_of_memory_leaves_one_line(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Greedy, "forward", fail)
    assert fit(monkeypatch, free=1000) == 1


def test_no_gradient_is_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_free", lambda device: 10**12)
    network = Greedy()
    fit_micro_batch(network, {"x": torch.ones(3, 1)}, torch.device("cpu"), None)
    assert network.weight.grad is None


def test_averages_and_random_numbers_are_as_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_free", lambda device: 10**12)

    class Normed(Greedy):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"losses": nn.functional.dropout(self.norm(x * self.weight)).mean((1, 2))}

    network = Normed()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fit_micro_batch(network, {"x": torch.rand(8, 1, 4, generator=torch.Generator())}, torch.device("cpu"), None)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_memory_that_runs_out_on_a_cpu_is_told_from_other_faults():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert memory.is_out_of_memory(caught.value)
    assert memory.is_out_of_memory(torch.OutOfMemoryError("full"))
    assert not memory.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_files_that_were_read_do_not_count_as_used_in_a_container(tmp_path: Path):
    for name, text in (("memory.max", "1000"), ("memory.current", "900"), ("memory.stat", "anon 9\ninactive_file 300")):
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    assert memory.container_free(tmp_path) == 400


@pytest.mark.parametrize("limit", ["max", None])
def test_a_container_without_a_limit_says_nothing(tmp_path: Path, limit: str | None):
    if limit:
        for name, text in (("memory.max", limit), ("memory.current", "900"), ("memory.stat", "")):
            (tmp_path / name).write_text(text, encoding="utf-8")
    assert memory.container_free(tmp_path) is None


def test_gradients_that_are_averaged_over_processes_take_memory(monkeypatch: pytest.MonkeyPatch):
    network = Greedy()
    network.more = nn.Parameter(torch.zeros(64 * MEGABYTE))  # 256 MB
    monkeypatch.setattr(memory, "_free", lambda device: 1500 * MEGABYTE)
    batch, cpu = {"x": torch.ones(16, 1)}, torch.device("cpu")
    alone = fit_micro_batch(network, batch, cpu, None)
    assert fit_micro_batch(network, batch, cpu, None, distributed=True) < alone
