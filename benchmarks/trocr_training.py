"""Measure the training of TrOCR: speed beside plain transformers, peak memory, and one run with the largest model.

    python benchmarks/trocr_training.py step --json benchmarks/results/trocr_step.json
    python benchmarks/trocr_training.py memory --shape base --json benchmarks/results/trocr_memory_base.json
    python benchmarks/trocr_training.py memory --shape large --json benchmarks/results/trocr_memory_large.json
    python benchmarks/trocr_training.py large --json benchmarks/results/trocr_large.json

All checkpoints have random weights and the published shapes; nothing is downloaded. Whatever is measured runs in a
process of its own.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

# Nothing large may be imported here: Linux counts the parent's memory at the fork in the child's peak.
from record import describe_machine, save
from worker import Worker

HERE = Path(__file__).parent
LINES = {"base": 8, "large": 4}
"""Lines of a step whose memory is measured."""


def open_trainer(*arguments: object) -> Worker:
    """Start a training that takes a step when it is asked to: `seconds` and `peak_bytes` are the answer.

    Args:
        arguments: Those of `trocr_worker.py`.
    """
    command = [sys.executable, str(HERE / "trocr_worker.py"), *map(str, arguments)]
    return Worker(command, quiet_threads())


def quiet_threads() -> dict[str, str]:
    """The environment with threads that sleep while they wait, as `quill train` sets it: workers must not disturb."""
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    step = parts.add_parser("step", help="lines per second, beside Seq2SeqTrainer")
    step.add_argument("--lines", type=int, default=8, metavar="N", help="of a step (default: %(default)s)")
    step.add_argument("--our-lines", type=int, metavar="N", help="of a step of ours, if not the same")
    step.add_argument("--canvas", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of ours, if not 384 384")
    step.add_argument("--pairs", type=int, default=5, metavar="N", help="steps of each (default: %(default)s)")
    step.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="what trocr_models.py wrote; else it is written anew"
    )
    step.add_argument(
        "--precision", choices=("fp32", "bf16"), help="of both (default: each its own: ours what is fast, theirs fp32)"
    )
    step.add_argument("--compile", action="store_true", help="compile the layers of ours")
    step.add_argument("--peak-tflops", type=float, metavar="X", help="of the GPU, dense bf16: for the share of it")
    step.set_defaults(measure=measure_steps)
    memory = parts.add_parser("memory", help="peak memory of a step, mixed precision and checkpointing on and off")
    memory.add_argument("--shape", choices=sorted(LINES), default="base", help="default: %(default)s")
    memory.add_argument("--lines", type=int, metavar="N", help="of a step (default: 8 for base, 4 for large)")
    memory.set_defaults(measure=measure_memory)
    large = parts.add_parser("large", help="load, train one step, save and read with the largest model")
    large.add_argument("--shape", choices=sorted(LINES), default="large", help="default: %(default)s")
    large.add_argument("--lines", type=int, default=4, metavar="N", help="default: %(default)s")
    large.set_defaults(measure=measure_run)
    for part in (step, memory, large):
        part.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        results = arguments.measure(arguments, Path(folder))
    if arguments.json:
        command = shlex.join(["python", "benchmarks/trocr_training.py", *sys.argv[1:]])
        save(arguments.json, f"trocr_{arguments.part}", machine, {"command": command, **results})


def write_model(shape: str, folder: Path, lines: int = 1) -> Path:
    """Write a checkpoint, and some lines beside it."""
    command = [sys.executable, str(HERE / "trocr_models.py"), shape, str(folder), "--lines", str(lines)]
    subprocess.run(command, check=True)
    return folder / "model"


def measure_steps(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Let both trainers take steps in turn, after one of each to warm up (two of ours, the first of which is small)."""
    model = arguments.checkpoint / "model" if arguments.checkpoint else write_model("base", folder)
    our_lines = arguments.our_lines or arguments.lines
    options = ["--canvas", *arguments.canvas] if arguments.canvas else []
    options += ["--compile"] if arguments.compile else []
    alike = ["--precision", arguments.precision] if arguments.precision else []
    with ExitStack() as stack:
        ours = stack.enter_context(open_trainer("ours", "base", model, "--lines", our_lines, *options, *alike))
        plain = stack.enter_context(open_trainer("plain", "base", model, "--lines", arguments.lines, *alike))
        ours.ask()
        pairs = [(ours.ask()["seconds"], plain.ask()["seconds"]) for _ in range(1 + arguments.pairs)][1:]
    rates = [(our_lines / mine, arguments.lines / theirs) for mine, theirs in pairs]
    systems = {
        "quillread": {
            **ours.facts,
            "lines": our_lines,
            "canvas": arguments.canvas,
            "compiled": arguments.compile,
            **spread([a for a, _ in rates]),
        },
        "Seq2SeqTrainer": {**plain.facts, "lines": arguments.lines, **spread([b for _, b in rates])},
    }
    ratio = spread([a / b for a, b in rates])
    results: dict[str, Any] = {"pairs": arguments.pairs, "systems": systems, "ratio": ratio}
    print(f"{'':16} {'precision':>9} {'lines':>6} {'lines/s':>8}   range")
    for name, row in systems.items():
        low, high = row["range"]
        print(f"{name:16} {row['precision']:>9} {row['lines']:6} {row['median']:8.3f}   {low:g} to {high:g}")
    print(f"ratio, pair by pair: {ratio['median']:g} (range {ratio['range'][0]:g} to {ratio['range'][1]:g})")
    if arguments.peak_tflops and not arguments.canvas:
        share = systems["quillread"]["median"] * ours.facts["flops_per_line"] / (1e12 * arguments.peak_tflops)
        results |= {"peak_tflops": arguments.peak_tflops, "share_of_peak": round(share, 4)}
        print(f"share of the peak rate: {share:.1%}")
    return results


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median and range."""
    return {"median": round(statistics.median(values), 4), "range": [round(min(values), 4), round(max(values), 4)]}


def measure_memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take the step of each setting in a fresh process, after a step of one line that fills the optimiser."""
    lines = arguments.lines or LINES[arguments.shape]
    model = write_model(arguments.shape, folder)
    rows = []
    print(
        f"{arguments.shape}, {lines} lines a step\n{'precision':10} {'checkpointing':14} {'peak GB':>8} {'seconds':>8}"
    )
    for precision in ("fp32", "bf16"):
        for checkpointing in (False, True):
            flags = ["--gradient-checkpointing"] if checkpointing else []
            options = ["ours", arguments.shape, model, "--lines", lines, "--precision", precision, *flags]
            with open_trainer(*options) as trainer:
                trainer.ask()
                step = trainer.ask()
            rows.append(
                {
                    "precision": precision,
                    "gradient_checkpointing": checkpointing,
                    "peak_gigabytes": round(step["peak_bytes"] / 1e9, 2),
                    "seconds": round(step["seconds"], 2),
                }
            )
            used = "on" if checkpointing else "off"
            print(f"{precision:10} {used:14} {rows[-1]['peak_gigabytes']:8.2f} {rows[-1]['seconds']:8.1f}", flush=True)
    return {"shape": arguments.shape, "parameters": trainer.facts["parameters"], "lines": lines, "steps": rows}


def measure_run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train one step through `finetune`, then read a line with what it saved."""
    write_model(arguments.shape, folder, arguments.lines)
    command = [sys.executable, str(HERE / "trocr_finetuner.py"), arguments.shape, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", env=quiet_threads(), check=True)
    results: dict[str, Any] = json.loads(done.stdout)
    quill = Path(sys.executable).parent / "quill"
    line = folder / "lines" / "0.png"
    results["parts"]["read a line"] = run(
        [str(quill), "read", "--lines", "--format", "json", "--model", str(folder / "run/model"), str(line)]
    )
    print(f"{'':30} {'seconds':>8} {'peak GB':>8}")
    for part, figures in results["parts"].items():
        print(f"{part:30} {figures['seconds']:8.1f} {figures['peak_gigabytes']:8.2f}")
    return {"shape": arguments.shape, **results}


def run(command: list[str]) -> dict[str, float]:
    """Run a command to its end, the start of Python and the loading of the model included."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
    output = cast(IO[str], process.stdout).read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    # The text of a model that has learnt nothing may be empty; that the line was read is in the JSON.
    if process.returncode or '"confidence"' not in output:
        raise SystemExit(f"{shlex.join(command)}: ended with exit code {process.returncode} and wrote {output!r}")
    return {"seconds": round(seconds, 2), "peak_gigabytes": round(usage.ru_maxrss * 1024 / 1e9, 2)}


if __name__ == "__main__":
    main()
