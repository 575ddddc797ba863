"""Reader: the only way to make a reading. The command, the library, the server and batches go through it."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self

import cv2

from quillread.errors import Fault, ImageError, UsageError
from quillread.formats.ground_truth import GroundTruth
from quillread.images.document import Document, OnePage
from quillread.images.given import Picture, given_content, given_pixels, given_several, name_of
from quillread.images.read import open_document
from quillread.images.tones import as_positive
from quillread.options import Provenance, ReadOptions, files_stamp
from quillread.pages.deliver import Collector, Stop, deliver, explain, page_name, refuse, tell_kept
from quillread.pages.segment import Segmenter, load_segmenter
from quillread.pages.transcribe import KnownLines, PageTranscriber
from quillread.recognize.choosing import ChoosingReader
from quillread.recognize.ensemble import EnsembleReader, LineReader
from quillread.recognize.load import load_all
from quillread.types import DocumentInfo, Page, PageWriter, Progress, Reading, Scan, Transcript, UInt8Image
from quillread.version import __version__
from quillread.worker import at_most_cores

log = logging.getLogger(__name__)

KnownPages = Callable[[int], Page | None]
"""Gives pages that were read before, by their number."""

_KEPT = 4
"""Readers that `read` keeps."""


class Reader:
    """Reads documents, pages and lines with the models of its options, which are loaded once.

    Any number of threads may use one reader: what they read, and how sure of it it is, does not depend on each other.
    Networks run side by side (those of TrOCR in turns). A pickled reader is made anew from its options where it
    arrives. It is a context manager; a closed one refuses to read.

    >>> from quillread import Reader
    >>> with Reader(lm=("fr",)) as reader:
    ...     texts = [reader.read(path).text for path in paths]

    Args:
        options: What to read with; the defaults of `quill read` if not given.
        recognizer: Reads the lines in place of the models that the options name: a network in training, or a fake.
        **changes: Options by name, on top of them.

    Attributes:
        options: As they were given.
        info: What is known of the model, of several of the first.
        infos: What is known of all models.

    Raises:
        ConfigError: If an option is unknown or out of range.
        UsageError: If the options do not go together.
        ModelError: If there is no such model, language model or line finder, or it is damaged.
        DataError: If a lexicon or segmentation cannot be read.
        MissingExtraError: If a model needs torch, and it is not installed.
    """

    def __init__(
        self, options: ReadOptions | None = None, *, recognizer: LineReader | None = None, **changes: Any
    ) -> None:
        self.options = (options or ReadOptions()).changed(**changes)
        if self.options.threads:
            cv2.setNumThreads(at_most_cores(self.options.threads))  # OpenCV knows threads of the whole process only
        self._is_named = recognizer is None
        lines = recognizer or _load_lines(self.options)
        self._truth = GroundTruth(self.options.segmentation) if self.options.segmentation else None
        self._transcribe: PageTranscriber | None = self._pages_with(lines)
        self.info = lines.info
        self.infos = lines.infos if isinstance(lines, ChoosingReader | EnsembleReader) else (lines.info,)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as options: models are loaded where the reader arrives."""
        if not self._is_named:
            raise UsageError("a reader of a recogniser in memory cannot travel to another process")
        return type(self), (self.options,)

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the models; readings that are under way end well."""
        self._transcribe = None

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """What is read with, by name and content; two readings of an input with equal provenance have equal text."""
        if not self._is_named:
            return {"software": "quillread", "version": __version__, "model": self.info.name}
        return Provenance(self.options)

    @cached_property
    def fingerprint(self) -> str:
        """The provenance in 16 characters; names are left aside where there is content.

        Raises:
            UsageError: If the recogniser is one in memory, of whose content nothing is known.
        """
        if not self._is_named:
            raise UsageError("a reader of a recogniser in memory has no fingerprint")
        return Provenance(self.options).fingerprint()

    def read(
        self,
        source: Picture,
        *,
        name: str | None = None,
        seconds: float | None = None,
        cancelled: Callable[[], bool] | None = None,
        progress: Progress | None = None,
    ) -> Reading:
        """Read an image, PDF, TIFF or IIIF manifest; whatever is wrong with it is in the result.

        Args:
            source: An image, or an address of the web.
            name: How the result names the input; the path or address if not given.
            seconds: Time limit. It is looked at between pages; pages beyond it carry a fault.
            cancelled: Asked between pages whether to stop, likewise.
            progress: Called after each page with the number of those done and that of all.
        """
        collector = Collector()
        self.stream(source, collector, name=name, seconds=seconds, cancelled=cancelled, progress=progress)
        return collector.reading()

    def pages(self, source: Picture, *, name: str | None = None) -> Iterator[Page]:
        """Read an input page by page, each when it is asked for; one that could not be read carries its fault.

        >>> for page in reader.pages("register.pdf"):
        ...     print(page.number, page.text)

        Args:
            source: As for `read`.
            name: As for `read`.

        Raises:
            ImageError: If the input cannot be opened.
            UsageError: If no page of it is selected by the options.
        """
        transcribe = self._check_open()
        with self.open(source, name=name) as document:
            for index in self.options.selected(len(document)):
                yield self._scan(transcribe, document, index, None, None).page

    def read_page(self, image: Picture) -> Page:
        """Read one page.

        Raises:
            UsageError: If the options name a segmentation: that is about the pages of files, which have names. If the
                image has several pages.
            ImageError: If it cannot be read.
        """
        transcribe = self._check_open()
        if self._truth is not None:
            hint = "use read with the path of the image"
            raise UsageError("a page in memory has no name to find its segmentation by", hint=hint)
        return transcribe(self._pixels(image))

    def read_lines(self, images: Sequence[Picture]) -> list[Transcript]:
        """Read images of single lines; a negative is read inverted, as a page is. Each has its own choice of a model.

        Returns:
            One transcript an image, in order; positions in pixels of that image.

        Raises:
            UsageError: If an image has several pages, or a single image is given in place of several.
            ImageError: If an image cannot be read.
        """
        read = self._check_open().recognizer.read
        lines = [as_positive(self._pixels(image)) for image in given_several(images)]
        return [read([line])[0] for line in lines] if self.options.chooses else read(lines)

    def stream(
        self,
        source: Picture,
        writer: PageWriter,
        *,
        name: str | None = None,
        known: KnownPages | None = None,
        seconds: float | None = None,
        cancelled: Callable[[], bool] | None = None,
        progress: Progress | None = None,
    ) -> tuple[Fault, ...]:
        """Read an input and hand its pages on as they come; none is kept, so documents may have thousands.

        An input of one page that could not be read has no page, but a fault of its own.

        Args:
            source: As for `read`.
            writer: What it raises is not caught.
            name: As for `read`.
            known: Pages that were read before; they are not read again. One whose image cannot be had again keeps its
                text, and what went wrong is told.
            seconds: As for `read`.
            cancelled: As for `read`.
            progress: As for `read`.

        Returns:
            What went wrong with the input and its pages.
        """
        transcribe, name = self._check_open(), name or name_of(source)
        try:
            document = self.open(source, name=name)
        except Exception as error:  # whatever is wrong with one input must not lose the others
            return refuse(writer, name, explain(error, name), self.provenance)
        stop = Stop(seconds, cancelled)
        with document:
            count, selected = len(document), self.options.selected(len(document))
            scans = (self._scan(transcribe, document, i, known, stop.fault(document, i)) for i in selected)
            info = DocumentInfo(name, count, self.provenance)
            return deliver(scans, writer, info, len(selected), progress)

    def open(self, source: Picture, *, name: str | None = None, is_named: bool = True) -> Document:
        """Open an input; close it in the end. An address that nobody has named may not lie in a private network.

        Raises:
            ImageError: If nothing of it can be read.
            UsageError: If no page of it is selected by the options.
        """
        self._check_open()
        name = name or name_of(source)
        pixels = given_pixels(source)
        if pixels is None:
            config = self.options.read
            config = config if is_named else replace(config, web=replace(config.web, private=False))
            document = open_document(given_content(source), config, name=name)
        else:
            document = Document(name, OnePage(pixels))
        if not self.options.selected(len(document)):
            count = len(document)
            document.close()
            raise UsageError(f"{name}: ends at page {count}, with none of those asked for: {self.options.pages}")
        return document

    def scan(
        self, document: Document, index: int, known: KnownPages | None = None, lines: KnownLines | None = None
    ) -> Scan:
        """Read one page of a document; whatever is wrong with it is in the result.

        Args:
            document: Of `open`.
            index: From 0.
            known: As for `stream`.
            lines: Lines to read in place of finding them, in pixels of the page.
        """
        return self._scan(self._check_open(), document, index, known, None, lines)

    def _scan(
        self,
        transcribe: PageTranscriber,
        document: Document,
        index: int,
        known: KnownPages | None,
        stopped: Fault | None,
        lines: KnownLines | None = None,
    ) -> Scan:
        """Read one page, or say why it is not read; with models that stay, whoever closes the reader meanwhile."""
        where = page_name(document, index)
        before = known(index + 1) if known else None
        image, missing = None, None
        try:
            if stopped is not None:
                page = before or Page("", 1, 0, 0, fault=stopped)
                return Scan(_named(page, document, index), missing=stopped if before else None)
            image = document.page(index)
            page = before or self._read_page(transcribe, document, index, image, where, lines)
        except Exception as error:  # whatever is wrong with one page must not lose the others
            fault = explain(error, where)
            if before is None:
                height, width = (0, 0) if image is None else image.shape[:2]
                page = Page("", 1, width, height, fault=fault)
            else:
                page, missing = before, tell_kept(fault)
        page = _named(page, document, index)
        return Scan(page, image, document.paper_size(index), partial(document.jpeg, index), missing)

    def _pages_with(self, lines: LineReader) -> PageTranscriber:
        segmenter: Segmenter | None = None
        if not self.options.lines and self._truth is None:
            segmenter = load_segmenter(self.options.segmenter, self.options.threads)
        options = self.options
        return PageTranscriber(lines, segmenter, options.crop, flatten=options.sheet.flatten, threads=options.threads)

    def _read_page(
        self,
        transcribe: PageTranscriber,
        document: Document,
        index: int,
        image: UInt8Image,
        where: str,
        lines: KnownLines | None,
    ) -> Page:
        size = (image.shape[1], image.shape[0])
        regions, along = lines(size) if lines is not None else (None, None)
        if regions is None and self._truth is not None:
            regions = self._truth.regions(document.name, index + 1, len(document), size)
        page = transcribe(image, regions, along)
        for note in page.notes:
            log.warning("%s: %s", where, note)
        if page.model:
            log.info("%s: read with the model %s", where, page.model)
        return page

    def _pixels(self, image: Picture) -> UInt8Image:
        pixels = given_pixels(image)
        if pixels is not None:
            return pixels
        with self.open(image) as document:
            selected = self.options.selected(len(document))
            if len(selected) > 1:
                hint = "use read, which reads all of them"
                raise UsageError(f"{document.name}: has {len(selected)} pages, and one is read here", hint=hint)
            return document.page(selected[0])

    def _check_open(self) -> PageTranscriber:
        if self._transcribe is None:
            raise UsageError("the reader is closed", hint="make a new one: Reader(options)")
        return self._transcribe


def _named(page: Page, document: Document, index: int) -> Page:
    return replace(page, source=document.name, number=index + 1, label=document.label(index))


def read(
    source: Picture, options: ReadOptions | None = None, *, progress: Progress | None = None, **changes: Any
) -> Reading:
    """Read the handwriting in an image file, PDF or IIIF manifest, as `quill read` does: a `Reader` used once.

    The reader is kept for the next call with the same options, as long as the files of its models stay as they are.

    >>> import quillread
    >>> quillread.read("letter.jpg", lm=("en",)).text

    Args:
        source: An image, or an address of the web.
        options: What to read with; the defaults if not given.
        progress: Called after each page with the number of those done and that of all.
        **changes: Options by name, on top of them.

    Returns:
        All pages with their lines and words. A page that could not be read carries its `fault`.

    Raises:
        QuillreadError: As `Reader` does; and an ImageError if nothing of the input can be read.
    """
    reading = _kept_reader((options or ReadOptions()).changed(**changes)).read(source, progress=progress)
    if reading.fault is not None:
        raise ImageError(reading.fault.message, hint=reading.fault.hint)
    return reading


def read_page(image: Picture, options: ReadOptions | None = None, **changes: Any) -> Page:
    """Read one page image; see `read` and `Reader.read_page`."""
    return _kept_reader((options or ReadOptions()).changed(**changes)).read_page(image)


_readers: "OrderedDict[tuple[ReadOptions, object], Reader]" = OrderedDict()
_keeping = threading.Lock()


def _kept_reader(options: ReadOptions) -> Reader:
    """A reader of these options, made anew if a file of its models has changed since."""
    with _keeping:
        key = (options, files_stamp(options))
        reader = _readers.pop(key, None) or Reader(options)
        _readers[key] = reader
        while len(_readers) > _KEPT:
            _readers.popitem(last=False)
        return reader


def _load_lines(options: ReadOptions) -> LineReader:
    return load_all(
        options.loaded,
        chooses=options.chooses,
        threads=options.threads,
        generate=options.generate,
        language=options.language(),
        variants=options.variants,
    )
