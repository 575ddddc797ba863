"""What each step of the classic preprocessing changes: the built-in model fine-tuned with it, and without.

Every run starts from the built-in model and sees the same lines in the same order for the same number of steps: one
half line images of IAM (64 pixels high), one half lines cut from pages at full resolution. Each is measured on both.
"grayscale" has no run of its own: the compact model sees grey images in any case.
"""

import argparse
import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from line_sets import write_lines
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.metrics import score_line, summarise
from quillread.images.augment import STEPS, AugmentConfig
from quillread.images.preprocess import PreprocessConfig
from quillread.recognize.load import load
from quillread.train.config import ScheduleConfig, assemble
from quillread.train.finetune import finetune
from quillread.types import UInt8Image

CLASSIC = ("grayscale", "non_local_means", "median", "adaptive_threshold")
NEVER = AugmentConfig(**dict.fromkeys(STEPS, 0.0))
PERSPECTIVE = dataclasses.replace(NEVER, perspective=0.5)

VARIANTS: dict[str, tuple[tuple[str, ...], AugmentConfig, bool]] = {
    "none": ((), NEVER, False),
    "non_local_means": (("non_local_means",), NEVER, False),
    "median": (("median",), NEVER, False),
    "adaptive_threshold": (("adaptive_threshold",), NEVER, False),
    "perspective": ((), PERSPECTIVE, False),
    "classic steps": (CLASSIC, PERSPECTIVE, False),
    "224 x 224": ((), NEVER, True),
    "classic steps, 224 x 224": (CLASSIC, PERSPECTIVE, True),
    "sauvola": (("sauvola",), NEVER, False),
    "illumination": (("illumination",), NEVER, False),
    "deslant": (("deslant",), NEVER, False),
    "all distortions": ((), AugmentConfig(), False),
}
"""Name -> steps, distortions, and whether lines go through a square of 224 x 224 pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", required=True, metavar="SPEC", help="line images, such as hub:DIR/iam-line")
    parser.add_argument("--pages", required=True, metavar="SPEC", help="pages, such as page:DIR")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--train-lines", type=int, default=600, help="of each kind")
    parser.add_argument("--validation-lines", type=int, default=300, help="of each kind")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    machine = describe_machine()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for squared in (False, True):
            prepare(args, folder / str(squared), squared)
        for name in args.variants:
            runs = [run(folder, name, seed + 1, args.steps) for seed in range(args.seeds)]
            rows.append({"variant": name, "runs": runs})
            print(table_row(rows[-1]), flush=True)
    if args.json:
        save(args.json, "ablation", machine, {"steps": args.steps, "rows": rows})


def prepare(args: argparse.Namespace, folder: Path, squared: bool) -> None:
    """Write the lines to train on and those to measure on, of both kinds."""
    change = through_square if squared else None
    for kind, (split, count) in itertools.product(
        ("lines", "pages"), (("train", args.train_lines), ("validation", args.validation_lines))
    ):
        source = open_source(parse_spec(getattr(args, kind)), split)
        with_text = [i for i in range(len(source)) if source.text(i).strip()]
        picks = np.random.default_rng(3).permutation(with_text)[:count]
        write_lines([(source, sorted(picks))], folder / kind, split, change)


def through_square(image: UInt8Image) -> UInt8Image:
    """Resize to 224 x 224 and back: what is lost there stays lost; a CTC model needs the width for its columns."""
    size = (image.shape[1], image.shape[0])
    square = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(square, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def run(folder: Path, name: str, seed: int, steps: int) -> dict[str, Any]:
    """Fine-tune once and measure on both kinds."""
    chain, distortions, squared = VARIANTS[name]
    data = folder / str(squared)
    changes = {
        "data": [f"hub:{data / kind}@0.5" for kind in ("lines", "pages")],
        "validation_share": 0.0,
        "preprocess": PreprocessConfig(steps=chain),
        "cache": folder / "cache",
        "augment": distortions,
        "schedule": ScheduleConfig(learning_rate=3e-4, warmup=0.1, shape="linear"),
        "epochs": 1,
        "epoch_lines": 24 * steps,
        "seed": seed,
    }
    config = assemble({}, "builtin", changes=changes)
    with tempfile.TemporaryDirectory() as output:
        model = finetune(config, Path(output) / "run", progress=False).model
        recognizer = load(str(model))
        return {kind: measure(recognizer, data / kind) for kind in ("lines", "pages")}


def measure(recognizer: Any, folder: Path) -> dict[str, Any]:
    source = open_source(parse_spec(f"hub:{folder}"), "validation")
    samples = [source.sample(i, np.random.default_rng(0)) for i in range(len(source))]
    read = recognizer.read([sample.image for sample in samples])
    scores = [score_line(s.text, t.text) for s, t in zip(samples, read, strict=True)]
    counts = {"cer_spacing": [score.cer_spacing for score in scores]}
    interval = bootstrap_ci(counts, [s.group for s in samples], np.random.default_rng(0))["cer_spacing"]
    return {"cer_spacing": summarise(scores)["cer_spacing"], "ci95": list(interval), "lines": len(samples)}


def table_row(row: dict[str, Any]) -> str:
    """One row of a Markdown table: the mean of the runs, each run, the interval of the first."""
    cells = [row["variant"]]
    for kind in ("lines", "pages"):
        rates = [100 * run[kind]["cer_spacing"] for run in row["runs"]]
        low, high = (100 * value for value in row["runs"][0][kind]["ci95"])
        each = ", ".join(f"{rate:.1f}" for rate in rates)
        cells.append(f"{sum(rates) / len(rates):.1f} ({each}; {low:.1f} to {high:.1f})")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
