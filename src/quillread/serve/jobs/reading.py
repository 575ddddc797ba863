"""The pure work of reading a page, in a worker process: it knows files and options, and no database."""

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quillread.errors import UsageError
from quillread.images.document import Document
from quillread.options import ReadOptions
from quillread.reader import Reader
from quillread.types import Line, Page, Point, Polygon, Region, Transcript

ReaderMaker = Callable[[ReadOptions], Reader]
"""Makes the reader of some options, in the worker process: a function or class of a module."""

_READERS = 2


@dataclass(frozen=True, slots=True)
class PageTask:
    """A page to read: all that a worker must know."""

    path: Path
    """Of the original."""
    name: str
    index: int
    """Of the page in the original, from 0."""
    size: tuple[int, int]
    """Width and height in which the archive has coordinates; of no pixels if it does not know it yet."""
    options: ReadOptions
    known: Page | None = None
    """Lines to read along; None to find them."""
    line_ids: tuple[int, ...] | None = None
    """Of the lines of `known`."""
    along: tuple[Line, ...] = ()
    """The lines of `known` with the outlines that they are cut out along."""
    names: Mapping[str, str] | None = None
    """Of models by their folders, as the archive calls them."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """What became of a page."""

    page: Page
    """In coordinates of the archive."""
    provenance: Mapping[str, Any]
    """Plain data."""
    fingerprint: str


def start_readers(make: ReaderMaker) -> "PageReaders":
    """Begin as a worker process: it gives way to the server, so that saving a line does not wait for pages read."""
    if hasattr(os, "nice"):
        os.nice(10)
    return PageReaders(make)


class PageReaders:
    """Reads pages with any options; the state of a worker process.

    Readers of the last options stay, and so does the document that was opened last, as a PDF has many pages.

    Args:
        make: Makes readers.
    """

    def __init__(self, make: ReaderMaker) -> None:
        self.make = make
        self._readers: OrderedDict[ReadOptions, Reader] = OrderedDict()
        self._document: Document | None = None
        self._key: tuple[Path, str, ReadOptions] | None = None

    def read(self, task: PageTask) -> PageResult:
        """Read a page; what is wrong with the page itself is in the result."""
        reader = self.reader(task.options)
        document = self._open(reader, task)
        lines = None if task.known is None else _Along(task.known, task.along, task.size)
        read = reader.scan(document, task.index, lines=lines).page
        return PageResult(_placed(read, task), *_origin(reader, task, read.model))

    def reader(self, options: ReadOptions) -> Reader:
        """The reader of some options."""
        reader = self._readers.pop(options, None) or self.make(options)
        self._readers[options] = reader
        while len(self._readers) > _READERS:
            self._readers.popitem(last=False)[1].close()
        return reader

    def _open(self, reader: Reader, task: PageTask) -> Document:
        key = (task.path, task.name, task.options)
        if self._document is None or self._key != key:
            self.close()
            self._document, self._key = reader.open(task.path, name=task.name), key
        return self._document

    def close(self) -> None:
        """Close the document that is open."""
        if self._document is not None:
            self._document.close()
        self._document = self._key = None


def read_page(readers: PageReaders, task: PageTask) -> PageResult:
    """Read a page: the work of a worker process."""
    return readers.read(task)


def _origin(reader: Reader, task: PageTask, chosen: str) -> tuple[dict[str, Any], str]:
    provenance = json.loads(json.dumps(dict(reader.provenance), default=str))
    if chosen:
        provenance["model"] = chosen
    for entry in (provenance, *provenance.get("models", ())):  # folders say nothing to readers of the archive
        key = "model" if "model" in entry else "name"
        entry[key] = (task.names or {}).get(entry.get(key), entry.get(key))
    if task.known is not None:
        provenance["layout"] = "kept"
    try:
        return provenance, reader.fingerprint
    except UsageError:  # of a recogniser in memory
        return provenance, ""


class _Along:
    """The lines of a page in pixels of its image, which may be of another size than the archive's."""

    def __init__(self, known: Page, along: tuple[Line, ...], size: tuple[int, int]) -> None:
        self._known = known
        self._along = along
        self._size = size

    def __call__(self, size: tuple[int, int]) -> tuple[tuple[Region, ...], tuple[Line, ...]]:
        """Give them, and the same with the outlines that they are cut out along."""
        (along,) = _scaled((Region(Polygon(()), self._along),), self._size, size)
        return _scaled(self._known.regions, self._size, size), along.lines


def _placed(read: Page, task: PageTask) -> Page:
    """The page in coordinates of the archive; with the very lines that were read along, if there are such."""
    size = task.size if all(task.size) else (read.width, read.height)
    regions = read.regions
    if read.fault is None:
        regions = _scaled(regions, (read.width, read.height), size)
    if task.known is not None and read.fault is None:
        transcripts = iter([line.transcript for region in regions for line in region.lines])
        regions = tuple(
            replace(region, lines=tuple(replace(line, transcript=next(transcripts)) for line in region.lines))
            for region in task.known.regions
        )
    return replace(read, width=size[0], height=size[1], regions=regions)


def _scaled(regions: tuple[Region, ...], old: tuple[int, int], new: tuple[int, int]) -> tuple[Region, ...]:
    if old == new or not all(old):
        return regions
    x_scale, y_scale = new[0] / old[0], new[1] / old[1]

    def points(given: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple((x * x_scale, y * y_scale) for x, y in given)

    def outline(given: Polygon) -> Polygon:
        return Polygon(points(given.points))

    def read(given: Transcript | None) -> Transcript | None:
        if given is None:
            return None
        return replace(given, words=tuple(replace(word, polygon=outline(word.polygon)) for word in given.words))

    return tuple(
        replace(
            region,
            polygon=outline(region.polygon),
            lines=tuple(
                replace(
                    line,
                    baseline=points(line.baseline),
                    polygon=outline(line.polygon),
                    transcript=read(line.transcript),
                )
                for line in region.lines
            ),
        )
        for region in regions
    )
