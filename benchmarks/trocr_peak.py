"""The most memory that this process has held since a moment, on Linux or on a GPU."""

import re
from pathlib import Path

import torch


def reset_peak() -> None:
    """Start anew from what is held now."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM


def peak_bytes() -> int:
    """Most bytes held since `reset_peak`: tensors on the GPU if there is one, else resident memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise SystemExit("/proc/self/status does not tell the peak memory")
    return 1024 * int(found[1])


def wait_for_device() -> None:
    """Wait until a GPU has done what it was told; on a CPU everything is done at once."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
