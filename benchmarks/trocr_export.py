"""Time and memory of TrOCR exported to ONNX, against plain transformers: the same lines, by turns, in one run.

    python benchmarks/trocr_export.py --json benchmarks/results/trocr_export.json

The checkpoint has random weights and a published shape, and writes no end: every line gets 20
tokens, as many as transformers writes by default. Drafts are what the decoder itself would write, with every n-th token
another: what they save depends on how often they agree, whatever is written.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record import describe_machine, save
from trocr_models import SHAPES, drafting, draw_line, tokens_written, write_checkpoint

TOKENS = 20
_EVERY = (2, 4, 8, 1000)
"""Every how manieth token of a draft is another."""
_READ = """
import sys, time
import numpy as np
from PIL import Image
from quillread.recognize.load import load
folder, threads, image = sys.argv[1:]
line = np.asarray(Image.open(image).convert("RGB"))
reader = load(folder, threads=int(threads))
reader.read([line])
seconds = time.process_time()
reader.read([line] * 20)
# Of this program alone: what `getrusage` tells begins with the process that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status", encoding="utf-8"))
print(int(status["VmHWM"].split()[0]) // 1024, seconds)
"""


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="base")
    parser.add_argument("--lines", type=int, default=8, metavar="N", help="of each call (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="after one to warm up (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_checkpoint(root / "model", SHAPES[args.shape])
        for weights in ("float32", "int8"):
            command = [sys.executable, "-m", "quillread.cli.main", "models", "export"]
            subprocess.run([*command, str(root / "model"), str(root / weights), "--weights", weights], check=True)
        figures = measure(root, args)
        draw_line().save(root / "line.png")
        figures |= {"megabytes": {}, "seconds_until_first_line": {}}
        for kind, where in (("torch", "model"), ("float32", "float32"), ("int8", "int8")):
            megabytes, seconds = read_alone(root / where, root / "line.png", args.threads)
            figures["megabytes"][kind] = megabytes
            figures["seconds_until_first_line"][kind] = seconds
    for name, value in figures.items():
        print(name, value)
    if args.json:
        settings = {"shape": args.shape, "lines": args.lines, "threads": args.threads, "tokens": TOKENS}
        save(args.json, "trocr_export", machine, {**settings, **figures})


def read_alone(folder: Path, image: Path, threads: int) -> tuple[int, float]:
    """Read a line, then twenty, in a process of their own, as a user's would.

    Returns:
        Its peak memory in megabytes (2^20 bytes), and the CPU seconds from its start until the first line was read.
    """
    command = [sys.executable, "-c", _READ, str(folder), str(threads), str(image)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(told[0]), round(float(told[1]), 2)


def measure(root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds a line of every arm, and how much sooner each is than transformers."""
    images = [np.asarray(draw_line())] * args.lines
    arms = make_arms(root, args.threads)
    spent: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(args.rounds + 1):
        for name, arm in arms.items():
            start = time.process_time()
            arm(images)
            spent[name].append((time.process_time() - start) / args.lines)
    seconds = {name: statistics.median(times[1:]) for name, times in spent.items()}
    against = {name: "transformers, beams 4" if "beams" in name else "transformers, one by one" for name in seconds}
    against |= {name: "transformers, together" for name in seconds if "together" in name}
    return {
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "times_faster": {name: round(seconds[against[name]] / value, 2) for name, value in seconds.items()},
    }


def make_arms(root: Path, threads: int) -> dict[str, Callable[[Sequence[Any]], Any]]:
    """What is compared, by name."""
    import torch
    from PIL import Image

    from quillread.models.model_folder import ModelInfo
    from quillread.models.trocr.loading import load_trocr
    from quillread.models.trocr.onnx_network import OnnxTrocr
    from quillread.models.trocr.settings import GenerateConfig
    from quillread.recognize.trocr.engine import TrocrEngine
    from quillread.recognize.trocr.onnx_backend import ExportedTrocr
    from quillread.recognize.trocr.torch_backend import TorchTrocr

    torch.set_num_threads(threads)
    model = load_trocr(root / "model")

    def plain(images: Sequence[Any], beams: int = 1) -> list[list[int]]:
        pixels = model.image_processor([Image.fromarray(image) for image in images], return_tensors="pt").pixel_values
        with torch.inference_mode():
            written = model.network.generate(pixels, max_new_tokens=TOKENS, num_beams=beams, use_cache=True)
        return [row.tolist()[1:] for row in written]

    def one_by_one(read: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Any]], Any]:
        return lambda images: [read([image]) for image in images]

    def engine(backend: type, network: Any, beams: int = 1, **more: Any) -> TrocrEngine:
        config = GenerateConfig(max_tokens=TOKENS, beams=beams)
        return TrocrEngine(backend(network, config, **more), ModelInfo("trocr", "timed", generate=config))

    ours = engine(TorchTrocr, model)
    exported = {weights: OnnxTrocr(root / weights, threads) for weights in ("float32", "int8")}
    arms: dict[str, Callable[[Sequence[Any]], Any]] = {
        "transformers, one by one": one_by_one(plain),
        "transformers, together": plain,
        "transformers, beams 4": one_by_one(lambda images: plain(images, 4)),
        "quill with torch, one by one": one_by_one(ours),
    }
    for weights, network in exported.items():
        arms |= {
            f"{weights}, one by one": one_by_one(engine(ExportedTrocr, network)),
            f"{weights}, together": engine(ExportedTrocr, network),
            f"{weights}, beams 4": one_by_one(engine(ExportedTrocr, network, 4)),
        }
        own = tokens_written(network, np.asarray(draw_line()), TOKENS)
        for every in _EVERY:
            drafted = engine(ExportedTrocr, network, drafter=lambda images: ["x"] * len(images))

            def read(
                images: Sequence[Any], drafted: TrocrEngine = drafted, own: list[int] = own, every: int = every
            ) -> None:
                with drafting(own, every):
                    drafted(images)

            arms[f"{weights}, one by one, draft with every {every}. token another"] = one_by_one(read)
    return arms


if __name__ == "__main__":
    main()
