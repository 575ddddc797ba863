"""From a page image to its text: find lines, cut them out, read them, put the words back on the page."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from quillread.errors import ImageError
from quillread.formats.outlines import outline_lines
from quillread.images.crop import CropConfig, crop_line
from quillread.images.geometry import CoordMap
from quillread.images.sheet import flatten_sheet
from quillread.images.tones import as_positive
from quillread.pages.segment import Segmenter
from quillread.recognize.choosing import ChoosingReader
from quillread.recognize.ensemble import LineReader
from quillread.types import Line, Page, Point, Polygon, Region, Transcript, UInt8Image
from quillread.worker import at_most_cores, usable_cores

KnownLines = Callable[[tuple[int, int]], tuple[tuple[Region, ...], tuple[Line, ...]]]
"""Gives the lines of a page, by its width and height in pixels: in their regions, and with the outlines that they are
cut out along."""


class PageTranscriber:
    """Reads page images.

    Args:
        recognizer: Reads the lines.
        segmenter: Finds them; None takes each image as one line of writing.
        crop: How lines are cut out.
        flatten: Lay photographed sheets flat before lines are found.
        threads: Lines that are cut out at a time; 0 for one a core.
    """

    def __init__(
        self,
        recognizer: LineReader,
        segmenter: Segmenter | None,
        crop: CropConfig,
        *,
        flatten: bool = False,
        threads: int = 0,
    ) -> None:
        self.recognizer = recognizer
        self._segmenter = segmenter
        self._crop = crop
        self._flatten = flatten
        self._threads = at_most_cores(threads) or usable_cores()

    def __call__(
        self, image: UInt8Image, regions: tuple[Region, ...] | None = None, along: Sequence[Line] | None = None
    ) -> Page:
        """Read a page.

        Args:
            image: uint8 RGB, shape (H, W, 3).
            regions: Lines that are known already, in pixels of the image, as the readers of PAGE and ALTO return them;
                they are found if not given.
            along: These lines, with the outlines that they are cut out along; if not given, that of `crop`.

        Returns:
            The page with its lines, words in pixels of the image, and notes on what was skipped or looks wrong; its
            source is empty and its number 1.

        Raises:
            ImageError: If the image is empty or of another form.
        """
        page = Page("", 1, image.shape[1], image.shape[0])
        positive = as_positive(image)
        if positive is not image:
            page, image = replace(page, notes=("a negative, light writing on a dark ground: read inverted",)), positive
        if regions is not None:
            given = replace(page, regions=regions)
            along = outline_lines(given, self._crop.outline).lines if along is None else along
            return self._read_lines(page, image, outline_lines(given).regions, along)
        if self._segmenter is None:
            model, (read,) = self._recognize([image])
            notes = (f"{read.rows} rows of writing in one line",) if read.rows > 1 else ()
            return replace(page, regions=(_whole_image(image, read),), notes=(*page.notes, *notes), model=model)
        flat, back = flatten_sheet(image) if self._flatten else (image, None)
        layout = self._segmenter(flat)
        page = self._read_lines(replace(page, notes=(*page.notes, *layout.notes)), flat, layout.regions)
        if back is None:
            return page
        return replace(page, regions=tuple(_move(region, back, (page.width, page.height)) for region in page.regions))

    def _read_lines(
        self, page: Page, image: UInt8Image, regions: tuple[Region, ...], along: Sequence[Line] = ()
    ) -> Page:
        """Put regions with their lines read on a page, and notes on what is wrong with them.

        The lines are cut out along the outlines of others, `along`, if those are given.
        """
        notes = [*page.notes] if any(region.lines for region in regions) else [*page.notes, "no writing found"]
        lines = along or [line for region in regions for line in region.lines]
        with ThreadPoolExecutor(self._threads) as pool:
            cuts = list(pool.map(partial(self._cut, image), lines))
        notes += [cut for cut in cuts if isinstance(cut, str)]
        model, transcripts = self._recognize([cut[0] for cut in cuts if not isinstance(cut, str)])
        read = iter(transcripts)
        placed = [None if isinstance(cut, str) else _place(next(read), cut[1], image) for cut in cuts]
        for number, transcript in enumerate(placed, start=1):
            if transcript and transcript.rows > 1:
                notes.append(f"line {number} holds {transcript.rows} rows of writing")
        left = iter(placed)
        known = tuple(
            replace(region, lines=tuple(replace(line, transcript=next(left)) for line in region.lines))
            for region in regions
        )
        return replace(page, regions=known, notes=tuple(notes), model=model)

    def _recognize(self, images: Sequence[UInt8Image]) -> tuple[str, list[Transcript]]:
        """Read the lines of a page; also the name of the model, if one was chosen for them."""
        if not isinstance(self.recognizer, ChoosingReader) or not images:
            return "", self.recognizer.read(images)
        chosen = self.recognizer.choose(images)
        return chosen.name, chosen.transcripts

    def _cut(self, image: UInt8Image, line: Line) -> tuple[UInt8Image, CoordMap] | str:
        """Cut a line out, or say why it cannot be."""
        try:
            return crop_line(image, line, self._crop)
        except ImageError as error:
            # The line stays on the page without a transcript, where a reader will see that it was found.
            return error.message


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
