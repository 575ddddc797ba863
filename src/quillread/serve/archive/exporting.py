"""Exports: pages, documents and collections in every format of `quill read`, and as ground truth.

Pages are taken out of the database one by one, and written as they come, so that a collection may have any number.
"""

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread import types
from quillread.config import build
from quillread.errors import Fault
from quillread.formats.export import FORMATS, Format, find_format
from quillread.images.crop import CropConfig
from quillread.serve.access.actor import Actor
from quillread.serve.archive.cutting import find_outlines
from quillread.serve.archive.find import find_collection, find_document, find_page
from quillread.serve.archive.home import Archive
from quillread.serve.archive.layouts import read_layout
from quillread.serve.archive.truth import CutPage, write_page_zip, write_table
from quillread.serve.database.schema import Document, Page
from quillread.types import DocumentInfo, Progress, Scan

TRUTH = ("page-zip", "parquet", "jsonl")
"""Ground truth: PAGE with images; lines with their images as a table, and as files with a list."""
ALL_FORMATS = (*FORMATS, *TRUTH)
_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    "page": "application/xml",
    "alto": "application/xml",
    "hocr": "application/xhtml+xml",
    "md": "text/markdown; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pdf": "application/pdf",
    "parquet": "application/vnd.apache.parquet",
}
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_LONGEST_NAME = 100
_MOST_BYTES = 200
"""Of a name, in UTF-8; file systems take 255, with the number of a page and a suffix."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported; one of the three."""

    page_ids: tuple[int, ...] = ()
    document_ids: tuple[int, ...] = ()
    collection_id: int | None = None


class Exported(NamedTuple):
    """What became of it."""

    name: str
    """Of the file."""
    media_type: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """Pages of one document that are exported."""

    name: str
    """Of the document, fit for a file, and no other's of the export."""
    title: str
    page_ids: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """Which pages of the document they are, from 1."""


def export(
    archive: Archive,
    actor: Actor,
    selection: Selection,
    format: str,
    file: BinaryIO,
    checked: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> Exported | None:
    """Write an export into a file.

    Args:
        archive: That it is of.
        actor: Who asks.
        selection: Of what.
        format: Of `ALL_FORMATS`. Where it takes several files, a zip holds them.
        file: Open for writing.
        checked: Whether only lines are wanted that a person has taken as right.
        cancelled: Asked between pages whether to stop.
        progress: Called after each page.

    Returns:
        Name and type of the file; None if it was cancelled, and is not whole.

    Raises:
        UsageError: If there is no such format.
        NotFoundError: If something selected is not there, or they may not know of it.
        InputError: If an image is missing from the storage.
    """
    if format not in TRUTH:
        find_format(format)
    with archive.database.read() as session:
        title, bundles = _select(session, actor, selection)
    work = _Work(archive, checked, cancelled, progress, sum(len(bundle.page_ids) for bundle in bundles))
    if format in TRUTH:
        pages = (
            (bundle, number, id)
            for bundle in bundles
            for number, id in zip(bundle.numbers, bundle.page_ids, strict=True)
        )
        is_whole = _write_truth(work, pages, format, file)
        suffix = "parquet" if format == "parquet" else "zip"
        done = Exported(f"{title}.{suffix}", _TYPES.get(format, "application/zip"))
    else:
        is_whole, is_zip = _write_files(work, bundles, format, file)
        suffix = "zip" if is_zip else FORMATS[format].suffix
        done = Exported(f"{title}.{suffix}", "application/zip" if is_zip else _TYPES[format])
    return done if is_whole else None


def safe_name(name: str) -> str:
    """A name fit for a file on every system."""
    cut = _UNSAFE.sub("_", name).strip(" .")[:_LONGEST_NAME].encode(errors="replace")[:_MOST_BYTES]
    return cut.decode(errors="ignore").strip(" .") or "untitled"


@dataclass(slots=True)
class _Work:
    """What all writers share."""

    archive: Archive
    checked: bool
    cancelled: Callable[[], bool]
    progress: Progress | None
    total: int
    done: int = 0

    def load(self, page_id: int, number: int) -> tuple[Page, types.Page] | None:
        """A page with its layout; None if it has gone meanwhile."""
        with self.archive.database.read() as session:
            page = session.get(Page, page_id)
            if page is None:
                return None
            layout = read_layout(session, page, checked=self.checked, number=number).page
        if page.fault is not None and not layout.lines:
            layout = replace(layout, fault=Fault(**page.fault))
        return page, layout

    def load_cut(self, name: str, page_id: int, number: int) -> CutPage | None:
        """A page whose lines are to be cut out as they are read; None if it has gone meanwhile."""
        with self.archive.database.read() as session:
            page = session.get(Page, page_id)
            if page is None:
                return None
            layout = read_layout(session, page, checked=self.checked, number=number)
            options = page.document.collection.settings.get("options", {})
            crop = build(CropConfig, options.get("crop", {}), "options.crop")
            outlines = find_outlines(session, page, crop.outline)
        return CutPage(name, page, layout.page, [outlines[id] for id in layout.line_ids], crop)

    def step(self) -> bool:
        """Count a page; whether to go on."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
        return not self.cancelled()


def _select(session: Session, actor: Actor, selection: Selection) -> tuple[str, list[Bundle]]:
    """The pages that are exported by their documents, and the name of it all."""
    if selection.collection_id is not None:
        collection = find_collection(session, actor, selection.collection_id)
        chosen = select(Document).where(Document.collection_id == collection.id, Document.deleted.is_(None))
        documents = list(session.scalars(chosen.order_by(Document.position, Document.id)))
        title = collection.name
    else:
        pages = [find_page(session, actor, id) for id in selection.page_ids]
        ids = [*selection.document_ids, *(page.document_id for page in pages)]
        documents = [find_document(session, actor, id) for id in dict.fromkeys(ids)]
        title = documents[0].name if len(documents) == 1 else "export"
    bundles, names = [], set[str]()
    wanted = set(selection.page_ids)
    for document in documents:
        bundle = Bundle(_unused(safe_name(document.name), names), document.name)
        order = select(Page.id).where(Page.document_id == document.id, Page.deleted.is_(None))
        for number, id in enumerate(session.scalars(order.order_by(Page.position, Page.id)), start=1):
            if not wanted or id in wanted:
                bundle.page_ids.append(id)
                bundle.numbers.append(number)
        bundles.append(bundle)
    place = f"-{bundles[0].numbers[0]:04}" if len(wanted) == 1 and bundles[0].numbers else ""
    return safe_name(title) + place, bundles


def _unused(name: str, names: set[str]) -> str:
    """A name that no other has, upper and lower case alike."""
    count, found = 1, name
    while found.casefold() in names:
        count += 1
        found = f"{name} ({count})"
    names.add(found.casefold())
    return found


def _write_files(work: _Work, bundles: Sequence[Bundle], format: str, file: BinaryIO) -> tuple[bool, bool]:
    """Write a file a document, or a file a page; whether it is whole, and a zip."""
    output = find_format(format)
    parts = [part for bundle in bundles for part in (_pages(bundle) if output.a_file_a_page else [bundle])]
    if len(parts) == 1:
        return _write_document(work, parts[0], output, file), False
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            with archive.open(f"{part.name}.{output.suffix}", "w", force_zip64=True) as member:
                if not _write_document(work, part, output, member):
                    return False, True
    return True, True


def _pages(bundle: Bundle) -> Iterable[Bundle]:
    """The pages of a document, each as one of its own."""
    for number, id in zip(bundle.numbers, bundle.page_ids, strict=True):
        yield Bundle(f"{bundle.name}-{number:04}", bundle.title, [id], [number])


def _write_document(work: _Work, bundle: Bundle, output: Format, file: Any) -> bool:
    """Write a document; False if it was cancelled."""
    writer = output.make(file)
    with ExitStack() as undo:
        undo.callback(writer.abort)
        is_begun = False
        for number, id in zip(bundle.numbers, bundle.page_ids, strict=True):
            if loaded := work.load(id, number):
                page, layout = loaded
                if not is_begun:
                    writer.begin(_info(bundle, output, page, layout))
                    is_begun = True
                writer.add(_scan(work.archive, page, layout, output))
            if not work.step():
                return False
        if not is_begun:
            writer.begin(DocumentInfo(bundle.title, 0))
        writer.close(None)
    return True


def _info(bundle: Bundle, output: Format, page: Page, layout: types.Page) -> DocumentInfo:
    if output.a_file_a_page:  # which name the image that they are about
        return DocumentInfo(layout.source or bundle.title, page.source_index + 1, page.provenance)
    return DocumentInfo(bundle.title, len(bundle.page_ids), page.provenance)


def _scan(archive: Archive, page: Page, layout: types.Page, output: Format) -> Scan:
    if output.a_file_a_page:
        return Scan(replace(layout, number=page.source_index + 1))
    if not output.shows_images or page.view is None:
        return Scan(layout)
    # The JPEG is taken as it is: of the image only the size is asked for.
    blank = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (page.height, page.width, 3))
    return Scan(layout, blank, jpeg=partial(archive.storage.read, page.view))


def _write_truth(work: _Work, pages: Iterator[tuple[Bundle, int, int]], format: str, file: BinaryIO) -> bool:
    def numbered() -> Iterator[tuple[str, int, int]]:
        for bundle, number, id in pages:
            yield f"{bundle.name}/{number:04}", id, number
            if not work.step():
                is_whole[0] = False
                return

    is_whole = [True]
    storage = work.archive.storage
    if format == "page-zip":
        found = ((name, work.load(id, number)) for name, id, number in numbered())
        write_page_zip(storage, ((name, *each) for name, each in found if each and each[1].lines), file)
    else:
        cut = (work.load_cut(name, id, number) for name, id, number in numbered())
        write_table(storage, (each for each in cut if each and each.layout.lines), format, file)
    return is_whole[0]
