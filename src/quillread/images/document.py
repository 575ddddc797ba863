"""A document: the pages of one input, decoded one at a time; what the readers of each kind of file share."""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from quillread.errors import ConfigError, ImageError
from quillread.images.web import WebConfig
from quillread.types import UInt8Image

DAMAGED = "the file is damaged or cut off: copy, export or scan it again"

# Decoders document no closed list of what they raise on a damaged file; these are the ones they do raise.
_BAD_VALUES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
FAULTS = (OSError, SyntaxError, EOFError, RuntimeError, MemoryError, struct.error, zlib.error, *_BAD_VALUES)

_LEAST_MEMORY = 200_000_000
"""Bytes with which a decoder can be loaded."""


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """How files become page images."""

    pdf_dpi: int = 300
    """Resolution at which PDF pages are rendered, 36 to 1200; a page that is one scan is never enlarged, and
    from 300 has the pixels of A4 at that resolution, if its scan has them."""

    max_pixels: int = 200_000_000
    """Pages with more pixels are refused before they are decoded."""

    max_memory: int = 2_000_000_000
    """Bytes that decoding one page may take."""

    max_seconds: float = 60.0
    """Time that decoding one page may take where a decoder may hang: PDF, HEIC, JPEG 2000 and heavy pictures."""

    web: WebConfig = field(default_factory=WebConfig)

    def __post_init__(self) -> None:
        if not 36 <= self.pdf_dpi <= 1200:
            raise ConfigError(f"read.pdf_dpi must be 36 to 1200, got {self.pdf_dpi}")
        if self.max_pixels < 1:
            raise ConfigError(f"read.max_pixels must be at least 1, got {self.max_pixels}")
        if self.max_memory < _LEAST_MEMORY:
            raise ConfigError(f"read.max_memory must be at least {_LEAST_MEMORY:,} bytes, got {self.max_memory:,}")
        if not 0 < self.max_seconds < float("inf"):
            raise ConfigError(f"read.max_seconds must be above 0, got {self.max_seconds}")


class Pages(Protocol):
    """What `Document` needs of one kind of file; the methods may raise any of `FAULTS`."""

    def __len__(self) -> int:
        """Count the pages."""
        ...

    def render(self, index: int, where: str) -> UInt8Image:
        """Decode a page; `where` names it in errors."""
        ...

    def paper_size(self, index: int) -> tuple[float, float] | None:
        """Width and height in points."""
        ...

    def jpeg(self, index: int) -> bytes | None:
        """Content of a JPEG file that shows a page just as `render` gives it."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class OnePage:
    """A page that is decoded already, uint8 RGB (H, W, 3): the `Pages` of an image in memory."""

    def __init__(self, image: UInt8Image) -> None:
        self._image = image

    def __len__(self) -> int:
        """Count the page."""
        return 1

    def render(self, index: int, where: str) -> UInt8Image:
        """Give the image."""
        return self._image

    def paper_size(self, index: int) -> None:
        """Nothing is known of paper."""

    def jpeg(self, index: int) -> None:
        """It is not a file."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file of the web."""

    content: bytes
    index: int
    """Of the page in it, from 0."""


class Document:
    """The pages of one file; a context manager, as a PDF stays open between its pages.

    Pages are decoded when asked for and not kept. Threads may share a document.
    """

    def __init__(
        self,
        name: str,
        pages: Pages,
        labels: Sequence[str] = (),
        *,
        title: str = "",
        fetched: Callable[[int], Fetched | None] = lambda index: None,
    ) -> None:
        """Made by `open_document`.

        Args:
            name: How errors name it.
            pages: What is in it.
            labels: What the file calls its pages, if it names them.
            title: What the file calls itself, if it does.
            fetched: Gives the file that the web gave for a page.
        """
        self.name = name
        self.title = title
        self._pages = pages
        self._labels = labels
        self._fetched = fetched

    def __len__(self) -> int:
        """Count the pages; a page that cannot be decoded counts."""
        return len(self._pages)

    def page(self, index: int) -> UInt8Image:
        """Decode one page, upright, on white where it is transparent.

        Args:
            index: From 0.

        Returns:
            uint8 RGB, shape (H, W, 3).

        Raises:
            ImageError: If this page is damaged or too large; others may still be read.
            IndexError: If there is no such page.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} pages, there is no page index {index}")
        where = self.name if len(self) == 1 else f"{self.name}, page {index + 1}"
        try:
            return self._pages.render(index, where)
        except FAULTS as error:
            detail = str(error) or type(error).__name__
            raise ImageError(f"{where}: cannot be decoded: {detail}", hint=DAMAGED) from error

    def label(self, index: int) -> str:
        """What the file calls a page, such as `12r`; empty if it does not name its pages."""
        return self._labels[index] if self._labels else ""

    def paper_size(self, index: int) -> tuple[float, float] | None:
        """Tell the size of a page on paper: width and height in points (1/72 inch), None if that is not known."""
        try:
            return self._pages.paper_size(index)
        except (ImageError, *FAULTS):
            return None  # what is wrong with the page is said when it is decoded

    def jpeg(self, index: int) -> bytes | None:
        """Give the content of a JPEG file, grey or RGB, whose pixels are those of `page`; None if there is none."""
        try:
            return self._pages.jpeg(index)
        except (ImageError, *FAULTS):
            return None

    def fetched(self, index: int) -> Fetched | None:
        """Give the file that the web gave for the page decoded last, as it came; None of other pages and files."""
        return self._fetched(index)

    def close(self) -> None:
        """Release the file."""
        self._pages.close()

    def __enter__(self) -> Self:
        """Return the document itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the file."""
        self.close()


def check_size(width: int, height: int, memory: int, config: ReadConfig, where: str, hint: str) -> None:
    """Refuse a page before it is decoded.

    Args:
        width: Of the page, in pixels.
        height: Of the page, in pixels.
        memory: Bytes that its pixels take at most while they are decoded.
        config: The limits.
        where: How the error names the page.
        hint: What to do, other than to raise the limit.

    Raises:
        ImageError: If it passes a limit, or has no pixels.
    """
    if width < 1 or height < 1:
        raise ImageError(f"{where}: has no area ({width} x {height} pixels)", hint=DAMAGED)
    size = f"{where}: {width} x {height} pixels"
    if width * height > config.max_pixels:
        message = f"{size} are more than the limit of {config.max_pixels:,} pixels"
        raise ImageError(message, hint=f"{hint}, or raise read.max_pixels")
    if memory > config.max_memory:
        message = (
            f"{size} need {memory / 1e6:,.0f} MB of memory, more than the limit of {config.max_memory / 1e6:,.0f} MB"
        )
        raise ImageError(message, hint=f"{hint}, or raise read.max_memory")
