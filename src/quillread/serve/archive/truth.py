"""Ground truth that `quill` reads back: pages as PAGE beside their images (`page:`), lines with their images."""

import io
import json
import logging
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from PIL import Image

from quillread import types
from quillread.data.parquet import write_rows
from quillread.errors import ImageError
from quillread.formats.export import find_format
from quillread.images.crop import CropConfig, crop_line
from quillread.images.read import open_document
from quillread.images.tones import as_positive
from quillread.serve.database.schema import Page
from quillread.serve.storage import Storage
from quillread.text.marks import as_written
from quillread.types import DocumentInfo, Scan, UInt8Image

log = logging.getLogger(__name__)

Pages = Iterable[tuple[str, Page, types.Page]]
"""Each with its name in the export, of folders parted by `/`, and without a suffix."""


class CutPage(NamedTuple):
    """A page whose lines are to be cut out."""

    name: str
    """As of `Pages`."""
    page: Page
    layout: types.Page
    along: Sequence[types.Line]
    """The lines of `layout` with the outlines that they are cut out along."""
    crop: CropConfig


_SUFFIXES = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png"}
"""Of originals that are images of one page, by how they begin."""


def write_page_zip(storage: Storage, pages: Pages, file: BinaryIO) -> None:
    """Write a zip of images with PAGE beside them; originals where they are JPEG or PNG, else the view."""
    output = find_format("page")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, page, layout in pages:
            blob, suffix = _image_of(storage, page)
            if blob is None:
                log.warning("page %d has no image, and is no ground truth", page.id)
                continue
            image = f"{name}.{suffix}"
            with storage.open(blob) as source, archive.open(_stored(image), "w", force_zip64=True) as member:
                while chunk := source.read(1 << 20):
                    member.write(chunk)
            with archive.open(f"{name}.xml", "w", force_zip64=True) as member:
                writer = output.make(member)  # type: ignore[arg-type]
                writer.begin(DocumentInfo(PurePosixPath(image).name, 1, page.provenance))
                writer.add(Scan(layout))
                writer.close(None)


def write_table(storage: Storage, pages: Iterable[CutPage], format: str, file: BinaryIO) -> None:
    """Write the lines that have a text, each with its image cut out as it is read.

    Args:
        storage: Of the images.
        pages: With the lines.
        format: `parquet`, one file with the columns `image`, `text`, `id`, `group`; or `jsonl`, a zip with
            `metadata.jsonl` and the images that it names, which is a folder of lines (`folder:`) when it is unpacked.
        file: Open for writing.
    """
    if format == "parquet":
        rows = (
            {"image": {"bytes": png, "path": f"{id.replace('/', '-')}.png"}, "text": text, "id": id, "group": group}
            for id, group, text, png in _lines(storage, pages)
        )
        write_rows(rows, file)
        return
    listed = io.StringIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for id, group, text, png in _lines(storage, pages):
            archive.writestr(_stored(f"{id}.png"), png)
            row = {"image": f"{id}.png", "text": text, "id": id, "group": group}
            listed.write(json.dumps(row, ensure_ascii=False) + "\n")
        archive.writestr("metadata.jsonl", listed.getvalue())


def _lines(storage: Storage, pages: Iterable[CutPage]) -> Iterator[tuple[str, str, str, bytes]]:
    """Id, group (the page), text as it is written, and PNG of each line that has a text and can be read."""
    for name, page, layout, along, crop in pages:
        if page.view is None:
            log.warning("page %d has no image, and is no ground truth", page.id)
            continue
        with open_document(storage.path(page.view)) as document:
            image = as_positive(document.page(0))
        for number, (line, place) in enumerate(zip(layout.lines, along, strict=True), start=1):
            text = as_written(line.transcript.text) if line.transcript else None
            if not text:
                continue
            try:
                pixels, _ = crop_line(image, place, crop)
            except ImageError as error:
                log.warning("page %d, line %d: is skipped: %s", page.id, number, error.message)
                continue
            yield f"{name}-{number:03}", name, text, _png(pixels)


def _image_of(storage: Storage, page: Page) -> tuple[str | None, str]:
    """The file that shows a page in the pixels of its coordinates, and its suffix."""
    if page.source is not None and page.source_index == 0:
        with storage.open(page.source) as file:
            head = file.read(4)
        for start, suffix in _SUFFIXES.items():
            if head.startswith(start):
                return page.source, suffix
    return page.view, "jpg"


def _stored(name: str) -> zipfile.ZipInfo:
    """A member that is not compressed, as images are already."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _png(pixels: UInt8Image) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
