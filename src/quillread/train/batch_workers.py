"""Processes that make batches: how they start, and how their batches reach the training."""

import logging
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import get_worker_info

log = logging.getLogger(__name__)

_SHARED = Path("/dev/shm")
_SPARE = 32 * 2**20
"""Bytes of shared memory that stay free: other workers take some at the same time."""


def usable_workers(asked: int) -> int:
    """The number of workers that the machine can have: none where processes cannot share so much as a lock."""
    if asked:
        try:
            multiprocessing.get_context().Queue().close()
        except OSError as error:
            log.warning("no processes can make batches beside the training (%s): it makes them itself", error)
            return 0
    return asked


def start_worker(number: int) -> None:
    """Prepare a new worker process.

    It leaves the process group: what is sent to all of it, as Ctrl-C is, is for the process that trains. That one saves
    a checkpoint first, and needs its workers until then.

    Its batches go through shared memory while that has room. Where it has not, as in a container, torch would lose the
    batch and the training would wait for it for ever; there they go through a pipe.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    ForkingPickler.register(Tensor, _reduce)


def _reduce(tensor: Tensor) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """How a tensor is sent: by a name of shared memory, or as its bytes."""
    workers = info.num_workers if (info := get_worker_info()) else 1
    if _free_shared() >= workers * tensor.nbytes + _SPARE:
        shared: tuple[Callable[..., Any], tuple[Any, ...]] = reduce_tensor(tensor)  # type: ignore[no-untyped-call]
        return shared
    _tell_once()
    return torch.from_numpy, (tensor.numpy(),)


def _free_shared() -> float:
    try:
        room = os.statvfs(_SHARED)
    except (OSError, AttributeError):
        return float("inf")  # this system keeps shared memory elsewhere
    return room.f_bavail * room.f_frsize


_told: set[str] = set()


def _tell_once() -> None:
    info = get_worker_info()
    if not _told and (info is None or info.id == 0):
        _told.add("room")
        log.warning(
            "too little shared memory in %s: batches go through pipes, which is slower on a GPU; "
            "enlarge it (docker run --shm-size=2g)",
            _SHARED,
        )
