"""The lines that a person should proofread, so that the others hold few errors; and what was read in all."""

from collections.abc import Callable
from pathlib import Path

from quillread.decode.confidence import choose_for_review
from quillread.errors import Fault, printable
from quillread.files import AtomicFile, naming
from quillread.formats.plain import as_text
from quillread.types import DocumentInfo, Scan

REVIEW_NAME = "review.tsv"
"""The list, in the output folder."""
_USUAL = 0.05
"""Error rate of the other lines, where none is asked for."""


class ReviewList:
    """Collects the lines of a run, and counts its pages.

    Args:
        target: Error rate that lines which nobody proofreads may be expected to hold; None if no list is asked for.

    Attributes:
        pages: How many came.
    """

    def __init__(self, target: float | None = None) -> None:
        self._target = target
        self._rates: list[float | None] = []
        self._lengths: list[int] = []
        self._rows: list[tuple[str, int, int, str]] = []
        self.pages = self._failed = self._noted = 0

    def writer(self) -> "ReviewWriter":
        """Make what takes the lines of an input."""
        return ReviewWriter(self)

    def take(self, source: str, scan: Scan) -> None:
        """Note a page with its lines that were read."""
        self.pages += 1
        self._failed += scan.page.fault is not None
        self._noted += bool(scan.page.notes)
        for number, line in enumerate(scan.page.lines, 1):
            if line.transcript is not None:
                self._rates.append(line.transcript.expected_error)
                self._lengths.append(max(len(line.transcript.text), 1))
                if self._target is not None:
                    self._rows.append((source, scan.page.number, number, line.transcript.text))

    def summary(self) -> str:
        """What was read, and how much of it a person should look at."""
        text = f"{_count(self.pages - self._failed, 'page')} with {_count(len(self._rates), 'line')} read"
        if self._target is None and self._rates and None not in self._rates:
            text += f", {len(self._chosen(_USUAL))} of them to proofread (--review {_USUAL} lists them)"
        if self._noted:
            text += f"; {_count(self._noted, 'page')} with something skipped or amiss"
        return text

    def finish(
        self, output: Path | None, say: Callable[[str], None], told: Callable[[Path, str], None] | None = None
    ) -> None:
        """Tell which lines to proofread.

        Args:
            output: Folder for the list; if there is none, it is said line by line.
            say: Takes what is to be told, with ends of lines in it if names and texts have some.
            told: Told of the list just before it stands in its place; see `AtomicFile`.

        Raises:
            OutputError: If the list cannot be written.
        """
        target = self._target or 0.0
        chosen = self._chosen(target)
        if output is not None:
            rows = ["input\tpage\tline\texpected_cer\ttext", *map(self._row, chosen)]
            _write(output / REVIEW_NAME, "\n".join(rows) + "\n", told)
        else:
            for i in chosen:
                source, page, line, text = self._rows[i]
                cer = f"expected CER {100 * self._rate(i):.0f} %"
                say(" ".join(f"review {source}, page {page}, line {line} ({cer}): {text}".split("\n")))
        say(f"proofread {len(chosen)} of {len(self._rates)} lines; the others are expected to hold "
            f"at most {100 * target:.3g} % errors")  # fmt: skip

    def _chosen(self, target: float) -> list[int]:
        return choose_for_review([self._rate(i) for i in range(len(self._rates))], self._lengths, target)

    def _rate(self, place: int) -> float:
        rate = self._rates[place]
        return 1.0 if rate is None else rate

    def _row(self, place: int) -> str:
        source, page, line, text = self._rows[place]
        cells = (source, str(page), str(line), f"{self._rate(place):.4f}", text)
        return "\t".join(as_text(printable(cell.replace("\t", " "))) for cell in cells)


def _write(path: Path, text: str, told: Callable[[Path, str], None] | None) -> None:
    part = AtomicFile(path, told)
    try:
        with naming(path):
            part.file.write(text.encode(errors="backslashreplace"))
        part.commit()
    finally:
        part.discard()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class ReviewWriter:
    """Takes the pages of one input."""

    def __init__(self, review: ReviewList) -> None:
        self._review = review

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._source = info.source

    def add(self, scan: Scan) -> None:
        """Note the next page."""
        self._review.take(self._source, scan)

    def close(self, fault: Fault | None) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is half written."""
