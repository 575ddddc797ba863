"""quill models: list models, show one, convert one."""

import argparse
import json
from pathlib import Path

from quillread import config
from quillread.extras import require
from quillread.models.catalog import PUBLISHED, SHIPPED, describe, resolve
from quillread.models.trocr_files import summarise


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    text = "list models, show one, convert one"
    parser = subparsers.add_parser("models", help=text, description=f"{text[0].upper()}{text[1:]}.")
    actions = parser.add_subparsers(dest="action", metavar="list|show|convert", required=True)
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
    convert.add_argument("target", metavar="DEST", type=Path, help="folder to make")
    convert.set_defaults(run=run_convert)


def run_list(args: argparse.Namespace) -> int:
    """Print a line for each model: name, size, purpose."""
    for name, purpose in SHIPPED.items():
        print(f"{name}\t{describe(name).size / 1e6:.1f} MB\t{purpose}")
    for name, known in PUBLISHED.items():
        # Stored as float32.
        print(f"{name}\t{4 * known.parameters} MB\t{known.purpose} ({known.licence}; to be downloaded)")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the model card, or the record of the model as JSON."""
    entry = describe(args.model)
    card = entry.folder / "README.md"
    if args.json or not card.is_file():
        record = config.dump(entry.info)
        if entry.info.family == "trocr":
            record |= summarise(entry.folder)
        print(json.dumps(record, ensure_ascii=False, indent=2))
    else:
        print(card.read_text(encoding="utf-8", errors="replace"), end="")
    return 0


def run_convert(args: argparse.Namespace) -> int:
    """Convert a model folder."""
    require("torch", "train")
    # Late, because it imports torch.
    from quillread.models.convert import convert

    convert(resolve(args.source), args.target)
    return 0
