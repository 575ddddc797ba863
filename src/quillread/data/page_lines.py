"""Lines cut out of pages whose ground truth lies beside them as PAGE or ALTO XML."""

import logging
import os
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import cast, get_args

import cv2
import numpy as np

from quillread.data.source import Cell, Row, RowSource, Source, list_few
from quillread.data.spec import DataSpec
from quillread.data.tables import split_folder
from quillread.errors import DataError, ImageError, InputError
from quillread.formats.ground_truth import GroundTruth, fit_page, place_below
from quillread.formats.outlines import outline_lines
from quillread.images.crop import Outline, crop_line
from quillread.images.geometry import polyline_length
from quillread.images.pictures import read_size
from quillread.images.read import open_document
from quillread.images.tones import as_positive
from quillread.types import Line, Page, UInt8Image

log = logging.getLogger(__name__)

_ASPECT_MARGIN = 0.04
"""What the crop has around the polygon, in heights of the line."""


def open_page_lines(spec: DataSpec, split: str) -> Source:
    """Open a folder of pages with ground truth, searched recursively (source `page:`).

    The XML has the stem of its image, or names it, and lies beside it or in a folder `page` or `alto` there. If the
    folder has folders named after splits, the one asked for is opened. The group of a line is its page. Lines
    without text are skipped and counted; files that cannot be used are skipped and named in a warning.

    Option `outline`: `both` cuts along the polygon and the band along the baseline together, `polygon` along the
    polygon, `baseline` along the baseline, as high as lines are apart. Lines without a polygon are cut along the
    baseline.

    The lines of a page are cut when the first of them is asked for, and kept in a temporary folder, which goes
    with the process: 0.3 MB a line is usual.

    Raises:
        DataError: If there is no page that can be used, no line with text, or not the split.
    """
    spec.refuse_unknown(("outline",))
    outline = cast(Outline, spec.choice("outline", get_args(Outline)))
    folder, name = Path(spec.where), f"page:{spec.where} ({split})"
    if not folder.is_dir():
        raise DataError(f"{name}: is not a folder")
    pages, faults = read_all_pages(split_folder(folder, split, name))
    lines, without_text = [], 0
    for (image, page_number), page in pages.items():
        start = str(place_below(folder, image).with_suffix(""))
        start += f"-{page_number:04}" if page_number > 1 else ""
        for number, line in enumerate(outline_lines(page, outline).lines, 1):
            place = _PageLine(f"{start}-{number:03}", start, image, page_number, line)
            if line.transcript is None:
                without_text += 1
            elif _has_area(line, page):
                lines.append(place)
            else:
                faults.append(f"{place.id}: its baseline or polygon has no extent on the page")
    if faults:
        log.warning("%s: skipped, %d faults: %s", name, len(faults), list_few(faults))
    if without_text:
        log.warning("%s: %d lines have no text and are skipped", name, without_text)
    if not lines:
        raise DataError(
            f"{name}: holds no line with text on an image of its own", hint="put page-1.xml beside page-1.jpg"
        )
    log.info("%s: %d lines of %d pages", name, len(lines), len(pages))
    cut = _CutLines(lines)
    return RowSource(name, [_row(place, Cell(cut, number)) for number, place in enumerate(lines)])


@dataclass(frozen=True, slots=True)
class _PageLine:
    id: str
    page: str
    """Path of the image in the folder of the source, without its suffix; with the number of a further page of it."""
    image: Path
    """Of the page."""
    number: int
    """Of the page in it, from 1."""
    line: Line


def _row(place: _PageLine, cell: Cell) -> Row:
    text = place.line.transcript.text if place.line.transcript else ""
    return Row(place.id, cell, text, place.page, _aspect(place.line))


class _CutLines:
    """The lines of pages as PNG, each page decoded once whatever the order they are asked for in."""

    def __init__(self, places: Sequence[_PageLine]) -> None:
        self._places = places
        self._rows: dict[tuple[Path, int], list[int]] = {}
        for row, place in enumerate(places):
            self._rows.setdefault((place.image, place.number), []).append(row)
        self._folder = Path(mkdtemp(prefix="quillread-lines-"))
        weakref.finalize(self, _remove, self._folder, os.getpid())

    def read(self, row: int) -> bytes:
        try:
            return self._file(row).read_bytes()
        except FileNotFoundError:
            return self._cut(row)

    def _file(self, row: int) -> Path:
        return self._folder / f"{row}.png"

    def _cut(self, wanted: int) -> bytes:
        """Cut all lines of the page of a line, as the others will be asked for too."""
        place = self._places[wanted]
        page = _decode(place.image, place.number)
        for row in self._rows[place.image, place.number]:
            if row != wanted and not self._file(row).exists():
                try:
                    self._keep(row, page)
                except ImageError:
                    continue  # raised when that line is asked for
        try:
            return self._keep(wanted, page)
        except ImageError as error:
            raise DataError(f"{place.image}, {place.id}: {error.message}", hint=error.hint) from error

    def _keep(self, row: int, page: UInt8Image) -> bytes:
        pixels, _ = crop_line(page, self._places[row].line)
        # Worker processes share the folder: none may find a file half written.
        draft = self._folder / f"{row}.{os.getpid()}"
        content = cv2.imencode(".png", pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        try:
            draft.write_bytes(content)
            draft.replace(self._file(row))
        except OSError as error:
            raise DataError(
                f"{draft}: cannot be written: {error.strerror}", hint="set TMPDIR to a larger disk"
            ) from error
        return content


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a worker process that ends must not take the others' lines away
        shutil.rmtree(folder, ignore_errors=True)


def _decode(image: Path, number: int = 1) -> UInt8Image:
    try:
        with open_document(image) as document:
            return as_positive(document.page(number - 1))  # as when it is read
    except ImageError as error:
        raise DataError(error.message, hint=error.hint) from error


def read_pages(folder: Path) -> tuple[dict[Path, Page], list[str]]:
    """Read the pages with ground truth below a folder, of images of several the first one.

    Returns:
        The pages by their image, in the order of the images' names; and what is wrong with the other XML files: no
        image, an image of another size, damaged, about a further page.

    Raises:
        DataError: If there is no such folder, or no XML in it.
    """
    pages, faults = read_all_pages(folder)
    further = [f"{image}, page {number}: is not the first of its file" for image, number in pages if number > 1]
    return {image: page for (image, number), page in pages.items() if number == 1}, faults + further


def read_all_pages(folder: Path) -> tuple[dict[tuple[Path, int], Page], list[str]]:
    """Read all pages with ground truth below a folder.

    Returns:
        The pages by their image and their number in it, in that order; and what is wrong with the other XML files, as
        of `read_pages`.

    Raises:
        DataError: If there is no such folder, or no XML in it.
    """
    pages: dict[tuple[Path, int], Page] = {}
    faults: list[str] = []
    for pair in GroundTruth(folder).pairs():
        try:
            if pair.image is not None and pair.page is not None:
                pages[pair.image, pair.number] = _fitted(pair.image, pair.number, pair.page, pair.xml)
            elif pair.fault is not None:
                faults.append(pair.fault.message)
        except InputError as error:
            faults.append(error.message)
    return pages, faults


def _fitted(image: Path, number: int, page: Page, xml: Path) -> Page:
    """Refuse an image that was scaled after its lines were drawn: they would be cut in the wrong places."""
    try:
        size = read_size(image, number - 1)
    except ImageError:  # of a PDF or HEIC no header is read
        try:
            height, width, _ = _decode(image, number).shape
        except DataError:
            return page  # its lines count: what is wrong with it is said when they are to be read
        size = (width, height)
    return fit_page(page, size, xml, f"{image}:")


def _has_area(line: Line, page: Page) -> bool:
    outline = np.clip(np.array(line.polygon.points), 0, (page.width, page.height)).astype(np.float32)
    return bool(polyline_length(line.baseline) > 0 and len(outline) > 2 and cv2.contourArea(outline) >= 1)


def _aspect(line: Line) -> float:
    """Estimate width over height of the crop from the extent of the polygon along and across the baseline."""
    points, baseline = np.array(line.polygon.points), np.array(line.baseline)
    along = baseline[-1] - baseline[0]
    along = along / max(float(np.hypot(*along)), 1e-6)
    width, height = np.ptp(points @ along), np.ptp(points @ (-along[1], along[0]))
    margin = 2 * _ASPECT_MARGIN * height
    return float((width + margin) / max(height + margin, 1.0))
