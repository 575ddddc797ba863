"""The data that travels between the parts: geometry, transcripts, pages.

Coordinates are pixels of the image named beside them, origin top-left, x to the right, y down, as floats.
A pixel with index i covers the interval [i, i + 1).
"""

import importlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError, Fault

if TYPE_CHECKING:
    from PIL.Image import Image

UInt8Image = NDArray[np.uint8]
"""An image as the whole package passes it: uint8 RGB, shape (H, W, 3), unless a docstring says grey (H, W)."""
GivenPixels: TypeAlias = "UInt8Image | Image"
"""A picture in memory as programs give it; see `images.given.Picture` for the forms of arrays."""

Point = tuple[float, float]


class Progress(Protocol):
    """Called with the number of units done and the number in all; shows it somewhere or nowhere."""

    def __call__(self, done: int, total: int) -> None:
        """Report that `done` of `total` units are finished."""


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle: x0 <= x < x1, y0 <= y < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Extent in x, in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Extent in y, in pixels."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline; the last point joins the first."""

    points: tuple[Point, ...]

    @property
    def bounds(self) -> Box:
        """The smallest upright box around the points."""
        xs, ys = zip(*self.points, strict=True)
        return Box(min(xs), min(ys), max(xs), max(ys))


@dataclass(frozen=True, slots=True)
class Character:
    """One recognised character."""

    text: str
    confidence: float
    """Probability that the character is right, 0 to 1."""
    x0: float
    """Left end on the line image, in its pixels."""
    x1: float
    """Right end on the line image, in its pixels."""


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word: a run of characters between spaces."""

    text: str
    confidence: float
    """Probability that the word is right, 0 to 1."""
    polygon: Polygon
    """Its outline: on the line image as it comes from the recogniser, on the page once placed there."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another reading of the same line."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Change:
    """A word that was corrected."""

    start: int
    """Place of its first character in the text before."""
    before: str
    after: str
    reason: str
    """Why, for people."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recogniser read in one line image."""

    text: str
    """NFC, as written; empty if nothing was found."""
    confidence: float
    """Probability that the whole line is exactly right, 0 to 1."""
    words: tuple[Word, ...] = ()
    characters: tuple[Character, ...] = ()
    """The characters of `text` in order, spaces included; positions on the line image."""
    alternatives: tuple[Alternative, ...] = ()
    expected_error: float | None = None
    """Character error rate to be expected, 0 or more; None if nothing is known of it."""
    raw_text: str | None = None
    """The text before words were corrected; None if none were."""
    changes: tuple[Change, ...] = ()
    """What was corrected."""
    rows: int = 1
    """Rows of writing that the line image holds, if the model was asked to look: more than 1 is a crop gone wrong."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of writing on a page."""

    baseline: tuple[Point, ...]
    """From the start of the writing to its end, at least two points; page pixels."""
    polygon: Polygon
    """Outline of the ink, ascenders and descenders included; page pixels."""
    transcript: Transcript | None = None
    id: str | None = None
    """Name in the PAGE or ALTO file that it comes from."""
    printed: bool = False
    """Whether the line finder took it for print, such as a letterhead."""


RegionKind = Literal["text", "margin", "heading", "table", "picture", "ignore"]


@dataclass(frozen=True, slots=True)
class Region:
    """Lines that belong together, in reading order."""

    polygon: Polygon
    lines: tuple[Line, ...]
    id: str | None = None
    """Name in the PAGE or ALTO file that it comes from."""
    kind: RegionKind = "text"
    """What stands in it; what is to be ignored is never exported."""
    label: str | None = None
    """What the PAGE or ALTO file that it comes from calls it, such as `footnote` or `MainZone`."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an input with what was found on it."""

    source: str
    """The input as the user named it."""
    number: int
    """Page number within the input, from 1."""
    width: int
    height: int
    regions: tuple[Region, ...] = ()
    fault: Fault | None = None
    """Why the page could not be read; then there are no regions and width and height may be 0."""
    notes: tuple[str, ...] = ()
    """What a reader of the page should know: what was skipped on it, what looks wrong."""
    label: str = ""
    """What the input calls the page, such as `12r` in a IIIF manifest; empty if it does not name its pages."""
    model: str = ""
    """Name of the model that read it, if one of several was chosen for the page."""

    @property
    def title(self) -> str:
        """A heading for the page in a document of several."""
        return f"Page {self.number}" + (f" ({self.label})" if self.label else "")

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines in reading order."""
        return tuple(line for region in self.regions for line in region.lines)

    @property
    def text(self) -> str:
        """The text of all lines that carry one; lines joined by a newline, regions by an empty line."""
        blocks = (
            "\n".join(line.transcript.text for line in region.lines if line.transcript and line.transcript.text)
            for region in self.regions
        )
        return "\n\n".join(block for block in blocks if block)

    def write(self, name: str, path: str | Path | BinaryIO, *, image: "GivenPixels | None" = None) -> None:
        """Write the page in a format of `quill read`; see `Reading.write`.

        Raises:
            UsageError: If there is no such format, or the image has another size than the page.
            ImageError: If the image is of a form that is not read.
            OutputError: If the file cannot be written.
        """
        _write(Reading(self.source, (self,)), name, path, () if image is None else (image,))


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in one input."""

    source: str
    """The input as the user named it."""
    pages: tuple[Page, ...] = ()
    """All its pages in order; a page that could not be read carries its fault."""
    fault: Fault | None = None
    """Why nothing of the input could be read; there are no pages if it could not even be opened."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Version, models and settings; plain data."""

    @property
    def text(self) -> str:
        """The text of all pages, an empty line between them."""
        return "\n\n".join(page.text for page in self.pages if page.text)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What went wrong with the input and its pages."""
        return tuple(f for f in (self.fault, *(page.fault for page in self.pages)) if f)

    def write(self, name: str, path: str | Path | BinaryIO, *, images: Sequence[GivenPixels] = ()) -> None:
        """Write the reading in a format of `quill read`, atomically.

        A searchable PDF shows the pages of the source, where that is a file that is still there as it was read.

        Args:
            name: Such as "txt", "json", "page", "pdf"; PAGE and ALTO hold one page, so others need `Page.write`.
            path: The file, or one that is open for writing bytes.
            images: The pages, as arrays or Pillow images of any form that is read, to show in a PDF of what was read
                from memory.

        Raises:
            UsageError: If there is no such format, it holds one page and the reading has several, nothing could be
                read and it has no way to say so, or the images are not those of the pages.
            ImageError: If an image is of a form that is not read.
            OutputError: If the file cannot be written.
        """
        _write(self, name, path, images)


@dataclass(frozen=True, slots=True)
class Scan:
    """A page that was read, with the image it was read from."""

    page: Page
    """A page that could not be read carries its fault."""
    image: UInt8Image | None = field(default=None, repr=False)
    """In the pixels of the page's coordinates: uint8 RGB, shape (height, width, 3); None if it cannot be decoded."""
    points: tuple[float, float] | None = None
    """Width and height on paper in points (1/72 inch), where the source says so."""
    jpeg: Callable[[], bytes | None] = lambda: None
    """Gives the JPEG file, grey or RGB, that the image was decoded from, if it was."""
    missing: Fault | None = None
    """Why a page that was read before is without its image."""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """What is known of an input before its pages are read."""

    source: str
    """The input as the user named it."""
    page_count: int = 1
    """Pages of the input; 0 if it could not be opened."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Version, models and settings; plain data."""
    began: datetime | None = None
    """When the reading began, which formats with a date say; None: now."""

    @property
    def image_name(self) -> str:
        """Name of the image file without its folder: tools that read XML look for it beside that."""
        return PurePath(self.source).name or self.source


class PageWriter(Protocol):
    """Takes what was read in one input, page by page, as inputs may have thousands: it keeps no page."""

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input; it has no pages if it could not be opened."""

    def add(self, scan: Scan) -> None:
        """Take the next page."""

    def close(self, fault: Fault | None) -> None:
        """End the input; `fault` says why nothing of it could be read."""

    def abort(self) -> None:
        """Leave nothing half written; called in place of `close`, or after it, when it changes nothing."""


_WRITER = "quillread.formats.export:write_reading"
"""What writes readings, by name and resolved late: results say "write yourself", and know nothing of formats."""


def _write(reading: Reading, name: str, path: str | Path | BinaryIO, images: Sequence[GivenPixels]) -> None:
    module, _, function = _WRITER.partition(":")
    target = Path(path) if isinstance(path, str) else path
    getattr(importlib.import_module(module), function)(reading, name, target, images)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How what a reading reports becomes the probability of being right.

    sigmoid(scale * logit(p) + agreement * logit(share) + line * logit(line share) - nats * log(line nats) + shift): p
    from the network, shares from the search, nats from what the network read in the line before it had a language.
    """

    scale: float = 1.0
    shift: float = 0.0
    agreement: float = 0.0
    """How much it counts that the readings which a search compared agree; 0 where nothing was compared."""
    line: float = 0.0
    """Likewise, for a word, that the readings of the whole line agree."""
    nats: float = 0.0
    """How much it counts that the network itself was sure of the line: where it is not, a language guesses."""


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """Expected character error rate by the doubt about a line (`decode.confidence.doubt`): a curve through points."""

    doubts: tuple[float, ...] = (0.0, 1.0)
    """Rising."""
    rates: tuple[float, ...] = (0.0, 1.0)
    """Rising, one for each doubt; beyond the first and last point the rate stays."""

    def __post_init__(self) -> None:
        if not self.doubts or len(self.doubts) != len(self.rates):
            raise ConfigError(f"a curve has as many rates as doubts, got {len(self.rates)} and {len(self.doubts)}")
        for name in ("doubts", "rates"):
            values = getattr(self, name)
            if any(after < before for before, after in itertools.pairwise(values)):
                raise ConfigError(f"the {name} of a curve rise, these do not")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line image with the text that is written on it."""

    id: str
    """Unique within its source."""
    image: UInt8Image = field(repr=False)
    """uint8 RGB, shape (H, W, 3)."""
    text: str
    """NFC, as written."""
    group: str = ""
    """Writer or document: resampling and splitting keep a group together. Empty if unknown."""
