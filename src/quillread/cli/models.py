"""`quill models`: what models there are, and what is known of one."""

import argparse
import json

from quillread import config
from quillread.models.catalog import SHIPPED, describe


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser("models", help="list models, show one", description="List models, show one.")
    actions = parser.add_subparsers(dest="action", metavar="list|show", required=True)
    text = "list the models that ship with quillread"
    listing = actions.add_parser("list", help=text, description=f"{text[0].upper()}{text[1:]}.")
    listing.set_defaults(run=run_list)
    text = "show the model card of a model, or all that is recorded of it"
    show = actions.add_parser("show", help=text, description=f"{text[0].upper()}{text[1:]}.")
    show.add_argument("model", help="name or folder")
    show.add_argument("--json", action="store_true", help="show all that is recorded, as JSON")
    show.set_defaults(run=run_show)


def run_list(args: argparse.Namespace) -> int:
    """Print a line for each shipped model."""
    for name, purpose in SHIPPED.items():
        entry = describe(name)
        print(f"{name}\t{entry.size / 1e6:.1f} MB\t{purpose}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the model card, or the record of the model as JSON."""
    entry = describe(args.model)
    card = entry.folder / "README.md"
    if args.json or not card.is_file():
        print(json.dumps(config.dump(entry.info), ensure_ascii=False, indent=2))
    else:
        print(card.read_text(encoding="utf-8", errors="replace"), end="")
    return 0
