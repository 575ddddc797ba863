"""The lines that a model is taught with and measured on, cut out of their pages into files that `quill train` reads."""

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread import types
from quillread.errors import ImageError, InputError
from quillread.images.crop import CropConfig, crop_line
from quillread.images.read import open_document
from quillread.images.tones import as_positive
from quillread.serve.archive.cutting import find_outlines
from quillread.serve.archive.home import Archive
from quillread.serve.database.readings import unpack_points
from quillread.serve.database.schema import Line, Page
from quillread.text.marks import as_written
from quillread.types import Polygon

log = logging.getLogger(__name__)

TRAIN, VALIDATION = "train", "validation"
"""Splits of the files."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class TrainingLine:
    """A checked line with its place."""

    id: int
    page_id: int
    text: str
    place: types.Line


def find_training_lines(session: Session, ids: Sequence[int]) -> list[TrainingLine]:
    """Look up lines, in the order of their pages, with the text that the hand wrote, skipping unreadable ones."""
    found: list[TrainingLine] = []
    for start in range(0, len(ids), _AT_ONCE):
        for row in session.scalars(select(Line).where(Line.id.in_(ids[start : start + _AT_ONCE]))):
            if text := " ".join((as_written(row.text) or "").split()):
                found.append(TrainingLine(row.id, row.page_id, text, _place(row)))
    return sorted(found, key=lambda line: (line.page_id, line.id))


def digest_of(taught: Sequence[TrainingLine], held: Sequence[TrainingLine], **settings: object) -> str:
    """What a training depends on, in a few characters: one that was stopped goes on only with the same."""
    facts = [[(line.id, line.text, line.place.baseline, line.place.polygon.points) for line in part]
             for part in (taught, held)]  # fmt: skip
    return hashlib.sha256(json.dumps([facts, settings], sort_keys=True, default=str).encode()).hexdigest()


def write_training_lines(
    archive: Archive, lines: Sequence[TrainingLine], crop: CropConfig, folder: Path, split: str
) -> list[TrainingLine]:
    """Cut lines out of their pages as they are read, and write them as a parquet file.

    Args:
        archive: That has the pages.
        lines: Sorted by page.
        crop: How lines are cut out.
        folder: For the file.
        split: Its name.

    Returns:
        The lines that were written; those that cannot be cut out are skipped, and told in the log.
    """
    # Late: a server that starts has no use for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("text", pa.string()), ("id", pa.string()), ("group", pa.string())])
    part, written = folder / f".{split}.part", []
    with pq.ParquetWriter(part, schema) as writer:
        for page_id, of_page in groupby(lines, attrgetter("page_id")):
            cut = list(_cut(archive, page_id, list(of_page), crop))
            rows = [
                {"image": {"bytes": png, "path": None}, "text": line.text, "id": str(line.id), "group": str(page_id)}
                for line, png in cut
            ]
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))
            written += [line for line, _ in cut]
    part.replace(folder / f"{split}-00000.parquet")
    return written


def clear(folder: Path) -> None:
    """Delete the folder of a training."""
    shutil.rmtree(folder, ignore_errors=True)


def _cut(
    archive: Archive, page_id: int, lines: Sequence[TrainingLine], crop: CropConfig
) -> Iterator[tuple[TrainingLine, bytes]]:
    try:
        with archive.database.read() as session:
            page = session.get_one(Page, page_id)
            along = find_outlines(session, page, crop.outline)
        with open_document(archive.storage.path(page.view or "")) as document:
            image = as_positive(document.page(0))
    except (ImageError, InputError) as error:
        log.warning("page %d: its lines teach nothing: %s", page_id, error.message)
        return
    for line in lines:
        try:
            pixels, _ = crop_line(image, along.get(line.id, line.place), crop)
        except ImageError as error:
            log.warning("line %d: cannot be cut out, and teaches nothing: %s", line.id, error.message)
            continue
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG", compress_level=1)
        yield line, png.getvalue()


def _place(row: Line) -> types.Line:
    return types.Line(unpack_points(row.baseline), Polygon(unpack_points(row.polygon)))
