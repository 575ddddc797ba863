"""`quill train`: train a model on lines with known text."""

import argparse
import logging
import os
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quillread.cli.options import add_column_options, with_columns
from quillread.cli.progress import say
from quillread.config import apply_overrides, build, dump, read_yaml, suggest
from quillread.errors import ConfigError, ExitCode
from quillread.extras import require
from quillread.models.model_folder import INFO_NAME

if TYPE_CHECKING:
    from quillread.train.config import TrainConfig


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = "Train a model. Ctrl-C saves a checkpoint; --resume goes on from it."
    parser.add_argument("--config", metavar="FILE|PRESET", help=f"YAML settings, or one of: {', '.join(presets())}")
    parser.add_argument("--data", action="append", default=[], metavar="SPEC", help="training lines; may be repeated")
    parser.add_argument("--validation", action="append", default=[], metavar="SPEC", help="validation lines")
    add_column_options(parser)
    parser.add_argument("--model", metavar="NAME", help="model to start from: a name, a folder or org/name@revision")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="start from a model of another shape, or a TrOCR model that lacks tensors: what is missing is drawn at "
        "random",
    )
    old = parser.add_mutually_exclusive_group()
    old.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --output")
    old.add_argument("--overwrite", action="store_true", help="delete the run that --output holds, and start anew")
    parser.add_argument(
        "--folds",
        type=_folds,
        metavar="N",
        help="train N models, each without another Nth of the writers, into fold-1 to fold-N of --output; "
        "`quill read --model fold-1/model --model ...` lets them vote",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting, as a.b=c",
    )
    parser.set_defaults(run=run)


def _folds(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"must be 2 or more, got {text!r}")
    return int(text)


def presets() -> list[str]:
    """Names of the shipped configurations."""
    folder = files("quillread.train") / "presets"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def run(args: argparse.Namespace) -> int:
    """Train; 130 if interrupted after the checkpoint was saved."""
    from quillread.train.config import TrainConfig

    # Before torch is imported, which takes seconds: a mistyped setting is told at once.
    config = build(TrainConfig, _values(args), args.config or "settings")
    # Threads that wait by spinning slow a training several times over as soon as another program runs beside it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for module in ("torch", "transformers", "accelerate"):
        require(module, "train")
    from quillread.train.finetune import finetune

    # What was chosen for this machine is told without being asked for.
    logging.getLogger("quillread.train.finetune").setLevel(logging.INFO)
    for part, output in _runs(config, args):
        # Of folds, some may not have come to their first checkpoint.
        resume = args.resume and (args.folds is None or any(output.glob("checkpoint-*")))
        overwrite = args.overwrite or (args.resume and not resume)
        result = finetune(part, output, resume=resume, overwrite=overwrite, progress=sys.stderr.isatty())
        if not result.finished:
            again = "the same command and --resume" if args.folds else f"quill train --resume --output {args.output}"
            say(f"interrupted; go on with: {again}")
            return ExitCode.INTERRUPTED
        if os.environ.get("RANK", "0") == "0":  # one of several processes speaks for all
            print(result.model)
    return 0


def _runs(config: "TrainConfig", args: argparse.Namespace) -> "list[tuple[TrainConfig, Path]]":
    """The runs that are asked for, each with its folder; with --resume only those that are not done."""
    if args.folds is None:
        return [(config, args.output)]
    runs = [
        (replace(config, name=f"{config.name}-{fold}", fold=(fold, args.folds)), args.output / f"fold-{fold}")
        for fold in range(1, args.folds + 1)
    ]
    return [(part, output) for part, output in runs if not (args.resume and (output / "model").is_dir())]


def _values(args: argparse.Namespace) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if args.resume and not (args.config or args.data or args.model):
        values = read_yaml(args.output / "train.json")  # JSON is YAML
    elif args.config:
        values = read_yaml(_config_path(args.config))
        if args.model:
            values = _settings_of(args.model) | values
    elif args.model:
        own = _settings_of(args.model)
        preset = "personal" if own["family"] == "compact" else "trocr-base"
        values = read_yaml(_config_path(preset)) | own | {"name": f"{own['name']}-finetuned"}
    values = apply_overrides(values, args.settings)
    if not args.model and (start := values.get("start")) and (Path(start) / INFO_NAME).is_file():
        values = _settings_of(start) | values
    # What the command line names takes the place of what the file names, never adds to it.
    if args.data:
        values["data"] = args.data
        values["validation"] = []
    if args.validation:
        values["validation"] = args.validation
    if args.model:
        values["start"] = args.model
    if args.allow_partial:
        values["allow_partial"] = True
    if args.image_column or args.text_column:
        _name_columns(values, args)
    return values


def _name_columns(values: dict[str, Any], args: argparse.Namespace) -> None:
    """Add the columns named by flags to all data, that of the file included."""
    data, validation = list(values.get("data", ())), list(values.get("validation", ()))
    named = with_columns(data + validation, args)
    values |= {"data": named[: len(data)], "validation": named[len(data) :]}


def _settings_of(model: str) -> dict[str, Any]:
    """The settings that belong to the weights of a model; a run that starts from it has them unless told otherwise."""
    from quillread.models.catalog import describe

    info = describe(model).info
    values = {"family": info.family, "name": info.name, "preprocess": dump(info.preprocess)}
    if info.family == "compact":
        network = info.provenance.get("training", {}).get("network", {})
        return values | {"charset": info.charset, "ink": dump(info.ink), "network": network}
    return values | {"canvas": dump(info.canvas), "generate": dump(info.generate)}


def _config_path(name: str) -> Path:
    if name in presets():
        return Path(str(files("quillread.train") / "presets" / f"{name}.yaml"))
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"{name}: is neither a file nor a preset{suggest(name, presets())}")
    return path
