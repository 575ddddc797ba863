"""Outlines for lines of PAGE and ALTO files that have none, drawn along their baselines."""

from dataclasses import replace

import numpy as np

from quillread.images.geometry import normals_at, points_at, polyline_length
from quillread.types import Line, Page, Polygon

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
