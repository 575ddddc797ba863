"""`quill data fetch`: download a data set whose files lie in many places."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.options import whole_number
from quillread.cli.progress import ProgressLine
from quillread.data.spec import SPLITS

if TYPE_CHECKING:
    from quillread.data.fetch import FetchReport

_MORE_TO_HAVE = 3


def add_fetch(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `quill data`."""
    text = "download the images of a data set that is shared as a list of addresses"
    parser = actions.add_parser(
        "fetch",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. What is there already is kept, so the command can be stopped and "
        "given again. Exit code 3 if images failed that a later run may bring; 0 if only dead links and changed "
        "images are missing.",
    )
    parser.add_argument("name", choices=("imgur5k",), help="the data set")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="a clone of the data set's repository, with its lists in DIR/dataset_info; images go to DIR/images, "
        "a report to DIR/fetch-report.json",
    )
    parser.add_argument(
        "--split", action="append", choices=SPLITS, help="fetch this split only; may be repeated (default: all)"
    )
    parser.add_argument("--workers", type=whole_number, metavar="N", help="downloads at a time (default: 8)")
    parser.add_argument("--rate", type=float, metavar="N", help="requests per second at most (default: 10)")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds for one image (default: 30)")
    parser.add_argument("--retries", type=whole_number, metavar="N", help="further tries of an image (default: 3)")
    parser.add_argument("--base-url", metavar="URL", help="a mirror that has the images as URL/ID.jpg")
    parser.set_defaults(run=_run_fetch)


def _run_fetch(args: argparse.Namespace) -> int:
    from quillread.data.fetch import REPORT_NAME, FetchConfig, fetch_imgur5k

    names = ("workers", "rate", "timeout", "retries", "base_url")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    # A split named twice would be inspected twice.
    splits = tuple(dict.fromkeys(args.split or SPLITS))
    report = fetch_imgur5k(args.output, FetchConfig(**given), splits=splits, progress=ProgressLine("images"))
    print(_report_text(report))
    print(f"all of them are named in {args.output / REPORT_NAME}")
    return 0 if report.is_complete else _MORE_TO_HAVE


def _report_text(report: "FetchReport") -> str:
    counts = {
        "fetched": report.fetched,
        "there already": report.kept,
        "dead links": len(report.dead),
        "changed since the lists were made": len(report.changed),
        "failed": len(report.failed),
        "not tried": len(report.untried),
    }
    lines = [f"{report.listed} images: " + ", ".join(f"{n} {what}" for what, n in counts.items() if n)]
    for split, held in report.splits.items():
        images = held.images - len(held.missing) - len(held.changed) - len(held.unreadable)
        lines.append(
            f"{split}: {images} of {held.images} annotated images, {held.words} of {held.annotated} words can be used; "
            f"{len(held.illegible)} are marked illegible, {len(held.degenerate)} have no box with an area, "
            f"{len(held.outside)} lie mostly off their image, {len(held.leaving)} reach beyond it"
        )
    if not report.is_complete:
        lines.append("give the command again to try those that failed or were not tried")
    return "\n".join(lines)
