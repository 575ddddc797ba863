"""Pages whose lines are known, from PAGE or ALTO files, whichever it is."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from quillread.errors import DataError
from quillread.formats.alto import read_alto
from quillread.formats.pagexml import read_page_xml
from quillread.images.geometry import normals_at, points_at, polyline_length
from quillread.images.read import is_readable_name
from quillread.types import Line, Page, Polygon

_READERS = {b"PcGts": read_page_xml, b"alto": read_alto}
_FOLDERS = ("page", "alto")
"""Folders beside the images, in which Transkribus puts its XML."""


def read_layout(path: Path) -> Page | None:
    """Read a PAGE or ALTO file; None if it is another XML file.

    Raises:
        DataError: If it is damaged.
        OSError: If it cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    root = re.search(rb"<(?:\w+:)?(PcGts|alto)\b", head)
    return _READERS[root[1]](path) if root else None


def find_layouts(folder: Path) -> Iterator[tuple[Path, Page]]:
    """Read all PAGE and ALTO files below a folder that know of lines, in the order of their names.

    Raises:
        DataError: If there is none, or one is damaged.
    """
    found = 0
    for path in sorted(folder.rglob("*.xml")):
        page = read_layout(path)
        if page and page.lines:
            found += 1
            yield path, page
    if not found:
        raise DataError(f"{folder}: holds no PAGE or ALTO file with lines")


def find_image(path: Path, page: Page) -> Path:
    """Find the image of a PAGE or ALTO file: of its stem, or else of the name that it says, beside it or one above.

    Raises:
        DataError: If there is none.
    """
    places = [path.parent, *([path.parent.parent] if path.parent.name in _FOLDERS else [])]
    named = re.split(r"[/\\]", page.source)[-1]  # the rest of it is a path on another machine
    stem = re.sub(r"([*?\[])", r"[\1]", path.stem)
    for place in places:
        same_stem = sorted(p for p in place.glob(f"{stem}.*") if is_readable_name(p))
        for image in (*same_stem, place / named):
            if image.is_file() and is_readable_name(image):
                return image
    raise DataError(f"{path}: has no image of its name beside it")


_ABOVE, _BELOW, _BEYOND = 0.75, 0.3, 0.25
"""What belongs to a line above, below and at either end of its baseline, in line distances."""


def outline_lines(page: Page, *, by_baseline: bool = False) -> Page:
    """Give the lines of a page that have no outline one along their baseline.

    Args:
        page: As the readers of PAGE and ALTO return it.
        by_baseline: Give such an outline to all lines.
    """
    pitch = line_pitch(page)

    def outlined(line: Line) -> Line:
        box, base = line.polygon.bounds, Polygon(line.baseline).bounds
        # For a line without a polygon, the readers take the box of its baseline.
        return _along_baseline(line, pitch) if by_baseline or box == base else line

    regions = (replace(region, lines=tuple(map(outlined, region.lines))) for region in page.regions)
    return replace(page, regions=tuple(regions))


def line_pitch(page: Page) -> float:
    """Estimate the distance of the baselines of a page in pixels, a tenth of the longest if there is one only."""
    boxes = [Polygon(line.baseline).bounds for line in page.lines]
    gaps = []
    for box in boxes:
        middle = (box.y0 + box.y1) / 2
        below = [
            (other.y0 + other.y1) / 2 - middle
            for other in boxes
            if min(box.x1, other.x1) - max(box.x0, other.x0) > 0.3 * min(box.width, other.width)
        ]
        gaps.extend([min(gap for gap in below if gap > 1)] if any(gap > 1 for gap in below) else [])
    return float(np.median(gaps)) if gaps else max((box.width for box in boxes), default=10.0) / 10 or 1.0


def _along_baseline(line: Line, pitch: float) -> Line:
    if polyline_length(line.baseline) == 0:
        return line
    # The ends of the writing reach over those of the baseline.
    length, over = polyline_length(line.baseline), _BEYOND * pitch
    distances = np.linspace(-over, length + over, 2 + int(4 * length / pitch))
    points, normals = points_at(line.baseline, distances), normals_at(line.baseline, distances)
    upper, lower = points - _ABOVE * pitch * normals, points + _BELOW * pitch * normals
    outline = np.vstack((upper, lower[::-1])).tolist()
    return replace(line, polygon=Polygon(tuple((x, y) for x, y in outline)))
