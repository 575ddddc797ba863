"""Formats of output by name, and their files."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from quillread.config import build, suggest
from quillread.errors import Fault, QuillreadError, UsageError
from quillread.files import AtomicFile, naming
from quillread.images.document import Document, ReadConfig
from quillread.images.given import given_pixels
from quillread.images.read import open_document
from quillread.types import DocumentInfo, GivenPixels, Line, PageWriter, Reading, Scan, UInt8Image, Word


@dataclass(frozen=True, slots=True)
class Format:
    """A format of output."""

    maker: str
    """ "module:class", called with a binary file open for writing, maybe a pipe; gives a `PageWriter`."""
    suffix: str
    """Of its files, without the first dot."""
    a_file_a_page: bool = False
    """Whether a document holds one page, so that each page has a file of its own."""
    on_error: bool = False
    """Whether an input of which nothing could be read has a file too, which says why."""
    streams: bool = True
    """Whether several documents may follow each other on stdout, and a terminal can show them."""
    shows_images: bool = False
    """Whether it holds the images of the pages."""

    def make(self, file: BinaryIO) -> PageWriter:
        """Make a writer to a file."""
        module, _, name = self.maker.partition(":")
        maker = getattr(importlib.import_module(f"quillread.formats.{module}"), name)
        return cast(Callable[[BinaryIO], PageWriter], maker)(file)


FORMATS: dict[str, Format] = {
    "txt": Format("plain:TextWriter", "txt"),
    "json": Format("json:JsonWriter", "json", on_error=True),
    "page": Format("pagexml:PageXmlWriter", "page.xml", a_file_a_page=True, streams=False),
    "alto": Format("alto:AltoWriter", "alto.xml", a_file_a_page=True, streams=False),
    "hocr": Format("hocr:HocrWriter", "hocr", streams=False),
    "md": Format("plain:MarkdownWriter", "md"),
    "csv": Format("plain:CsvWriter", "csv", on_error=True, streams=False),
    "docx": Format("docx:DocxWriter", "docx", streams=False),
    "pdf": Format("pdf:PdfWriter", "pdf", streams=False, shows_images=True),
}


def find_format(name: str) -> Format:
    """Find a format by its name.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(f"unknown format {name!r}{suggest(name, list(FORMATS))}")
    return FORMATS[name]


class FileWriter:
    """Writes a document into a file, which stands in its place when it is whole.

    Args:
        path: Its place.
        output: Its format.
        told: As for `AtomicFile`.
    """

    def __init__(self, path: Path, output: Format, told: Callable[[Path, str], None] | None = None) -> None:
        self._path = path
        self._format = output
        self._told = told
        self._undo = ExitStack()

    def begin(self, info: DocumentInfo) -> None:
        """Open the file beside its place."""
        self._part = AtomicFile(self._path, self._told)
        self._undo.callback(self._part.discard)
        with naming(self._path):
            self._writer = self._format.make(self._part.file)
            self._undo.callback(self._writer.abort)  # before its file goes
            self._writer.begin(info)

    def add(self, scan: Scan) -> None:
        """Write a page."""
        with naming(self._path):
            self._writer.add(scan)

    def close(self, fault: Fault | None) -> None:
        """Put the file in place; one of an input of which nothing could be read only if the format can say so."""
        with naming(self._path):
            self._writer.close(fault)
        if fault is None or self._format.on_error:
            self._part.commit()
        self._part.discard()

    def abort(self) -> None:
        """Leave nothing behind, however far it came."""
        self._undo.close()


DOUBTFUL, UNSURE = 0.5, 0.8
"""Words of a confidence below these are marked for people: more likely wrong than right, and in doubt."""


def words_of(line: Line) -> tuple[Word, ...]:
    """The words of a line; one that holds all of its text if it has no words of its own, none without text."""
    read = line.transcript
    if read is None or not read.text:
        return ()
    return read.words or (Word(read.text, read.confidence, line.polygon),)


def write_reading(reading: Reading, name: str, target: Path | BinaryIO, images: Sequence[GivenPixels] = ()) -> None:
    """Write a reading into a file; see `Reading.write`."""
    output, shown = find_format(name), [_pixels_of(image) for image in images]
    if shown:
        _check_images(reading, shown)
    if output.a_file_a_page and len(reading.pages) != 1:
        raise UsageError(
            f"a file of the format {name} holds one page, and the reading has {len(reading.pages)}",
            hint="write each of its pages: page.write(...)",
        )
    if reading.fault is not None and not output.on_error:
        told = [other for other, known in FORMATS.items() if known.on_error]
        raise UsageError(
            f"{reading.source}: was not read, and a file of the format {name} cannot say so: {reading.fault.message}",
            hint=f"look at the fault of the reading, or write {' or '.join(told)}",
        )
    writer: PageWriter = FileWriter(target, output) if isinstance(target, Path) else output.make(target)
    try:
        writer.begin(DocumentInfo(reading.source, len(reading.pages), reading.provenance))
        for scan in map(Scan, reading.pages, shown) if shown else _scans(reading, with_images=output.shows_images):
            writer.add(scan)
        writer.close(reading.fault)
    finally:
        writer.abort()


def _pixels_of(image: GivenPixels) -> UInt8Image:
    pixels = given_pixels(image)
    if pixels is None:
        got = f"the image of a page is an array or a Pillow image, got {type(image).__name__}"
        raise UsageError(got, hint="open a file with Pillow: PIL.Image.open(path)")
    return pixels


def _check_images(reading: Reading, images: Sequence[UInt8Image]) -> None:
    sizes = [(page.width, page.height) for page in reading.pages]
    if [image.shape[1::-1] for image in images] != sizes:
        given = ", ".join(f"{image.shape[1]} x {image.shape[0]}" for image in images)
        pages = ", ".join(f"{width} x {height}" for width, height in sizes)
        raise UsageError(
            f"the images are not those of the pages: they have {given} pixels, the pages {pages}",
            hint="give an image for each page of the reading, as it was read",
        )


def _scans(reading: Reading, *, with_images: bool) -> Iterator[Scan]:
    """The pages with their images, where those are asked for and their file is still there as it was read."""
    source = Path(reading.source)
    document = None
    if with_images and source.is_file():
        as_read = reading.provenance.get("settings", {}).get("read", {})  # the resolution of PDFs, for one
        with suppress(QuillreadError, OSError):
            document = open_document(source, build(ReadConfig, as_read))
    if document is None:
        yield from map(Scan, reading.pages)
        return
    with document:
        for page in reading.pages:
            scan = Scan(page)
            if page.number <= len(document):
                scan = _with_image(scan, document)
            yield scan


def _with_image(scan: Scan, document: Document) -> Scan:
    page, index = scan.page, scan.page.number - 1
    try:
        image = document.page(index)
    except QuillreadError:
        return scan
    if (image.shape[1], image.shape[0]) != (page.width, page.height):
        return scan  # another file by now, or read at another resolution
    return Scan(page, image, document.paper_size(index), partial(document.jpeg, index))
