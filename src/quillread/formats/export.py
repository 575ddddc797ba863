"""Formats of output by name, and what their writers are given."""

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, cast

from quillread.types import Line, Page, UInt8Image, Word


@dataclass(frozen=True, slots=True)
class Scan:
    """A page that was read, with the image it was read from."""

    page: Page
    """A page that could not be read carries its error."""
    image: UInt8Image | None = field(default=None, repr=False)
    """In the pixels of the page's coordinates: uint8 RGB, shape (height, width, 3); None if it cannot be decoded."""
    points: tuple[float, float] | None = None
    """Width and height on paper in points (1/72 inch), where the source says so."""
    jpeg: Callable[[], bytes | None] = lambda: None
    """Gives the JPEG file, grey or RGB, that the image was decoded from, if it was."""
    missing: str | None = None
    """Why a page that was read before is without its image."""


@dataclass(frozen=True, slots=True)
class ExportInfo:
    """What is known of an input before its pages are read."""

    source: str
    """The input as the user named it."""
    page_count: int = 1
    """Pages of the input; 0 if it could not be opened."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Version, model and settings; plain data."""

    @property
    def image_name(self) -> str:
        """Name of the image file without its folder: tools that read XML look for it beside that."""
        return re.split(r"[/\\]", self.source.rstrip("/"))[-1] or self.source


class Writer(Protocol):
    """Writes one document, page by page, as inputs may have thousands: it keeps no page."""

    def add(self, scan: Scan) -> None:
        """Write the next page."""

    def close(self, error: str | None = None) -> None:
        """End the document, which leaves the file open; `error` says why nothing of the input could be read."""


class WriterMaker(Protocol):
    """Begins a document; the class of a writer is one."""

    def __call__(self, file: BinaryIO, info: ExportInfo, /) -> Writer:
        """Return a writer to `file`, which is open for writing and may be a pipe."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of output."""

    maker: str
    """ "module:class", a `WriterMaker`."""
    suffix: str
    """Of its files, without the first dot."""
    a_file_a_page: bool = False
    """Whether a document holds one page, so that each page has a file of its own."""
    on_error: bool = False
    """Whether an input of which nothing could be read has a file too, which says why."""
    streams: bool = True
    """Whether several documents may follow each other on stdout, and a terminal can show them."""

    def make(self, file: BinaryIO, info: ExportInfo) -> Writer:
        """Begin a document."""
        module, _, name = self.maker.partition(":")
        return cast(WriterMaker, getattr(importlib.import_module(f"quillread.formats.{module}"), name))(file, info)


FORMATS: dict[str, Format] = {
    "txt": Format("plain:TextWriter", "txt"),
    "json": Format("json:JsonWriter", "json", on_error=True),
    "page": Format("pagexml:PageXmlWriter", "page.xml", a_file_a_page=True, streams=False),
    "alto": Format("alto:AltoWriter", "alto.xml", a_file_a_page=True, streams=False),
    "hocr": Format("hocr:HocrWriter", "hocr", streams=False),
    "md": Format("plain:MarkdownWriter", "md"),
    "csv": Format("plain:CsvWriter", "csv", on_error=True, streams=False),
    "docx": Format("docx:DocxWriter", "docx", streams=False),
    "pdf": Format("pdf:PdfWriter", "pdf", streams=False),
}


def words_of(line: Line) -> tuple[Word, ...]:
    """The words of a line; one that holds all of its text if it has no words of its own, none without text."""
    read = line.transcript
    if read is None or not read.text:
        return ()
    return read.words or (Word(read.text, read.confidence, line.polygon),)
