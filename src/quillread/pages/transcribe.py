"""From a file to its text: open, find lines, cut them out, read them, put the words back on the page."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quillread import config as configs
from quillread.errors import ImageError, QuillreadError
from quillread.images.crop import CropConfig, crop_line
from quillread.images.geometry import CoordMap
from quillread.images.read import Document, ReadConfig, open_document
from quillread.pages.segment import Segmenter, load_segmenter
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import Line, Page, Polygon, Reading, Region, Transcript, UInt8Image, Word
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

    def __init__(self, recognizer: LineRecognizer, model: str, config: PageConfig | None = None) -> None:
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
        except QuillreadError as error:
            return Reading(name, error=str(error), provenance=self.provenance)
        return Reading(name, pages, provenance=self.provenance)

    def pages(self, document: Document) -> Iterator[Page]:
        """Read the pages of a document one at a time; one that cannot be read carries its error."""
        for index in range(len(document)):
            empty = Page(document.name, index + 1, 0, 0)
            try:
                yield replace(self.read_page(document.page(index)), source=document.name, number=index + 1)
            except QuillreadError as error:
                yield replace(empty, error=str(error))
            except Exception as error:  # a fault of ours on one page must not lose the others
                log.exception("%s, page %d", document.name, index + 1)
                yield replace(empty, error=f"{document.name}, page {index + 1}: internal error: {error!r}")

    def read_page(self, image: UInt8Image) -> Page:
        """Read one page image, uint8 RGB (H, W, 3).

        Raises:
            ImageError: If the image is empty or of another form.
        """
        regions = self._segmenter(image) if self._segmenter else (_whole_image(image),)
        crops: list[UInt8Image] = []
        maps: list[CoordMap | None] = []
        for region in regions:
            for line in region.lines:
                try:
                    crop, back = (image, None) if self._config.lines else crop_line(image, line, self._config.crop)
                except ImageError as error:
                    # The line stays on the page without text, where a reader will see that it was found.
                    log.warning("a line at %s could not be cut out: %s", line.baseline[0], error.message)
                    crop, back = image[:1, :1], None
                crops.append(crop)
                maps.append(back)
        transcripts = iter(zip(self._recognizer.read(crops), maps, strict=True))
        placed = tuple(
            replace(
                region,
                lines=tuple(replace(line, transcript=_place(*next(transcripts))) for line in region.lines),
            )
            for region in regions
        )
        return Page("", 1, image.shape[1], image.shape[0], placed)


def _whole_image(image: UInt8Image) -> Region:
    height, width = float(image.shape[0]), float(image.shape[1])
    outline = Polygon(((0.0, 0.0), (width, 0.0), (width, height), (0.0, height)))
    # A line image shows no baseline; three quarters down is where writing with descenders mostly stands.
    return Region(outline, (Line(((0.0, 0.75 * height), (width, 0.75 * height)), outline),))


def _place(transcript: Transcript, back: CoordMap | None) -> Transcript:
    """Move the words of a transcript from the line image to the page."""
    if back is None:
        return transcript
    words = tuple(
        Word(
            w.text,
            w.confidence,
            Polygon(tuple((float(x), float(y)) for x, y in back.back_points(w.polygon.points))),
        )
        for w in transcript.words
    )
    return replace(transcript, words=words)
