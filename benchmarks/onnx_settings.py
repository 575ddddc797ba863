"""Which settings of onnxruntime read lines fastest with the built-in model: time of each as a multiple of ours.

    python benchmarks/onnx_settings.py --root DIR [--lines 120] [--json benchmarks/results/onnx_settings.json]

DIR holds copiste and iam-line in the hub's parquet layout. Blocks of validation lines go to all settings in turn; the
network alone is timed, not the decoding of images. Memory is not measured: `enable_mem_pattern` is off and the arena on
for reasons that `models/onnx.py` gives.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from record import describe_machine, save

from quillread.data.sources import open_source
from quillread.data.spec import parse_spec
from quillread.images.ink import ink_pixels
from quillread.models.catalog import describe

OURS = "as it is: two threads, one line at a time"
BLOCK = 8


def settings() -> dict[str, Callable[[ort.SessionOptions], Any]]:
    """What is changed in the options of a session."""
    return {
        OURS: lambda o: None,
        "one thread": lambda o: setattr(o, "intra_op_num_threads", 1),
        "memory patterns": lambda o: setattr(o, "enable_mem_pattern", True),
        "no arena": lambda o: setattr(o, "enable_cpu_mem_arena", False),
        "threads do not spin": lambda o: o.add_session_config_entry("session.intra_op.allow_spinning", "0"),
        "parallel execution, two operators at once": parallel,
        "only basic rewriting of the graph": lambda o: setattr(
            o, "graph_optimization_level", ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        ),
        "subnormal numbers are zero": lambda o: o.add_session_config_entry("session.set_denormal_as_zero", "1"),
    }


def parallel(options: ort.SessionOptions) -> None:
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.inter_op_num_threads = 2


def session(path: Path, change: Callable[[ort.SessionOptions], Any]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    change(options)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def one_by_one(opened: ort.InferenceSession, lines: list[np.ndarray]) -> None:
    for pixels in lines:
        opened.run(None, {"pixels": pixels})


def together(opened: ort.InferenceSession, lines: list[np.ndarray]) -> None:
    """A block as one batch, padded with paper to the widest."""
    batch = np.zeros((len(lines), *lines[0].shape[1:3], max(pixels.shape[3] for pixels in lines)), np.float32)
    for row, pixels in zip(batch, lines, strict=True):
        row[..., : pixels.shape[3]] = pixels[0]
    opened.run(None, {"pixels": batch})


def lines_of(root: Path, count: int, info: Any) -> list[np.ndarray]:
    """Pixels (1, 1, h, W), W a multiple of 32, sorted by width as the recogniser sorts them."""
    result = []
    for name in ("iam-line", "copiste"):
        source = open_source(parse_spec(f"hub:{root / name}"), "validation")
        for i in np.linspace(0, len(source) - 1, count // 2).astype(int):
            pixels = ink_pixels(source.sample(int(i), np.random.default_rng(0)).image, info.ink)
            padded = np.zeros((1, 1, pixels.shape[0], -(-pixels.shape[1] // 32) * 32), np.float32)
            padded[0, 0, :, : pixels.shape[1]] = pixels
            result.append(padded)
    return sorted(result, key=lambda pixels: pixels.shape[3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=120)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/onnx_settings.json"))
    args = parser.parse_args()
    machine = describe_machine()
    entry = describe(args.model)
    path = entry.folder / "model.onnx"
    runs = {name: (session(path, change), one_by_one) for name, change in settings().items()}
    runs[f"batches of {BLOCK}"] = (runs[OURS][0], together)
    lines = lines_of(args.root, args.lines, entry.info)
    blocks = [lines[i : i + BLOCK] for i in range(0, len(lines), BLOCK)]
    for opened, read in runs.values():
        read(opened, blocks[len(blocks) // 2])
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number, block in enumerate(blocks):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            opened, read = runs[name]
            start = time.perf_counter()
            read(opened, block)
            seconds[name].append(time.perf_counter() - start)
    ours = np.array(seconds[OURS])
    results = {}
    print("| settings | time, median over blocks (quartiles) |\n|---|---|")
    for name, times in seconds.items():
        low, middle, high = np.percentile(np.array(times) / ours, (25, 50, 75))
        results[name] = {"ratio": middle, "quartiles": (low, high), "seconds_per_line": sum(times) / len(lines)}
        print(f"| {name} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    save(args.json, "onnx_settings", machine, {"lines": len(lines), "settings": results})


if __name__ == "__main__":
    main()
