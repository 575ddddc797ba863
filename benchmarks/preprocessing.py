"""Measure the cleaning steps on lines of 64 x 900 pixels, on one core: each step, and the classic chain.

    python benchmarks/preprocessing.py --json benchmarks/results/preprocessing.json

Everything is measured in turn on the same line, then on the next one, so that a busy moment hits all alike. Reading the
image file is not part of it. The rows "classic" are all that training does with a line: the chain, perspective, the
image processor at 224 x 224, and the tokens of a text of 48 characters.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from record import describe_machine, save

from quillread.images.augment import STEPS as DISTORTIONS
from quillread.images.augment import AugmentConfig
from quillread.images.fit import CanvasConfig
from quillread.images.preprocess import CLASSIC, STEPS, PreprocessConfig, StepCache, preprocess
from quillread.models.trocr.scratch import new_trocr
from quillread.models.trocr.settings import TrocrShape
from quillread.train.config import TrainConfig
from quillread.train.family_settings import TrocrPart
from quillread.train.trocr.form import TrocrForm
from quillread.types import UInt8Image

LINE = Path(__file__).parents[1] / "tests" / "data" / "line.jpg"
HEIGHT, WIDTH = 64, 900
TEXT = "the quick brown fox jumps over the lazy dog, and"
PERSPECTIVE = AugmentConfig(**{**dict.fromkeys(DISTORTIONS, 0.0), "perspective": 1.0})

OPENCV = "OpenCV's non-local means alone"
OURS = "non_local_means"
QUICK = "classic but non_local_means"
CACHED = "classic, non_local_means cached"


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=LINE, help="of one line (default: tests/data/line.jpg)")
    parser.add_argument("--lines", type=int, default=40, metavar="N", help="default: %(default)s")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="of TrOCR (default: single bytes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        lines = open_lines(arguments.image, arguments.lines)
        seconds = measure(lines, StepCache(Path(folder)), arguments.tokenizer)
    results = {name: summarise(times) for name, times in seconds.items()}
    ratio = ratio_of(seconds[OURS], seconds[OPENCV])
    print_table(results, ratio)
    if arguments.json:
        figures = {"pixels": [HEIGHT, WIDTH], "lines": arguments.lines}
        save(arguments.json, "preprocessing", machine, {**figures, "ways": results, "non_local_means_ratio": ratio})


def open_lines(path: Path, count: int) -> list[UInt8Image]:
    """Bring a line to 64 x 900 pixels, without changing its scale more than its height asks, and vary its noise."""
    image = Image.open(path).convert("RGB")
    image = image.resize((round(image.width * HEIGHT / image.height), HEIGHT))
    pixels = np.asarray(image)[:, :WIDTH]
    pixels = np.pad(pixels, ((0, 0), (0, WIDTH - pixels.shape[1]), (0, 0)), mode="edge")
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 4, (count, HEIGHT, WIDTH, 1))
    return list((pixels + noise).clip(0, 255).astype(np.uint8))


def measure(lines: list[UInt8Image], cache: StepCache, tokenizer: Path | None) -> dict[str, list[float]]:
    """Time every way on every line, in seconds; the first line is only there to warm up."""
    ways = list_ways(cache, tokenizer)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for line in [lines[0], *lines]:
        preprocess(line, PreprocessConfig(CLASSIC), cache)  # fills the cache
        for name, way in ways.items():
            start = time.perf_counter()
            way(line)
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def list_ways(cache: StepCache, tokenizer: Path | None) -> dict[str, Callable[[UInt8Image], object]]:
    """What is measured. Steps start from a grey image, as they do in the chain; so does OpenCV's own function."""
    alone = {name: PreprocessConfig(tuple(dict.fromkeys(("grayscale", name)))) for name in STEPS}
    quick = PreprocessConfig(tuple(name for name in CLASSIC if name != OURS))
    return {
        OPENCV: denoise_with_opencv,
        **{name: partial(clean, config) for name, config in alone.items()},
        QUICK: partial(make_item, make_form(quick, None, tokenizer)),
        CACHED: partial(make_item, make_form(PreprocessConfig(CLASSIC), cache, tokenizer)),
    }


def denoise_with_opencv(line: UInt8Image) -> None:
    cv2.fastNlMeansDenoising(cv2.cvtColor(line, cv2.COLOR_RGB2GRAY), None, 10, 7, 21)


def clean(config: PreprocessConfig, line: UInt8Image) -> None:
    preprocess(line, config)


def make_form(chain: PreprocessConfig, cache: StepCache | None, tokenizer: Path | None) -> TrocrForm:
    """The form of the recipe; of the network it asks for nothing but how many tokens it can write."""
    canvas = CanvasConfig(224, 224)
    network = TrocrShape(encoder_width=32, encoder_layers=1, decoder_width=32, decoder_layers=1)
    config = TrainConfig(preprocess=chain, augment=PERSPECTIVE, part=TrocrPart(canvas=canvas))
    return TrocrForm(config, new_trocr(network, canvas, tokenizer, seed=1), cache)


def make_item(form: TrocrForm, line: UInt8Image) -> None:
    form.make(line, TEXT, np.random.default_rng(0))


def summarise(seconds: list[float]) -> dict[str, Any]:
    """Median and quartiles of seconds per line; lines per second from the median."""
    low, median, high = statistics.quantiles(seconds, n=4)
    return {
        "seconds_per_line": round(median, 6),
        "quartiles": [round(low, 6), round(high, 6)],
        "lines_per_second": round(1 / median, 1),
    }


def ratio_of(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratio, line by line."""
    low, median, high = statistics.quantiles([a / b for a, b in zip(ours, theirs, strict=True)], n=4)
    return {"median": round(median, 3), "quartiles": [round(low, 3), round(high, 3)]}


def print_table(results: dict[str, dict[str, Any]], ratio: dict[str, Any]) -> None:
    """Print one row per way."""
    width = max(map(len, results))
    print(f"{'':{width}} {'ms/line':>9} {'lines/s':>9}")
    for name, row in results.items():
        print(f"{name:{width}} {1000 * row['seconds_per_line']:9.3f} {row['lines_per_second']:9.0f}")
    low, high = ratio["quartiles"]
    print(f"non-local means over OpenCV's own time: {ratio['median']:g} (quartiles {low:g} to {high:g})")


if __name__ == "__main__":
    main()
