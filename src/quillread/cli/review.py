"""`quill read --review`: the lines that a person should look at, so that the others hold few errors."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from quillread.cli.progress import say
from quillread.files import write_atomic
from quillread.formats.export import ExportInfo, Scan
from quillread.types import Transcript

REVIEW_NAME = "review.tsv"
"""The list, in the folder of --output."""


def add_review_option(parser: argparse.ArgumentParser) -> None:
    """Add `--review`."""
    parser.add_argument(
        "--review",
        type=_share,
        metavar="CER",
        help="list the lines to check by hand so that the others are expected to hold at most this error rate, as 0.05 "
        f"for 5 %%: on stderr, or as {REVIEW_NAME} in the folder of --output",
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in 0 to 1, got {text!r}: 5 % is 0.05")
    return value


@dataclass
class ReviewList:
    """Collects the lines of a run."""

    lines: list[tuple[str, int, int, Transcript]] = field(default_factory=list)
    """Input, page and line, both from 1, and what was read."""

    def sink(self, info: ExportInfo) -> "_ReviewSink":
        """Begin an input."""
        return _ReviewSink(self, info.source)

    def finish(self, target: float, output: Path | None) -> None:
        """Tell which lines are to be checked.

        Args:
            target: Error rate that the other lines may be expected to hold.
            output: Folder for the list; stderr if there is none.

        Raises:
            OutputError: If the list cannot be written.
        """
        from quillread.decode.confidence import choose_for_review

        rates = [1.0 if read.expected_error is None else read.expected_error for *_, read in self.lines]
        chosen = choose_for_review(rates, [max(len(read.text), 1) for *_, read in self.lines], target)
        if output is not None:
            rows = ["input\tpage\tline\texpected_cer\ttext", *(self._row(i, rates[i]) for i in chosen)]
            write_atomic(output / REVIEW_NAME, ("\n".join(rows) + "\n").encode(errors="backslashreplace"))
        else:
            for i in chosen:
                source, page, line, read = self.lines[i]
                say(f"review {source}, page {page}, line {line} (expected CER {100 * rates[i]:.0f} %): {read.text}")
        say(f"{len(chosen)} of {len(self.lines)} lines are to be checked; the others are expected to hold "
            f"at most {100 * target:.3g} % errors")  # fmt: skip

    def _row(self, place: int, rate: float) -> str:
        source, page, line, read = self.lines[place]
        return "\t".join((" ".join(source.split()), str(page), str(line), f"{rate:.4f}", read.text.replace("\t", " ")))


class _ReviewSink:
    """Takes the pages of one input."""

    def __init__(self, review: ReviewList, source: str) -> None:
        self._review = review
        self._source = source

    def add(self, scan: Scan) -> None:
        """Note the lines of the next page that were read."""
        for number, line in enumerate(scan.page.lines, 1):
            if line.transcript is not None:
                self._review.lines.append((self._source, scan.page.number, number, line.transcript))

    def close(self, error: str | None) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is half written."""
