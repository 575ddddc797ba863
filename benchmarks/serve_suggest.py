"""Do lines that `quill serve` suggests teach more than the first lines in page order?

    python benchmarks/serve_suggest.py --root DIR --json benchmarks/results/serve_suggest.json

The built-in model is taught one hand with the same numbers of lines, chosen in two ways: as the pages come, and as
`GET .../suggest` chooses them by what the model reads. From the errors after each number, how many lines in page order
teach as much as the suggested ones is read off the line through the points of page order, by the logarithm of lines. A
person corrects the lines, so the texts are the true ones. All trainings see as many lines, without a choice of
checkpoint, and are measured on the same lines, which are in none. One training each; another order of pages or another
seed gives other figures.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from line_sets import write_lines
from record import describe_machine, save

from quillread.data.source import Source, fixed_sample
from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.compare import compare
from quillread.evaluate.predictions import Prediction
from quillread.options import ReadOptions
from quillread.reader import Reader
from quillread.serve.archive.suggesting import Candidate, choose_by_page
from quillread.types import Sample

LETTRES = "modern-roman-languages/bnf-ge-dd-2025-(-res)"


@dataclass(frozen=True)
class Hand:
    """Lines of one hand: those that may be corrected, page by page, and those that are reported."""

    name: str
    source: Source
    pages: Sequence[Sequence[int]]
    reported: Sequence[Sample]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder with peraire and lettres")
    parser.add_argument("--steps", type=int, default=60, help="steps of 16 lines of each training")
    parser.add_argument("--lines", type=int, nargs="+", default=[10, 20, 40, 60], help="lines to teach")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    machine = describe_machine()
    rows: list[dict[str, Any]] = []
    needed: dict[str, dict[int, float | None]] = {}
    for hand in (peraire(args.root), lettres(args.root)):
        candidates = read(hand)
        before = measure("builtin", hand)
        show({"hand": hand.name, "lines": 0, "order": "none", "cer_spacing": rate(before)})
        for count in args.lines:
            rows += compare_orders(hand, candidates, count, args.steps, before)
        of_hand = [row for row in rows if row["hand"] == hand.name]
        needed[hand.name] = share_of_lines(rate(before), of_hand)
        print(
            f"{hand.name}: lines as a share of those that teach as much in page order: {needed[hand.name]}", flush=True
        )
        if args.json:
            save(args.json, "serve_suggest", machine, {"steps": args.steps, "rows": rows, "share_of_lines": needed})


def share_of_lines(before: float, rows: Sequence[dict[str, Any]]) -> dict[int, float | None]:
    """For each number of suggested lines, what share they are of the lines in page order that leave as many errors.

    None where page order does not get as far with the most lines that were tried.
    """
    in_order = [(row["lines"], row["cer_spacing"]) for row in rows if row["order"] == "pages"]
    # Errors do not rise with lines but by chance: the least so far counts.
    rates = np.minimum.accumulate([before, *(found for _, found in in_order)])
    logs = np.log([1, *(lines for lines, _ in in_order)])
    shares: dict[int, float | None] = {}
    for row in rows:
        if row["order"] == "suggested":
            as_many = float(np.exp(np.interp(-row["cer_spacing"], -rates, logs)))
            shares[row["lines"]] = round(row["lines"] / as_many, 2) if row["cer_spacing"] >= rates[-1] else None
    return shares


def peraire(root: Path) -> Hand:
    """Documents are pages; 200 random lines and the validation split are reported, as in `personal.py`."""
    spec = parse_spec(f"hub:{root / 'peraire'}")
    source, validation = open_source(spec, "train"), open_source(spec, "validation")
    held = np.random.default_rng(7).permutation(len(source))[:200]
    reported = [fixed_sample(source, int(i)) for i in held]
    reported += [fixed_sample(validation, i) for i in range(len(validation))]
    left = [i for i in range(len(source)) if i not in set(held.tolist())]
    pages: dict[str, list[int]] = {}
    for i in left:
        pages.setdefault(source.group(i), []).append(i)
    return Hand("peraire", source, list(pages.values()), reported)


def lettres(root: Path) -> Hand:
    """One manuscript that is in no training, in pages of 25 lines; two lines of five are reported."""
    source = open_source(parse_spec(f"hub:{root / 'lettres'}"), "validation")
    own = [i for i in range(len(source)) if source.group(i) == LETTRES]
    reported = [fixed_sample(source, i) for place, i in enumerate(own) if place % 5 in (1, 3)]
    pages = [[i for at, i in enumerate(own[start : start + 25]) if at % 5 not in (1, 3)]
             for start in range(0, len(own), 25)]  # fmt: skip
    return Hand("lettres", source, pages, reported)


def read(hand: Hand) -> list[Candidate]:
    """What the built-in model reads in the lines that may be corrected, as the server reads them."""
    found = []
    with Reader(ReadOptions(threads=1), lines=True) as reader:
        for number, page in enumerate(hand.pages):
            transcripts = reader.read_lines([fixed_sample(hand.source, i).image for i in page])
            for i, got in zip(page, transcripts, strict=True):
                found.append(Candidate(i, number, got.text, got.expected_error or 0.0))
    return found


def compare_orders(
    hand: Hand, candidates: Sequence[Candidate], count: int, steps: int, before: Sequence[Prediction]
) -> list[dict[str, Any]]:
    in_order = [i for page in hand.pages for i in page][:count]
    suggested = [line.id for line in choose_by_page(candidates, [], count)]
    rows, read_by = [], {}
    for order, chosen in (("pages", in_order), ("suggested", suggested)):
        with tempfile.TemporaryDirectory() as folder:
            begun = seconds()
            write_lines([(hand.source, chosen)], Path(folder) / "lines", "train")
            train(Path(folder), steps)
            read_by[order] = measure(str(Path(folder) / "run" / "model"), hand)
            row = {
                "hand": hand.name,
                "lines": count,
                "order": order,
                "characters": sum(len(hand.source.text(i)) for i in chosen),
                "cer_before": rate(before),
                "cer_spacing": rate(read_by[order]),
                "cpu_seconds": round(seconds() - begun, 1),
            }
            rows.append(row)
            show(row)
    (found,) = (
        each for each in compare(read_by["pages"], read_by["suggested"], np.random.default_rng(0))
        if each.metric == "cer_spacing"
    )  # fmt: skip
    rows[-1] |= {"difference": found.difference, "ci95": list(found.ci95), "p": found.p_value}
    print(
        f"  suggested - pages: {100 * found.difference:+.2f} ({100 * found.ci95[0]:.2f} to {100 * found.ci95[1]:.2f})"
    )
    return rows


def train(folder: Path, steps: int) -> None:
    command = [sys.executable, "-m", "quillread.cli.main", "train", "--model", "builtin", "--data", "hub:lines"]
    for name, value in (("epochs", 1), ("epoch_lines", 16 * steps), ("validation_share", 0), ("workers", 0)):
        command += ["--set", f"{name}={value}"]
    subprocess.run([*command, "--output", "run"], check=True, cwd=folder, stdout=subprocess.DEVNULL)


def measure(model: str, hand: Hand) -> list[Prediction]:
    """Read the reported lines without a language."""
    with Reader(ReadOptions(models=(model,), lm=("none",), threads=1), lines=True) as reader:
        found = reader.read_lines([sample.image for sample in hand.reported])
    return [
        Prediction(f"{i} {sample.id}", "", sample.text, got.text, got.confidence)
        for i, (sample, got) in enumerate(zip(hand.reported, found, strict=True))
    ]


def rate(rows: Sequence[Prediction]) -> float:
    return next(
        each.baseline for each in compare(rows, rows, np.random.default_rng(0), 1) if each.metric == "cer_spacing"
    )


def seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def show(row: dict[str, Any]) -> None:
    print(f"{row['hand']}, {row['lines']} lines, {row['order']}: CER {100 * row['cer_spacing']:.2f} %", flush=True)


if __name__ == "__main__":
    main()
