"""The pure work of reading a page, in a worker process: it knows files and options, and no database.

Around it, in the server process: what to read is looked up before, and the result is put into the archive after.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread.errors import InputError, UsageError
from quillread.images.document import Document
from quillread.options import ReadOptions
from quillread.reader import Reader
from quillread.serve.archive.home import Archive
from quillread.serve.archive.layouts import read_layout
from quillread.serve.archive.models import place_models
from quillread.serve.archive.readings import apply_reading
from quillread.serve.archive.settings import read_options
from quillread.serve.database.schema import Collection, Line, LineVersion, Page
from quillread.serve.database.schema import Document as DocumentRow
from quillread.serve.jobs.claims import Claim
from quillread.types import Page as ReadPage
from quillread.types import Point, Polygon, Region, Transcript

ReaderMaker = Callable[[ReadOptions], Reader]
"""Makes the reader of some options, in the worker process: a function or class of a module."""

LASTING = frozenset({"usage", "config", "model", "extra", "input", "image", "data"})
"""Kinds of faults that a second try would meet again."""
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
    known: ReadPage | None = None
    """Lines to read along; None to find them."""
    line_ids: tuple[int, ...] | None = None
    """Of the lines of `known`."""
    names: Mapping[str, str] | None = None
    """Of models by their folders, as the archive calls them."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """What became of a page."""

    page: ReadPage
    """In coordinates of the archive."""
    provenance: Mapping[str, Any]
    """Plain data."""
    fingerprint: str


class PageReaders:
    """Reads pages with any options; the state of a worker process.

    Readers of the last options stay, and so does the document that was opened last, as a PDF has many pages.

    Args:
        make: Makes readers.
    """

    def __init__(self, make: ReaderMaker) -> None:
        self._make = make
        self._readers: OrderedDict[ReadOptions, Reader] = OrderedDict()
        self._document: Document | None = None
        self._key: tuple[Path, ReadOptions] | None = None

    def read(self, task: PageTask) -> PageResult:
        """Read a page; what is wrong with the page itself is in the result."""
        reader = self.reader(task.options)
        document = self._open(reader, task)
        lines = None if task.known is None else _Along(task.known, task.size)
        read = reader.scan(document, task.index, lines=lines).page
        return PageResult(_placed(read, task), *_origin(reader, task))

    def reader(self, options: ReadOptions) -> Reader:
        """The reader of some options."""
        reader = self._readers.pop(options, None) or self._make(options)
        self._readers[options] = reader
        while len(self._readers) > _READERS:
            self._readers.popitem(last=False)[1].close()
        return reader

    def _open(self, reader: Reader, task: PageTask) -> Document:
        key = (task.path, task.options)
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


def find_task(archive: Archive, session: Session, claim: Claim) -> PageTask | None:
    """Look up what a task is about; None if there is nothing to read any more.

    Raises:
        InputError: If the original is missing.
        RequestError: If options are not of this version.
        NotFoundError: If a model was deleted.
    """
    page = session.get(Page, claim.page_id) if claim.page_id is not None else None
    if page is None or _is_binned(session, page):
        return None
    if page.source is None:
        raise InputError(f"page {page.id}: has no image", hint="upload it again")
    given = place_models(archive, session, claim.options)
    options = (
        replace(read_options(claim.options), models=tuple(given["models"]), threads=1)
        if "models" in given
        else (replace(read_options(claim.options), threads=1))
    )
    path, line_ids = archive.storage.path(page.source), claim.payload.get("line_ids")
    name = page.source_name or f"page {page.id}"
    task = PageTask(path, name, page.source_index, (page.width, page.height), options)
    names = dict(zip(given.get("models", ()), claim.options.get("models", ()), strict=True))
    task = replace(task, names={folder: name for folder, name in names.items() if folder != name})
    if line_ids is None and not _keeps(session, page, claim):
        return task
    layout = read_layout(session, page, line_ids)
    if layout.line_ids:
        return replace(task, known=layout.page, line_ids=layout.line_ids)
    return task if line_ids is None else None


def store_result(session: Session, claim: Claim, task: PageTask, result: PageResult) -> None:
    """Put what was read into the archive."""
    page = session.get_one(Page, claim.page_id)
    if page.width == 0:
        page.width, page.height = result.page.width, result.page.height
    apply_reading(session, page, result.page, result.provenance, result.fingerprint, task.line_ids)


def _is_binned(session: Session, page: Page) -> bool:
    document = session.get_one(DocumentRow, page.document_id)
    collection = session.get_one(Collection, document.collection_id)
    return any(thing.deleted is not None for thing in (page, document, collection))


def _keeps(session: Session, page: Page, claim: Claim) -> bool:
    """Whether to read along the lines that are there."""
    if layout := claim.payload.get("layout"):
        return bool(layout == "keep")
    own = select(LineVersion.id).join(Line).where(Line.page_id == page.id, LineVersion.kind != "machine").limit(1)
    return page.drawn or session.scalar(own) is not None


def _origin(reader: Reader, task: PageTask) -> tuple[dict[str, Any], str]:
    provenance = json.loads(json.dumps(dict(reader.provenance), default=str))
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

    def __init__(self, known: ReadPage, size: tuple[int, int]) -> None:
        self._known = known
        self._size = size

    def __call__(self, size: tuple[int, int]) -> tuple[Region, ...]:
        """Give them."""
        return _scaled(self._known.regions, self._size, size)


def _placed(read: ReadPage, task: PageTask) -> ReadPage:
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
