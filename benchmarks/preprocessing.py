"""Measure the cleaning steps on lines of 64 x 900 pixels, on one core: each step, and the classic chain.

    python benchmarks/preprocessing.py --json benchmarks/results/preprocessing.json

Everything is measured in turn on the same line, then on the next one, so that a busy moment hits all alike. Reading the
image file is not part of it. The perspective and the resize to 224 x 224 are those of training.
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
from quillread.images.augment import AugmentConfig, augment
from quillread.images.cache import StepCache
from quillread.images.preprocess import CLASSIC, STEPS, PreprocessConfig, preprocess
from quillread.types import UInt8Image

LINE = Path(__file__).parents[1] / "tests" / "data" / "line.jpg"
HEIGHT, WIDTH = 64, 900
CANVAS = (224, 224)
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(open_lines(arguments.image, arguments.lines), StepCache(Path(folder)))
    results = {name: summarise(times) for name, times in seconds.items()}
    ratio = ratio_of(seconds[OURS], seconds[OPENCV])
    print_table(results, ratio)
    if arguments.json:
        figures = {"pixels": [HEIGHT, WIDTH], "lines": arguments.lines, "canvas": list(CANVAS)}
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


def measure(lines: list[UInt8Image], cache: StepCache) -> dict[str, list[float]]:
    """Time every way on every line, in seconds; the first line is only there to warm up."""
    ways = list_ways(cache)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for line in [lines[0], *lines]:
        preprocess(line, PreprocessConfig(CLASSIC), cache)  # fills the cache
        for name, way in ways.items():
            start = time.perf_counter()
            way(line)
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def list_ways(cache: StepCache) -> dict[str, Callable[[UInt8Image], object]]:
    """What is measured. Steps start from a grey image, as they do in the chain; so does OpenCV's own function."""
    alone = {name: PreprocessConfig(tuple(dict.fromkeys(("grayscale", name)))) for name in STEPS}
    quick = PreprocessConfig(tuple(name for name in CLASSIC if name != OURS))
    return {
        OPENCV: denoise_with_opencv,
        **{name: partial(clean, config) for name, config in alone.items()},
        QUICK: partial(make_training_line, quick, None),
        CACHED: partial(make_training_line, PreprocessConfig(CLASSIC), cache),
    }


def denoise_with_opencv(line: UInt8Image) -> None:
    cv2.fastNlMeansDenoising(cv2.cvtColor(line, cv2.COLOR_RGB2GRAY), None, 10, 7, 21)


def clean(config: PreprocessConfig, line: UInt8Image) -> None:
    preprocess(line, config)


def make_training_line(config: PreprocessConfig, cache: StepCache | None, line: UInt8Image) -> None:
    """Do what training does with a line: clean it, distort it, bring it to the canvas as image processors do."""
    cleaned, _ = preprocess(line, config, cache)
    distorted = augment(cleaned, np.random.default_rng(0), PERSPECTIVE)
    Image.fromarray(distorted).resize(CANVAS, Image.Resampling.BILINEAR)


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
