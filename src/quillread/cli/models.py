"""quill models: list models, show one, convert, export, quantise or calibrate one, write its adapters."""

import argparse
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from quillread import config
from quillread.cli.options import positive_number
from quillread.cli.progress import say, tell_seen
from quillread.cli.targets import target_path
from quillread.errors import ModelError, UsageError
from quillread.extras import require
from quillread.files import naming, unfinished_folder
from quillread.models.catalog import PUBLISHED, SHIPPED, describe, resolve
from quillread.models.compact.onnx_file import CompactConfig
from quillread.models.model_folder import CARD_NAME, INFO_NAME, ONNX_NAME, read_info, write_info
from quillread.models.trocr.files import summarise
from quillread.models.trocr.onnx_folder import is_exported, read_facts


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    parser.description = "List models, show one, convert, quantise or calibrate one, average checkpoints."
    actions = parser.add_subparsers(
        dest="action", metavar="list|show|convert|export|adapter|quantise|calibrate|average", required=True
    )
    text = "list the models that ship with quillread, and the published ones that it can download"
    listing = actions.add_parser("list", help=text, description=f"{text[0].upper()}{text[1:]}.")
    listing.set_defaults(run=run_list)
    text = "show the model card of a model, or all that is recorded of it"
    show = actions.add_parser("show", help=text, description=f"{text[0].upper()}{text[1:]}.")
    show.add_argument("model", help="name, folder, or org/name@revision of the Hugging Face hub")
    show.add_argument("--json", action="store_true", help="show all that is recorded, as JSON")
    show.set_defaults(run=run_show)
    text = "copy a TrOCR model whose weights are a pickle, with its weights as safetensors"
    convert = actions.add_parser("convert", help=text, description=f"{text[0].upper()}{text[1:]}.")
    convert.add_argument("source", metavar="SRC", help="folder, or org/name@revision of the Hugging Face hub")
    convert.add_argument("target", metavar="DEST", type=target_path, help="folder to make")
    convert.set_defaults(run=run_convert)
    text = "export a TrOCR model: it is read without torch, and faster on a CPU with eight-bit weights"
    export = actions.add_parser("export", help=text, description=f"{text[0].upper()}{text[1:]}.")
    export.add_argument("source", metavar="SRC", help="folder, or org/name@revision of the Hugging Face hub")
    export.add_argument("target", metavar="DEST", type=target_path, help="folder to make")
    export.add_argument("--to", choices=("onnx",), default="onnx", help="form to export to (default: %(default)s)")
    export.add_argument(
        "--weights",
        choices=("float32", "int8"),
        default="int8",
        help="number type of the matrices: int8 is a quarter of the size and fastest (default: %(default)s)",
    )
    export.set_defaults(run=run_export)
    _add_adapter(actions)
    text = "copy a compact model with eight-bit weights: a quarter of the size, faster on a CPU"
    quantise = actions.add_parser("quantise", help=text, description=f"{text[0].upper()}{text[1:]}.")
    quantise.add_argument("source", metavar="SRC", help="name or folder of a compact model")
    quantise.add_argument("target", metavar="DEST", type=target_path, help="folder to make")
    quantise.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="SPEC",
        help="lines like those to be read, to take the ranges of numbers from; of the train split; may be repeated",
    )
    quantise.add_argument(
        "--lines", type=positive_number, default=200, metavar="N", help="lines to look at (default: %(default)s)"
    )
    quantise.set_defaults(run=run_quantise)
    text = "fit the confidences of a model to validation lines: how often what it reads is right"
    calibrate = actions.add_parser("calibrate", help=text, description=f"{text[0].upper()}{text[1:]}.")
    calibrate.add_argument(
        "folder", type=Path, metavar="FOLDER", help=f"folder of the model; its {INFO_NAME} is changed"
    )
    calibrate.add_argument(
        "--data", action="append", required=True, metavar="SPEC", help="lines of the validation split; may be repeated"
    )
    calibrate.add_argument(
        "--lines",
        type=positive_number,
        default=100,
        metavar="N",
        help="lines of each data set, evenly spread (default: %(default)s)",
    )
    calibrate.set_defaults(run=run_calibrate)
    text = "make one model of the last checkpoints of a run, or of several models: the mean of their weights"
    average = actions.add_parser("average", help=text, description=f"{text[0].upper()}{text[1:]}.")
    average.add_argument(
        "sources",
        nargs="+",
        metavar="RUN|MODEL",
        help="folder of a run; or two models and more: the mean of their weights, in place of that of checkpoints",
    )
    average.add_argument("target", type=target_path, metavar="DEST", help="folder to make")
    average.add_argument(
        "--last", type=positive_number, default=2, metavar="N", help="how many checkpoints (default: %(default)s)"
    )
    average.set_defaults(run=run_average)


def _add_adapter(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "write the low-rank adapters of a training by themselves: a few megabytes, read beside their model"
    adapter = actions.add_parser("adapter", help=text, description=f"{text[0].upper()}{text[1:]}.")
    adapter.add_argument(
        "source",
        metavar="RUN|FOLDER",
        type=Path,
        help="folder of a run with tuning.lora, of one of its checkpoints, or of adapters that PEFT or this command "
        "wrote",
    )
    adapter.add_argument("target", metavar="DEST", type=target_path, help="folder to make")
    adapter.add_argument(
        "--base",
        metavar="NAME",
        help="the model that they belong to: a folder, or org/name@revision of the Hugging Face hub (default: as "
        "recorded)",
    )
    adapter.set_defaults(run=run_adapter)


def run_list(args: argparse.Namespace) -> int:
    """Print a line for each model: name, size, purpose, and what is known of those that ship."""
    for name, own in SHIPPED.items():
        size = f"{describe(name).size / 1e6:.1f} MB"
        print(
            name, size, own.purpose, own.languages, f"{own.centuries} century", own.licence, f"CER {own.cer}", sep="\t"
        )
    for name, known in PUBLISHED.items():
        # Stored as float32.
        print(f"{name}\t{4 * known.parameters} MB\t{known.purpose} ({known.licence}; to be downloaded)")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the model card, or the record of the model as JSON."""
    entry = describe(args.model)
    card = entry.folder / CARD_NAME
    if args.json or not card.is_file():
        record = config.dump(entry.info)
        if entry.info.family == "trocr":
            exported = is_exported(entry.folder)
            record |= {"export": config.dump(read_facts(entry.folder))} if exported else summarise(entry.folder)
        print(_as_json(record, args.model))
    else:
        print(card.read_text(encoding="utf-8", errors="replace"), end="")
    return 0


def _as_json(record: dict[str, Any], name: str) -> str:
    try:
        return json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError as error:
        message = f"{name}: its settings hold a number that is not finite, for which JSON has no form"
        raise ModelError(message, hint="take the settings of the model that this one is from") from error


def run_convert(args: argparse.Namespace) -> int:
    """Convert a model folder."""
    require("torch", "train")
    # Late, because it imports torch.
    from quillread.models.trocr.loading import convert

    convert(resolve(args.source), args.target)
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Export a TrOCR model."""
    for package in ("torch", "transformers", "onnx"):
        require(package, "train")
    # Late, because it imports torch.
    from quillread.models.trocr.export import export

    entry = describe(args.source)
    if entry.info.family != "trocr":
        raise UsageError(f"{args.source}: is a compact model, which is read with onnxruntime as it is")
    if is_exported(entry.folder):
        raise UsageError(f"{args.source}: is exported already", hint="export the model that it was made of")
    if args.target.exists():
        raise UsageError(f"{args.target}: exists already", hint="name a folder that is to be made")
    export(entry, args.target, args.weights)
    print(args.target)
    return 0


def run_adapter(args: argparse.Namespace) -> int:
    """Write the adapters of a training."""
    for package in ("torch", "transformers"):
        require(package, "train")
    # Late, because it imports torch.
    from quillread.train.trocr.delivery import write_adapter

    if args.target.exists():
        raise UsageError(f"{args.target}: exists already", hint="name a folder that is to be made")
    write_adapter(args.source, args.target, args.base)
    print(args.target)
    return 0


def run_quantise(args: argparse.Namespace) -> int:
    """Quantise a compact model."""
    # Late, because they import onnx and what reads data.
    require("onnx", "train")
    from quillread.data.spec import open_source, parse_spec
    from quillread.models.compact.onnx_file import read_weights
    from quillread.models.compact.quantise import quantise, sample_pixels

    entry = describe(args.source)
    if entry.info.family != "compact":
        raise UsageError(f"{args.source}: is a TrOCR model; eight bits are for compact ones")
    if args.target.exists():
        raise UsageError(f"{args.target}: exists already", hint="name a folder that is to be made")
    network = entry.info.provenance.get("training", {}).get("network")
    if network is None:
        raise ModelError(f"{args.source}: its {INFO_NAME} does not say what its network is like")
    shape = config.build(CompactConfig, network, f"{INFO_NAME} of {args.source}")
    sources = [open_source(parse_spec(spec), "train") for spec in args.data]
    pixels = sample_pixels(sources, args.lines, entry.info)
    with naming(args.target), unfinished_folder(args.target) as part:
        logging.disable(logging.WARNING)  # onnxruntime recommends to fold norms first, which is done
        try:
            quantise(read_weights(entry.folder / ONNX_NAME), shape, pixels, part / ONNX_NAME)
        finally:
            logging.disable(logging.NOTSET)
        for path in entry.folder.iterdir():
            if path.is_file() and path.name != ONNX_NAME:
                shutil.copy(path, part)
        card = part / CARD_NAME
        if card.is_file():
            ranges = f"ranges from {len(pixels)} lines of {', '.join(args.data)}"
            with card.open("a", encoding="utf-8") as told:
                told.write(f"\n## Eight-bit weights\n\nMade by `quill models quantise`, {ranges}.\n")
                told.write("The figures above are those of the network before.\n")
        part.rename(args.target)
    print(args.target)
    return 0


def run_calibrate(args: argparse.Namespace) -> int:
    """Fit the confidences of a model."""
    require("torch", "train")
    # Late, because they import torch.
    from quillread.data.seen import mark
    from quillread.data.spec import parse_spec
    from quillread.evaluate.calibration import FEWEST, fit_calibrations
    from quillread.evaluate.language_tuning import refit_curve
    from quillread.recognize.load import load
    from quillread.train.lines import open_validation, pair_up
    from quillread.types import Calibration

    name = str(args.folder)
    if name in SHIPPED and not args.folder.is_dir():
        raise UsageError(
            f"{name}: ships with quillread, so its confidences are those of all who use it",
            hint=f"copy {resolve(name)}, and name the copy",
        )
    info = read_info(args.folder)
    recognizer = load(str(args.folder.absolute()))  # a bare name may be that of a model that ships
    recognizer.info = replace(info, line_calibration=Calibration(), word_calibration=Calibration())
    sets = open_validation([parse_spec(spec) for spec in args.data], args.lines)
    tell_seen([mark(sample) for part in sets for sample in part.samples], [info])
    read = [recognizer.read([sample.image for sample in part.samples]) for part in sets]
    before = (info.line_calibration, info.word_calibration)
    pairs = list(pair_up(sets, read))
    of_lines, of_words = fit_calibrations(pairs, before if any(each != Calibration() for each in before) else None)
    if (of_lines, of_words) == before:
        few = f"these {len(pairs)} lines are fewer than {FEWEST}, which it takes to fit"
        say(f"the confidences stay: {few if len(pairs) < FEWEST else 'a fit to these lines foretells no better'}")
    curve = info.error_curve
    if of_words != info.word_calibration:  # on which the curve of `--review` rests
        lines = [line for part, found in zip(sets, read, strict=True) for line in zip(part.samples, found, strict=True)]
        curve = refit_curve(lines, of_words)
    fitted = replace(info, line_calibration=of_lines, word_calibration=of_words, error_curve=curve)
    write_info(fitted, args.folder)
    print(args.folder)
    return 0


def run_average(args: argparse.Namespace) -> int:
    """Average checkpoints or models."""
    require("torch", "train")
    # Late, because it imports torch.
    from quillread.train.run_folder import average_models, average_run

    if args.target.exists():
        raise UsageError(f"{args.target}: exists already", hint="name a folder that is to be made")
    if len(args.sources) > 1:
        average_models(args.sources, args.target)
        names = args.sources
    else:
        names = [path.name for path in average_run(Path(args.sources[0]), args.last, args.target)]
    print(f"{args.target}: the mean of {', '.join(names)}")
    return 0
