import io
import multiprocessing
import pickle
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from quillread.train import batch_workers
from quillread.train.batch_workers import start_worker, usable_workers


@pytest.fixture
def reducers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a worker registers, this process forgets; it stays in its group."""
    monkeypatch.setattr(ForkingPickler, "_extra_reducers", dict(ForkingPickler._extra_reducers))
    monkeypatch.setattr("os.setpgrp", lambda: None)


def sent(value: Any) -> bytes:
    return bytes(ForkingPickler.dumps(value))


@pytest.mark.usefixtures("reducers")
def test_a_batch_goes_through_a_pipe_where_shared_memory_is_small(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(batch_workers, "_free_shared", lambda: 64 * 1024)
    monkeypatch.setattr(batch_workers, "_told", set())
    start_worker(0)
    batch = {"pixels": torch.rand(2, 1, 64, 100), "widths": torch.tensor([90, 100])}
    content = sent(batch)
    assert len(content) > batch["pixels"].nbytes
    got = pickle.load(io.BytesIO(content))
    assert all(torch.equal(got[name], value) for name, value in batch.items())
    assert caplog.text.count("too little shared memory") == 1


@pytest.mark.usefixtures("reducers")
def test_a_batch_goes_through_shared_memory_where_that_has_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch_workers, "_free_shared", lambda: float("inf"))
    start_worker(0)
    batch = torch.rand(2, 1, 64, 100)
    assert len(sent(batch)) < batch.nbytes


def test_no_workers_where_processes_cannot_share_a_lock(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse() -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(multiprocessing, "get_context", lambda: SimpleNamespace(Queue=refuse))
    assert usable_workers(3) == 0
    assert "Read-only file system" in caplog.text


def test_as_many_workers_as_asked_where_processes_can_share():
    assert [usable_workers(0), usable_workers(2)] == [0, 2]
