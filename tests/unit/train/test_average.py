from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from quillread.errors import ModelError
from quillread.train.average import AVERAGE_NAME, WeightAverage


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))


def step(average: WeightAverage, network: nn.Module, number: int, value: float) -> None:
    """Let a step of the optimiser end with a value of the weight."""
    with torch.no_grad():
        network[0].weight.fill_(value)
    average.on_step_end(TrainingArguments(report_to=[]), TrainerState(global_step=number), TrainerControl())


def weight_of(network: nn.Module) -> float:
    return network[0].weight.item()


def test_few_steps_are_averaged_evenly_and_more_with_the_decay(network: nn.Module):
    average = WeightAverage(network, 0.75)
    for number, (value, expected) in enumerate([(4.0, 4.0), (8.0, 6.0), (0.0, 4.0), (8.0, 5.0), (1.0, 4.0)], 1):
        step(average, network, number, value)
        with average.taken():
            assert weight_of(network) == pytest.approx(expected)
        assert weight_of(network) == value


def test_statistics_of_norms_are_averaged_and_counts_taken(network: nn.Module):
    average = WeightAverage(network, 0.5)
    for number, mean in enumerate((2.0, 4.0), 1):
        network[1].running_mean.fill_(mean)
        network[1].num_batches_tracked.fill_(number)
        step(average, network, number, 1.0)
    average.take()
    assert float(network[1].running_mean) == 3.0
    assert int(network[1].num_batches_tracked) == 2


def test_the_network_has_its_weights_back_after_an_error(network: nn.Module):
    average = WeightAverage(network, 0.5)
    step(average, network, 1, 1.0)
    step(average, network, 2, 3.0)
    with pytest.raises(RuntimeError), average.taken():
        raise RuntimeError
    assert weight_of(network) == 3.0


def test_without_a_step_the_weights_stay(network: nn.Module):
    before = weight_of(network)
    WeightAverage(network, 0.5).take()
    assert weight_of(network) == before


def test_what_is_not_trained_is_not_kept(network: nn.Module):
    network[0].weight.requires_grad_(False)
    average = WeightAverage(network, 0.5)
    step(average, network, 1, 1.0)
    step(average, network, 2, 3.0)
    average.take()
    assert weight_of(network) == 3.0


def test_it_is_written_and_read(network: nn.Module, tmp_path: Path):
    first = WeightAverage(network, 0.5)
    step(first, network, 1, 1.0)
    step(first, network, 2, 3.0)
    first.save(tmp_path)
    (tmp_path / "other").touch()
    assert (tmp_path / AVERAGE_NAME).stat().st_mode == (tmp_path / "other").stat().st_mode
    second = WeightAverage(network, 0.5)
    second.load(tmp_path)
    second.take()
    assert weight_of(network) == 2.0


@pytest.mark.parametrize("fault", ["missing", "damaged", "of another network"])
def test_a_file_that_does_not_fit_is_refused(network: nn.Module, tmp_path: Path, fault: str):
    other = nn.Linear(3, 2)
    average = WeightAverage(other if fault == "of another network" else network, 0.5)
    average.on_step_end(TrainingArguments(report_to=[]), TrainerState(global_step=1), TrainerControl())
    if fault != "missing":
        average.save(tmp_path)
    if fault == "damaged":
        (tmp_path / AVERAGE_NAME).write_bytes((tmp_path / AVERAGE_NAME).read_bytes()[:-3])
    with pytest.raises(ModelError, match=AVERAGE_NAME):
        WeightAverage(network, 0.5).load(tmp_path)
