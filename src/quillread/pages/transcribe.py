"""From a file to its text: open, find lines, cut them out, read them, put the words back on the page."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from quillread import config as configs
from quillread.errors import ImageError, QuillreadError
from quillread.images.crop import CropConfig, crop_line
from quillread.images.geometry import CoordMap
from quillread.images.read import Document, ReadConfig, open_document
from quillread.pages.segment import Segmenter, load_segmenter
from quillread.recognize.ensemble import LineReader
from quillread.types import Line, Page, Polygon, Reading, Region, Transcript, UInt8Image
from quillread.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PageConfig:
    """How pages are read."""

    segmenter: str = "classical"
    """Name of the line finder."""
    lines: bool = False
    """Take each page image as one line of writing, and find none."""
    read: ReadConfig = field(default_factory=ReadConfig)
    crop: CropConfig = field(default_factory=CropConfig)


class PageReader:
    """Reads documents with one model.

    Args:
        recognizer: Reads the lines.
        model: How results name the model.
        config: How pages are read.
    """

    def __init__(self, recognizer: LineReader, model: str, config: PageConfig | None = None) -> None:
        self._recognizer = recognizer
        self._config = config or PageConfig()
        self._segmenter: Segmenter | None = None if self._config.lines else load_segmenter(self._config.segmenter)
        self.provenance: dict[str, Any] = {
            "software": "quillread",
            "version": __version__,
            "model": model,
            "settings": configs.dump(self._config),
        }

    def read(self, source: Path | bytes, name: str | None = None) -> Reading:
        """Read an image file or PDF; whatever is wrong with it is in the result.

        Args:
            source: A path, or the content of a file.
            name: How the result names the input; the path if left out.
        """
        name = name or (str(source) if isinstance(source, Path) else "-")
        try:
            with open_document(source, self._config.read, name=name) as document:
                pages = tuple(self.pages(document))
        except Exception as error:  # whatever is wrong with one input must not lose the others
            return Reading(name, error=_explain(error, name), provenance=self.provenance)
        if any(page.error is None for page in pages):
            return Reading(name, pages, provenance=self.provenance)
        if len(pages) == 1:
            return Reading(name, error=pages[0].error, provenance=self.provenance)
        return Reading(name, pages, f"{name}: none of its {len(pages)} pages could be read", self.provenance)

    def pages(self, document: Document) -> Iterator[Page]:
        """Read the pages of a document one at a time; one that cannot be read carries its error."""
        for index in range(len(document)):
            where = document.name if len(document) == 1 else f"{document.name}, page {index + 1}"
            try:
                page = self._read_page(document.page(index), where)
            except Exception as error:  # whatever is wrong with one page must not lose the others
                page = Page("", 1, 0, 0, error=_explain(error, where))
            yield replace(page, source=document.name, number=index + 1)

    def read_page(self, image: UInt8Image) -> Page:
        """Read one page image, uint8 RGB (H, W, 3).

        Raises:
            ImageError: If the image is empty or of another form.
        """
        return self._read_page(image, "page")

    def _read_page(self, image: UInt8Image, where: str) -> Page:
        if self._segmenter is None:
            (read,) = self._recognizer.read([image])
            if read.rows > 1:
                log.warning("%s: holds %d rows of writing", where, read.rows)
            regions: tuple[Region, ...] = (_whole_image(image, read),)
        else:
            regions = self._read_lines(image, self._segmenter(image), where)
        return Page("", 1, image.shape[1], image.shape[0], regions)

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
            return crop_line(image, line, self._config.crop)
        except ImageError as error:
            # The line stays on the page without a transcript, where a reader will see that it was found.
            log.warning("%s: %s", where, error.message)
            return None


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
    corner = (image.shape[1], image.shape[0])
    words = []
    for word in transcript.words:
        points = np.clip(back.back_points(word.polygon.points), 0, corner)
        words.append(replace(word, polygon=Polygon(tuple((float(x), float(y)) for x, y in points))))
    return replace(transcript, words=tuple(words))
