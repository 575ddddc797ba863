"""`quill train-segmenter`: train a line finder on pages."""

import argparse
import time
from pathlib import Path
from typing import Any

from quillread.cli.progress import ProgressLine
from quillread.cli.targets import target_path
from quillread.config import apply_overrides, build, read_yaml
from quillread.extras import require, require_fonts


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = "Train a line finder on pages with PAGE or ALTO files, and on pages made up of lines."
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML settings, such as the train.json of a run")
    parser.add_argument("--pages", action="append", default=[], metavar="DIR", help="training pages; may be repeated")
    parser.add_argument(
        "--lines", action="append", default=[], metavar="SPEC", help="lines to compose synthetic pages of"
    )
    parser.add_argument("--validation", action="append", default=[], metavar="DIR", help="validation pages")
    parser.add_argument("--output", type=target_path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="any setting, as a.b=c"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train."""
    for module in ("torch", "onnx"):
        require(module, "train")
    require_fonts()
    from quillread.train.finder.learner import SegmenterConfig
    from quillread.train.finder.training import train_segmenter

    config = build(SegmenterConfig, _values(args), str(args.config or "settings"))
    print(train_segmenter(config, args.output, time.monotonic, resume=args.resume, progress=ProgressLine("steps")))
    return 0


def _values(args: argparse.Namespace) -> dict[str, Any]:
    earlier = args.output / "train.json"
    path = args.config or (earlier if args.resume and earlier.is_file() else None)
    values = apply_overrides(read_yaml(path) if path else {}, args.settings)
    return values | {name: given for name in ("pages", "lines", "validation") if (given := getattr(args, name))}
