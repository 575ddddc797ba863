"""How many lines a process can compute at a time: measured on the device, not guessed."""

import ctypes
import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

_SHARE = 0.85
"""Share of the free memory that may be used: it falls into pieces, and later batches may be wider."""

_PROBE = 4
"""Lines of the second pass that is measured; the first has one."""


def fit_micro_batch(
    network: nn.Module,
    batch: dict[str, Tensor],
    device: torch.device,
    mixed: torch.dtype | None,
    processes: int = 1,
    *,
    distributed: bool = False,
    averages: bool = False,
) -> int:
    """Measure what lines take in a forward and backward pass, and fit their number to the free memory.

    Args:
        network: The network, a `TrainedNetwork`, on the device; its gradients are cleared, all else is as before.
        batch: A batch of the largest lines, the largest first, without its weights.
        device: Where it is computed.
        mixed: Number type of mixed precision; None for float32.
        processes: Processes that share the memory of the device: those of this machine on a CPU, one on a GPU.
        distributed: Whether gradients are averaged over processes, which takes a second copy of them.
        averages: Whether a moving average of the weights is kept.

    Returns:
        Lines at a time: the whole batch if it fits, else the largest power of two that does, at least 1. Where even
        the measurement runs out of memory, 1.
    """
    lines = len(next(iter(batch.values())))
    probe = min(_PROBE, lines)
    if probe == 1:
        return 1
    _let_go(device)
    free = _free(device) / processes
    trained = sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)
    before = _in_use(device)
    try:
        # Layers that are to be compiled are measured as they are: they take no more than that.
        with _unchanged(network, device), torch.compiler.set_stance("force_eager"):
            one = _peak(network, batch, 1, device, mixed) - before
            several = _peak(network, batch, probe, device, mixed) - before
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        network.zero_grad(set_to_none=True)
        return 1
    per_line = max((several - one) / (probe - 1), 1.0)
    # AdamW keeps two numbers for each weight from the first step on; beside an average the weights are kept while it
    # reads.
    kept = (2 + distributed + 2 * averages) * trained
    fits = 1 + int((_SHARE * free - one - kept) / per_line)
    size = lines if fits >= lines else 2 ** (max(fits, 1).bit_length() - 1)
    log.info(
        "%d of %d lines at a time: a line takes %.0f MB, gradients and optimiser %.0f MB, %.1f GB are free",
        size,
        lines,
        per_line / 1e6,
        (trained + kept) / 1e6,
        free / 1e9,
    )
    return size


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out; on a CPU torch has no type of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def _unchanged(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Give back the running averages of norms, and the state of the random numbers, that passes change."""
    before = {name: value.detach().clone() for name, value in network.named_buffers()}
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for name, value in network.named_buffers():
                value.copy_(before[name])


def _peak(
    network: nn.Module, batch: dict[str, Tensor], lines: int, device: torch.device, mixed: torch.dtype | None
) -> int:
    """Most bytes in use during a pass over some lines."""
    part = {name: value[:lines].to(device) for name, value in batch.items()}
    network.train()
    with _PeakMemory(device) as peak:
        with torch.autocast(device.type, mixed, enabled=mixed is not None):
            loss = network(**part)["losses"].mean()
        loss.backward()
    network.zero_grad(set_to_none=True)
    return peak.bytes


class _PeakMemory:
    """Measures the peak of the memory in use while it is entered, in bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = 0

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._peak = _in_use(self._device)
            self._done = threading.Event()
            self._watch = threading.Thread(target=self._sample, daemon=True)
            self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self.bytes = torch.cuda.max_memory_allocated(self._device)
        else:
            self._done.set()
            self._watch.join()
            self.bytes = self._peak

    def _sample(self) -> None:
        # The high-water mark that the system keeps would not do: loading the weights may have been higher.
        while not self._done.wait(0.005):
            self._peak = max(self._peak, _in_use(self._device))


def _let_go(device: torch.device) -> None:
    """Give memory that is not used back to the system, so that what is taken next is seen to be taken.

    After a training the C library keeps it: the lines of a second one in the process would seem to need none.
    """
    if device.type == "cpu":
        gc.collect()
        with suppress(OSError, AttributeError):  # other C libraries keep little
            ctypes.CDLL(None).malloc_trim(0)


def _in_use(device: torch.device) -> int:
    """Bytes that this process holds on a device."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def _free(device: torch.device) -> int:
    """Bytes that can still be taken."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + unused)
    free = int(psutil.virtual_memory().available)
    left = container_free(Path("/sys/fs/cgroup"))
    return free if left is None else min(free, left)


def container_free(folder: Path) -> int | None:
    """Bytes that the container may still take that the process runs in; None if it has no limit.

    Args:
        folder: The files of its control group, version 2.
    """
    try:
        limit = (folder / "memory.max").read_text(encoding="utf-8").strip()
        used = (folder / "memory.current").read_text(encoding="utf-8")
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    except OSError:
        return None
    if not limit.isdecimal():
        return None
    # Files that were read stay in the memory until it is wanted for something else.
    return int(limit) - int(used) + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
