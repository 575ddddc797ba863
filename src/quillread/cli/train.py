"""`quill train`: train a model on lines with known text."""

import argparse
import logging
import signal
import sys
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Any

from quillread.cli.options import add_column_options, name_columns
from quillread.cli.progress import say
from quillread.cli.targets import target_path
from quillread.errors import ConfigError, ExitCode
from quillread.extras import require
from quillread.train.presets import presets

if TYPE_CHECKING:
    from quillread.train.config import TrainConfig


_RANDOM = "random"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = "Train a model. Ctrl-C saves a checkpoint; --resume continues from it."
    parser.add_argument("--config", metavar="FILE|PRESET", help=f"YAML settings, or one of: {', '.join(presets())}")
    parser.add_argument("--data", action="append", default=[], metavar="SPEC", help="training lines; may be repeated")
    parser.add_argument("--validation", action="append", default=[], metavar="SPEC", help="validation lines")
    add_column_options(parser)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"model to start from: a name, a folder or org/name@revision; {_RANDOM} for random weights (default: "
        "builtin, unless the settings say otherwise)",
    )
    parser.add_argument("--output", type=target_path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="start from a model of another shape, or a TrOCR model that lacks tensors: what is missing starts at "
        "random",
    )
    old = parser.add_mutually_exclusive_group()
    old.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")
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


def run(args: argparse.Namespace) -> int:
    """Train; 129, 130 or 143 if SIGHUP, Ctrl-C or SIGTERM interrupted it, after the checkpoint was saved."""
    # Before torch is imported, which takes seconds: a mistyped setting is told at once.
    config = _config(args)
    for module in ("torch", "transformers", "accelerate"):
        require(module, "train")
    from quillread.train import ranks
    from quillread.train.finetune import finetune, finetune_folds

    # What was chosen for this machine is told without being asked for.
    for name in ("finetune", "new_letters", "progress"):
        logging.getLogger(f"quillread.train.{name}").setLevel(logging.INFO)
    how = {"resume": args.resume, "overwrite": args.overwrite, "progress": sys.stderr.isatty()}
    if args.folds:
        results = finetune_folds(config, args.folds, args.output, **how)
    else:
        results = iter([finetune(config, args.output, **how)])
    for result in results:
        if not result.finished:
            again = (
                "the same command and --resume"
                if args.folds
                else f"quill train --resume --output {quote(str(args.output))}"
            )
            say(f"interrupted; go on with: {again}")
            return ExitCode(128 + (result.signal or signal.SIGINT))
        if ranks.is_first():  # of several processes one speaks for all
            print(result.model)
            model = quote(str(result.model))
            say(f"to read with it: quill read --model {model} PAGE")
            if config.family == "compact":
                say(f"to make it smaller and faster: quill models quantise {model} DIR --data SPEC")
    return 0


def _config(args: argparse.Namespace) -> "TrainConfig":
    """The settings of the run that the command line asks for."""
    from quillread.train.config import assemble, default_start, read_settings

    document = read_settings(args.config) if args.config else None
    if args.resume and not (args.config or args.data or args.model):
        record = args.output / "train.json"
        if not record.is_file():
            raise ConfigError(f"{args.output}: holds no run to resume: it has no {record.name}")
        document = read_settings(record)
    # What the command line names takes the place of what the file names, never adds to it.
    changes: dict[str, Any] = {"data": args.data, "validation": []} if args.data else {}
    if args.validation:
        changes["validation"] = args.validation
    if args.allow_partial:
        changes["allow_partial"] = True
    model = args.model
    if model is None:
        model = default_start(document, args.settings)
    elif model == _RANDOM:
        model, changes["start"] = None, None
    config = assemble(document, model, args.settings, changes, args.config or "settings")
    named = name_columns(config.data + config.validation, args)
    count = len(config.data)
    return replace(config, data=tuple(named[:count]), validation=tuple(named[count:]))
