"""Time of a line with TrOCR on its published canvas and on narrower ones, by turns, in one run.

    python benchmarks/trocr_canvas.py --json benchmarks/results/trocr_canvas.json

The checkpoint has random weights and the published shape, and writes no end: every line gets 20 tokens. Lines are read
one by one: by plain transformers in float32, in torch, and as an export with eight-bit weights without a draft, with
one of which every fourth token is another, and with one that is all right.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import describe_machine, save
from trocr_models import SHAPES, drafting, draw_line, tokens_written, write_checkpoint

TOKENS = 20
PLAIN = "plain transformers, 384 x 384"
CANVASES = ((384, 384), (128, 768), (96, 768))


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="base")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="after one to warm up (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / "model", SHAPES[args.shape])
        figures = measure(make_arms(Path(folder), args.threads), args.rounds)
    for name, value in figures.items():
        print(name, value)
    if args.json:
        settings = {"shape": args.shape, "threads": args.threads, "tokens": TOKENS, "rounds": args.rounds}
        save(args.json, "trocr_canvas", machine, {**settings, **figures})


def make_arms(root: Path, threads: int) -> dict[str, Callable[[], Callable[[], Any]]]:
    """What is timed, by name: each makes ready, then gives what reads one line."""
    import torch
    from PIL import Image

    from quillread.images.fit import CanvasConfig
    from quillread.models.model_folder import ModelInfo, write_info
    from quillread.models.trocr.loading import load_trocr
    from quillread.models.trocr.onnx_network import OnnxTrocr
    from quillread.models.trocr.pixels import set_canvas
    from quillread.models.trocr.settings import GenerateConfig
    from quillread.recognize.trocr.engine import TrocrEngine
    from quillread.recognize.trocr.onnx_backend import ExportedTrocr
    from quillread.recognize.trocr.torch_backend import TorchTrocr

    torch.set_num_threads(threads)
    config = GenerateConfig(max_tokens=TOKENS)
    networks = {}
    for height, width in CANVASES:
        # Exports first: each needs the memory of the whole network.
        write_info(ModelInfo("trocr", "timed", canvas=CanvasConfig(height, width)), root / "model")
        target = root / f"{height}x{width}"
        command = [sys.executable, "-m", "quillread.cli.main", "models", "export", str(root / "model"), str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        networks[height, width] = OnnxTrocr(target, threads)
    model, image = load_trocr(root / "model"), np.asarray(draw_line())

    def reader(backend: Any) -> Callable[[], Any]:
        engine = TrocrEngine(backend, ModelInfo("trocr", "timed", generate=config))
        return lambda: engine([image])

    def plain() -> Callable[[], Any]:
        set_canvas(model, *CANVASES[0])
        return lambda: transformers_read(model, Image.fromarray(image))

    arms: dict[str, Callable[[], Callable[[], Any]]] = {PLAIN: plain}
    undrafted = {canvas: ExportedTrocr(network, config) for canvas, network in networks.items()}
    for canvas, network in networks.items():

        def in_torch(canvas: tuple[int, int] = canvas) -> Callable[[], Any]:
            set_canvas(model, *canvas)  # back and forth: the values do not matter here
            return reader(TorchTrocr(model, config, threads=threads))

        def exported(backend: ExportedTrocr = undrafted[canvas]) -> Callable[[], Any]:
            return reader(backend)

        name = f"{canvas[0]} x {canvas[1]}"
        arms |= {f"torch, float32, {name}": in_torch, f"export, eight bits, {name}": exported}
        written = tokens_written(network, image, TOKENS)
        for draft, every in (("a fourth of the draft is another", 4), ("the draft is right", len(written) + 1)):
            backend = ExportedTrocr(network, config, lambda images: ["x"] * len(images))

            def drafted(backend: ExportedTrocr = backend, written: list[int] = written, every: int = every) -> Any:
                read = reader(backend)

                def read_drafted() -> None:
                    with drafting(written, every):
                        read()

                return read_drafted

            arms[f"export, eight bits, {name}, {draft}"] = drafted
    return arms


def transformers_read(model: Any, image: Any) -> None:
    """Greedy search as transformers does it, with its cache."""
    import torch

    pixels = model.image_processor([image], return_tensors="pt").pixel_values
    with torch.inference_mode():
        model.network.generate(pixels, max_new_tokens=TOKENS, num_beams=1, use_cache=True)


def measure(arms: dict[str, Callable[[], Callable[[], Any]]], rounds: int) -> dict[str, Any]:
    """CPU seconds a line of every arm, and how much sooner it is than plain transformers."""
    spent: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds + 1):
        for name, arm in arms.items():
            read = arm()
            start = time.process_time()
            read()
            spent[name].append(time.process_time() - start)
    seconds = {name: statistics.median(times[1:]) for name, times in spent.items()}
    ratios = {name: seconds[PLAIN] / value for name, value in seconds.items()}
    return {
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "times_faster": {name: round(value, 2) for name, value in ratios.items()},
    }


if __name__ == "__main__":
    main()
