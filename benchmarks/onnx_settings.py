"""Which settings of onnxruntime read lines fastest with the built-in model: time of each as a multiple of ours.

    python benchmarks/onnx_settings.py --root DIR [--lines 240] [--json benchmarks/results/onnx_settings.json]

DIR holds copiste and iam-line in the hub's parquet layout. Blocks of 24 validation lines, as many as a page has, go to
all settings in turn; the network alone is timed, not the decoding of images. Memory is not measured: memory patterns
are off for its sake.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.images.fit import ink_pixels
from quillread.models.catalog import describe
from quillread.models.model_folder import ONNX_NAME, ModelInfo
from quillread.models.onnx import ort, session_options
from quillread.recognize.ctc import _PAD

OURS = "as it is: a line a call, a call a core, one thread each"
BLOCK = 24
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Setting:
    """How lines are read: with what change of the session's options, `calls` at a time of at most `lines` each."""

    change: Callable[[ort.SessionOptions], Any] = lambda _: None
    lines: int = 1
    calls: int = CORES

    def open(self, path: Path) -> ort.InferenceSession:
        """The session; cores that calls leave over are threads of the calls."""
        options = session_options(CORES // self.calls)
        self.change(options)
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def settings() -> dict[str, Setting]:
    basic = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return {
        OURS: Setting(),
        "up to 8 lines of one width a call": Setting(lines=8),
        "one call at a time, all threads": Setting(calls=1),
        "the same, up to 8 lines of one width a call": Setting(lines=8, calls=1),
        "the same, threads do not spin": Setting(
            lambda o: o.add_session_config_entry("session.intra_op.allow_spinning", "0"), lines=8, calls=1
        ),
        "the same, two operators at once": Setting(parallel, lines=8, calls=1),
        "memory patterns": Setting(lambda o: setattr(o, "enable_mem_pattern", True)),
        "no arena": Setting(lambda o: setattr(o, "enable_cpu_mem_arena", False)),
        "only basic rewriting of the graph": Setting(lambda o: setattr(o, "graph_optimization_level", basic)),
        "subnormal numbers are zero": Setting(
            lambda o: o.add_session_config_entry("session.set_denormal_as_zero", "1")
        ),
    }


def parallel(options: ort.SessionOptions) -> None:
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.inter_op_num_threads = 2


def read(opened: ort.InferenceSession, lines: list[np.ndarray], setting: Setting) -> None:
    by_width: dict[int, list[np.ndarray]] = {}
    for line in lines:
        by_width.setdefault(line.shape[3], []).append(line)
    most = setting.lines
    calls = [part[i : i + most] for part in by_width.values() for i in range(0, len(part), most)]
    with ThreadPoolExecutor(setting.calls) as pool:
        list(pool.map(lambda part: opened.run(None, {"pixels": np.concatenate(part)}), calls))


def lines_of(root: Path, count: int, info: ModelInfo) -> list[np.ndarray]:
    """Pixels (1, 1, h, W) of lines that lie together, W a multiple of that to which the recogniser pads."""
    result = []
    for name in ("iam-line", "copiste"):
        source = open_source(parse_spec(f"hub:{root / name}"), "validation")
        for i in range(count // 2):
            pixels = ink_pixels(source.sample(i, np.random.default_rng(0)).image, info.ink)
            padded = np.zeros((1, 1, pixels.shape[0], -(-pixels.shape[1] // _PAD) * _PAD), np.float32)
            padded[0, 0, :, : pixels.shape[1]] = pixels
            result.append(padded)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=240)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/onnx_settings.json"))
    args = parser.parse_args()
    machine = describe_machine()
    entry = describe(args.model)
    runs = {name: (setting.open(entry.folder / ONNX_NAME), setting) for name, setting in settings().items()}
    lines = lines_of(args.root, args.lines, entry.info)
    blocks = [lines[i : i + BLOCK] for i in range(0, len(lines), BLOCK)]
    for opened, setting in runs.values():
        read(opened, blocks[0], setting)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number, block in enumerate(blocks):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            opened, setting = runs[name]
            start = time.perf_counter()
            read(opened, block, setting)
            seconds[name].append(time.perf_counter() - start)
    results = {}
    print("| settings | time, median over blocks (quartiles) |\n|---|---|")
    for name, times in seconds.items():
        low, middle, high = np.percentile(np.array(times) / np.array(seconds[OURS]), (25, 50, 75))
        results[name] = {"ratio": middle, "quartiles": (low, high), "seconds_per_line": sum(times) / len(lines)}
        print(f"| {name} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    save(args.json, "onnx_settings", machine, {"lines": len(lines), "settings": results})


if __name__ == "__main__":
    main()
