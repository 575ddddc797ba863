"""The lines that a person should proofread, so that the others hold few errors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from quillread.decode.confidence import choose_for_review
from quillread.errors import Fault
from quillread.files import write_atomic
from quillread.types import DocumentInfo, Scan, Transcript

REVIEW_NAME = "review.tsv"
"""The list, in the output folder."""


@dataclass
class ReviewList:
    """Collects the lines of a run."""

    lines: list[tuple[str, int, int, Transcript]] = field(default_factory=list)
    """Input, page and line, both from 1, and what was read."""

    def writer(self) -> "ReviewWriter":
        """Make what takes the lines of an input."""
        return ReviewWriter(self)

    def finish(self, target: float, output: Path | None, say: Callable[[str], None]) -> None:
        """Tell which lines to proofread.

        Args:
            target: Error rate that the other lines may be expected to hold.
            output: Folder for the list; if there is none, it is said line by line.
            say: Takes what is to be told.

        Raises:
            OutputError: If the list cannot be written.
        """
        rates = [1.0 if read.expected_error is None else read.expected_error for *_, read in self.lines]
        chosen = choose_for_review(rates, [max(len(read.text), 1) for *_, read in self.lines], target)
        if output is not None:
            rows = ["input\tpage\tline\texpected_cer\ttext", *(self._row(i, rates[i]) for i in chosen)]
            write_atomic(output / REVIEW_NAME, ("\n".join(rows) + "\n").encode(errors="backslashreplace"))
        else:
            for i in chosen:
                source, page, line, read = self.lines[i]
                say(f"review {source}, page {page}, line {line} (expected CER {100 * rates[i]:.0f} %): {read.text}")
        say(f"proofread {len(chosen)} of {len(self.lines)} lines; the others are expected to hold "
            f"at most {100 * target:.3g} % errors")  # fmt: skip

    def _row(self, place: int, rate: float) -> str:
        source, page, line, read = self.lines[place]
        return "\t".join((" ".join(source.split()), str(page), str(line), f"{rate:.4f}", read.text.replace("\t", " ")))


class ReviewWriter:
    """Takes the pages of one input."""

    def __init__(self, review: ReviewList) -> None:
        self._review = review

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._source = info.source

    def add(self, scan: Scan) -> None:
        """Note the lines of the next page that were read."""
        for number, line in enumerate(scan.page.lines, 1):
            if line.transcript is not None:
                self._review.lines.append((self._source, scan.page.number, number, line.transcript))

    def close(self, fault: Fault | None) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is half written."""
