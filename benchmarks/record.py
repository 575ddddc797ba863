"""The files that benchmarks write: the figures, and the machine they were measured on."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Name the processor, its cores, the system and Python, and how busy the machine is at this moment.

    To be asked before a benchmark starts: a `load` (mean number of running processes in the last minute) well above 0
    means that its times are too long.
    """
    gpus = _gpu_names()
    return {
        **({"gpus": gpus} if gpus else {}),
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def save(path: Path, benchmark: str, machine: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Write the figures of a benchmark as indented JSON; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"benchmark": benchmark, "machine": machine, **results}
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _gpu_names() -> list[str]:
    """Names of NVIDIA's GPUs, asked for without loading anything that would count as memory of a benchmark."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    done = subprocess.run([command, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, encoding="utf-8")
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
