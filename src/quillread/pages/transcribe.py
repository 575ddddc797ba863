"""From a file to its text: open, find lines, cut them out, read them, put the words back on the page."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from quillread import config as configs
from quillread.errors import ImageError, QuillreadError
from quillread.formats.export import ExportInfo, Scan
from quillread.images.crop import CropConfig, crop_line
from quillread.images.geometry import CoordMap
from quillread.images.read import Document, ReadConfig, open_document
from quillread.images.sheet import SheetConfig, flatten_sheet
from quillread.pages.given import Layouts
from quillread.pages.segment import Segmenter, load_segmenter
from quillread.recognize.ensemble import LineReader
from quillread.types import Line, Page, Point, Polygon, Reading, Region, Transcript, UInt8Image
from quillread.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PageConfig:
    """How pages are read."""

    segmenter: str = "neural"
    """Name of the line finder."""
    lines: bool = False
    """Take each page image as one line of writing, and find none."""
    read: ReadConfig = field(default_factory=ReadConfig)
    sheet: SheetConfig = field(default_factory=SheetConfig)
    crop: CropConfig = field(default_factory=CropConfig)


KnownPages = Callable[[int], Page | None]


class Receiver(Protocol):
    """Is given what was read in an input, page by page."""

    def begin(self, info: ExportInfo) -> None:
        """Begin an input; it has no pages if it could not be opened."""

    def add(self, scan: Scan) -> None:
        """Take the next page."""

    def close(self, error: str | None) -> None:
        """End the input; `error` says why nothing of it could be read."""


class PageReader:
    """Reads documents with one model.

    Args:
        recognizer: Reads the lines.
        model: How results name the model.
        config: How pages are read.
        layouts: Knows the lines of the pages; they are found if left out.
    """

    def __init__(
        self,
        recognizer: LineReader,
        model: str,
        config: PageConfig | None = None,
        layouts: Layouts | None = None,
    ) -> None:
        self._recognizer = recognizer
        self.config = config or PageConfig()
        self._layouts = layouts
        finds_lines = not self.config.lines and layouts is None
        self._segmenter: Segmenter | None = load_segmenter(self.config.segmenter) if finds_lines else None
        self.provenance: dict[str, Any] = {
            "software": "quillread",
            "version": __version__,
            "model": model,
            "settings": configs.dump(self.config),
        }

    def read(self, source: Path | bytes | str, name: str | None = None) -> Reading:
        """Read an image file, PDF or IIIF manifest; whatever is wrong with it is in the result.

        Args:
            source: A path, the content of a file, or an address of the web.
            name: How the result names the input; the path if left out.
        """
        collector = _Collector()
        self.stream(source, collector, name)
        return collector.reading()

    def stream(
        self, source: Path | bytes | str, receiver: Receiver, name: str | None = None, known: KnownPages | None = None
    ) -> tuple[str, ...]:
        """Read an input and hand its pages on as they come; none is kept, so documents may have thousands.

        An input of one page that could not be read has no page, but an error of its own.

        Args:
            source: As for `read`.
            receiver: What it raises is not caught.
            name: As for `read`.
            known: Gives pages that were read before, by their number; they are not read again. One whose image cannot
                be had again keeps its text, and what went wrong is told.

        Returns:
            What went wrong with the input and its pages.
        """
        name = name or ("-" if isinstance(source, bytes) else str(source))
        try:
            document = open_document(source, self.config.read, name=name)
        except Exception as error:  # whatever is wrong with one input must not lose the others
            return self.refuse(name, _explain(error, name), receiver)
        with document:
            count, failed = len(document), 0
            errors: list[str] = []
            receiver.begin(ExportInfo(name, count, self.provenance))
            for scan in self.scans(document, known):
                failed += scan.page.error is not None
                errors.extend(filter(None, [scan.page.error or scan.missing]))
                if count > 1 or scan.page.error is None:
                    receiver.add(scan)
                del scan  # its image must not stay while the next page is decoded
        if failed < count:
            receiver.close(None)
        elif count == 1:
            receiver.close(errors[0])
        else:
            errors.insert(0, f"{name}: none of its {count} pages could be read")
            receiver.close(errors[0])
        return tuple(errors)

    def refuse(self, name: str, error: str, receiver: Receiver) -> tuple[str, ...]:
        """Hand on an input of which nothing can be read."""
        receiver.begin(ExportInfo(name, 0, self.provenance))
        receiver.close(error)
        return (error,)

    def scans(self, document: Document, known: KnownPages | None = None) -> Iterator[Scan]:
        """Read the pages of a document one at a time; one that cannot be read carries its error."""
        for index in range(len(document)):
            yield self._scan(document, index, known(index + 1) if known else None)

    def pages(self, document: Document) -> Iterator[Page]:
        """Read the pages of a document as `scans` does, without their images."""
        return (scan.page for scan in self.scans(document))

    def read_page(self, image: UInt8Image) -> Page:
        """Read one page image, uint8 RGB (H, W, 3).

        Raises:
            ImageError: If the image is empty or of another form.
        """
        return self._read_page(image, None, "page")

    def _scan(self, document: Document, index: int, known: Page | None) -> Scan:
        where = document.name if len(document) == 1 else f"{document.name}, page {index + 1}"
        image, regions, missing = None, None, None
        try:
            image = document.page(index)
            size = (image.shape[1], image.shape[0])
            if known is None and self._layouts is not None:
                regions = self._layouts.find(document.name, index + 1, len(document), size)
            page = known or self._read_page(image, regions, where)
        except Exception as error:  # whatever is wrong with one page must not lose the others
            if known is None:
                height, width = (0, 0) if image is None else image.shape[:2]
                page = Page("", 1, width, height, error=_explain(error, where))
            else:
                page, missing = known, f"{_explain(error, where)}\n  its text was read before and is kept"
        page = replace(page, source=document.name, number=index + 1)
        return Scan(page, image, document.paper_size(index), partial(document.jpeg, index), missing)

    def _read_page(self, image: UInt8Image, known: tuple[Region, ...] | None, where: str) -> Page:
        size = (image.shape[1], image.shape[0])
        if known is not None:
            return Page("", 1, *size, self._read_lines(image, known, where))
        if self._segmenter is None:
            (read,) = self._recognizer.read([image])
            if read.rows > 1:
                log.warning("%s: holds %d rows of writing", where, read.rows)
            return Page("", 1, *size, (_whole_image(image, read),))
        flat, back = flatten_sheet(image) if self.config.sheet.flatten else (image, None)
        regions = self._read_lines(flat, self._segmenter(flat), where)
        return Page("", 1, *size, regions if back is None else tuple(_move(region, back, size) for region in regions))

    def _read_lines(self, image: UInt8Image, regions: tuple[Region, ...], where: str) -> tuple[Region, ...]:
        cuts = [self._cut(image, line, where) for region in regions for line in region.lines]
        read = iter(self._recognizer.read([cut[0] for cut in cuts if cut]))
        placed = [_place(next(read), cut[1], image) if cut else None for cut in cuts]
        for number, transcript in enumerate(placed, start=1):
            if transcript and transcript.rows > 1:
                log.warning("%s: line %d holds %d rows of writing", where, number, transcript.rows)
        transcripts = iter(placed)
        return tuple(
            replace(region, lines=tuple(replace(line, transcript=next(transcripts)) for line in region.lines))
            for region in regions
        )

    def _cut(self, image: UInt8Image, line: Line, where: str) -> tuple[UInt8Image, CoordMap] | None:
        try:
            return crop_line(image, line, self.config.crop)
        except ImageError as error:
            # The line stays on the page without a transcript, where a reader will see that it was found.
            log.warning("%s: %s", where, error.message)
            return None


class _Collector:
    """Keeps all pages of an input, without their images."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self._info = ExportInfo("")
        self._error: str | None = None

    def begin(self, info: ExportInfo) -> None:
        self._info = info

    def add(self, scan: Scan) -> None:
        self._pages.append(scan.page)

    def close(self, error: str | None) -> None:
        self._error = error

    def reading(self) -> Reading:
        return Reading(self._info.source, tuple(self._pages), self._error, self._info.provenance)


def _explain(error: Exception, where: str) -> str:
    """Put in words why an input or page could not be read; errors of the reading of files name it themselves."""
    if isinstance(error, QuillreadError):
        return str(error) if error.message.startswith(where) else f"{where}: {error}"
    if isinstance(error, MemoryError):
        return (
            f"{where}: is too large for the memory\n  hint: lower read.max_pixels or read.pdf_dpi, or scan it smaller"
        )
    if isinstance(error, OSError):
        return f"{where}: cannot be read: {error.strerror or error}\n  hint: check the path and its permissions"
    log.info("%s", where, exc_info=error)
    return f"{where}: internal error: {error!r}\n  hint: this is a fault of quillread; please report it with the file"


def _whole_image(image: UInt8Image, transcript: Transcript) -> Region:
    height, width = float(image.shape[0]), float(image.shape[1])
    outline = Polygon(((0.0, 0.0), (width, 0.0), (width, height), (0.0, height)))
    # A line image shows no baseline; three quarters down is where writing with descenders mostly stands.
    return Region(outline, (Line(((0.0, 0.75 * height), (width, 0.75 * height)), outline, transcript),))


def _place(transcript: Transcript, back: CoordMap, image: UInt8Image) -> Transcript:
    """Move the words of a transcript from the line image to the page, within its borders."""
    size = (image.shape[1], image.shape[0])
    words = (replace(word, polygon=Polygon(_carry(word.polygon.points, back, size))) for word in transcript.words)
    return replace(transcript, words=tuple(words))


def _move(region: Region, back: CoordMap, size: tuple[int, int]) -> Region:
    """Move all of a region from a flattened page to the page, within its borders."""

    def moved(line: Line) -> Line:
        read = line.transcript
        if read is not None:
            words = (replace(word, polygon=Polygon(_carry(word.polygon.points, back, size))) for word in read.words)
            read = replace(read, words=tuple(words))
        polygon = Polygon(_carry(line.polygon.points, back, size))
        return replace(line, baseline=_carry(line.baseline, back, size), polygon=polygon, transcript=read)

    polygon = Polygon(_carry(region.polygon.points, back, size))
    return replace(region, polygon=polygon, lines=tuple(map(moved, region.lines)))


def _carry(points: tuple[Point, ...], back: CoordMap, size: tuple[int, int]) -> tuple[Point, ...]:
    moved = np.clip(back.back_points(points), 0, size)
    return tuple((float(x), float(y)) for x, y in moved)
