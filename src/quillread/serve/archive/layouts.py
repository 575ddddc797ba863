"""The layout of a page as the rest of Quillread knows it: regions, lines and transcripts, made of the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import cast

import cv2
import numpy as np
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from quillread import types
from quillread.formats.xml_io import rectangle
from quillread.serve.archive.geometry import lies_in
from quillread.serve.archive.views import Box
from quillread.serve.archive.words import PlacedWord, as_words, draft_confidences, place_words, read_words
from quillread.serve.database.readings import unpack_points, unpack_reading
from quillread.serve.database.schema import Line, LineVersion, Page, Region
from quillread.types import Point, Polygon, RegionKind, Transcript


@dataclass(frozen=True)
class LineState:
    """A line as it is now."""

    row: Line
    version: LineVersion | None
    """The one that counts; None if nothing was read."""
    machine: LineVersion | None
    """The last reading of a machine."""

    @cached_property
    def place(self) -> types.Line:
        """Where it is, without its text."""
        return place_of(self.row)

    @cached_property
    def read(self) -> Transcript | None:
        """What a machine has read last."""
        if self.machine is None:
            return None
        return unpack_reading(self.machine.text, self.machine.confidence, self.machine.reading)

    @cached_property
    def words(self) -> tuple[PlacedWord, ...]:
        """Of the text that counts: those of a draft are as sure as the machine that has read them alike."""
        if self.version is self.machine:
            return read_words(self.read) if self.read is not None else ()
        placed = self._placed
        if self.row.checked or self.read is None or self.version is None or self.version.kind == "import":
            return placed
        sure = draft_confidences(placed, self.read)
        return tuple(replace(word, confidence=each) for word, each in zip(placed, sure, strict=True))

    @property
    def _placed(self) -> tuple[PlacedWord, ...]:
        """The words of a text that no machine has written, with confidence 1."""
        if self.read is not None and self.read.text == self.row.text:
            words = read_words(self.read)
            if words or not self.row.text:
                return tuple(replace(word, confidence=1.0) for word in words)
        box, read = self.place.polygon.bounds, self.read
        if read is not None and not any(_is_within(word.polygon.bounds, box) for word in read.words):
            read = None  # the line was moved since
        return place_words(self.row.text, self.place, read)

    @property
    def transcript(self) -> Transcript | None:
        """Of the text that counts; None if there is none."""
        if self.version is None:
            return None
        if self.version is self.machine:
            return self.read
        sure = 1.0 if self.row.confidence is None else self.row.confidence
        return Transcript(self.row.text, sure, as_words(self.words))

    @property
    def line(self) -> types.Line:
        """The line with its transcript."""
        return replace(self.place, transcript=self.transcript)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a page, with the ids of its lines."""

    page: types.Page
    line_ids: tuple[int, ...]
    """Of `page.lines`, in their order."""


def place_of(row: Line) -> types.Line:
    """Where a line is, without its text."""
    baseline, polygon = unpack_points(row.baseline), Polygon(unpack_points(row.polygon))
    return types.Line(baseline, polygon, id=row.xml_id, printed=row.printed)


def part_of(line: types.Line, width: int, height: int) -> tuple[Box, types.Line]:
    """The part of a page that a line needs when it is cut out, and the line on it.

    Args:
        line: On the page.
        width: Of the page.
        height: Of the page.
    """
    points = np.array((*line.polygon.points, *line.baseline))
    margin = 8 + np.ptp(line.polygon.points, axis=0).min() / 4
    x0, y0 = np.clip(np.floor(points.min(axis=0) - margin), 0, (width - 1, height - 1)).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(points.max(axis=0) + margin), (x0 + 1, y0 + 1), (width, height)).astype(int).tolist()

    def moved(given: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple((x - x0, y - y0) for x, y in given)

    moved_line = replace(line, baseline=moved(line.baseline), polygon=Polygon(moved(line.polygon.points)))
    return Box(x0, y0, x1 - x0, y1 - y0), moved_line


def load_lines(session: Session, rows: Sequence[Line]) -> list[LineState]:
    """Find the versions of lines that count, and their last readings."""
    ids = [row.id for row in rows]
    last = (
        select(func.max(LineVersion.id))
        .where(LineVersion.line_id.in_(ids), LineVersion.kind == "machine")
        .group_by(LineVersion.line_id)
    )
    current = [row.current_id for row in rows if row.current_id is not None]
    wanted = or_(LineVersion.id.in_(current), LineVersion.id.in_(last))
    versions = session.scalars(select(LineVersion).where(LineVersion.line_id.in_(ids), wanted)).all()
    by_id = {version.id: version for version in versions}
    machine = {version.line_id: version for version in sorted(versions, key=_id) if version.kind == "machine"}
    return [LineState(row, by_id.get(row.current_id or 0), machine.get(row.id)) for row in rows]


def live_lines(session: Session, page_id: int) -> list[Line]:
    """The lines of a page that are not deleted, in reading order."""
    chosen = select(Line).where(Line.page_id == page_id, Line.deleted.is_(None))
    return list(session.scalars(chosen.order_by(Line.position, Line.id)))


NOT_TEXT = ("picture", "ignore")
"""Kinds of regions whose lines are not read, taught, proofread or exported."""


def is_ignored() -> ColumnElement[bool]:
    """The condition on `Line` for those in regions that are not text."""
    return select(Region.id).where(Region.id == Line.region_id, Region.kind.in_(NOT_TEXT)).correlate(Line).exists()


def hidden_lines(session: Session, page_id: int) -> set[int]:
    """Lines of a page that were never read as they are in regions that are not text."""
    mine = (Line.page_id == page_id, Line.deleted.is_(None), Line.current_id.is_(None))
    return set(session.scalars(select(Line.id).where(*mine, is_ignored())))


def regions_around(regions: Iterable[Region], line: types.Line) -> list[Region]:
    """Those of some regions that a line lies in, the smallest first."""
    found = [region for region in regions if lies_in(line, region.polygon)]
    return sorted(found, key=lambda region: cv2.contourArea(np.array(region.polygon, np.float32)))


def read_layout(
    session: Session, page: Page, line_ids: Iterable[int] | None = None, *, checked: bool = False, number: int = 1
) -> Layout:
    """Make the layout of a page, for exports and for reading along its lines.

    Args:
        session: Of the database.
        page: In it.
        line_ids: Of the only lines wanted; those that are deleted, or of other pages, are skipped.
        checked: Whether only lines are wanted that a person has taken as right.
        number: Of the page in what it becomes a page of, from 1.

    Returns:
        Regions in reading order. A region whose lines are not read one after the other comes as several, of which the
        first has its id; lines of no region make regions of their own. Pictures follow, without lines; regions to
        ignore are not among them.
    """
    wanted = None if line_ids is None else set(line_ids)
    of_page = select(Region).where(Region.page_id == page.id).order_by(Region.position, Region.id)
    regions = {region.id: region for region in session.scalars(of_page)}
    ignored = {id for id, region in regions.items() if region.kind in NOT_TEXT}
    rows = [
        row
        for row in live_lines(session, page.id)
        if (wanted is None or row.id in wanted) and (row.checked or not checked) and row.region_id not in ignored
    ]
    found, named = [], set[int]()
    for region_id, run in groupby(load_lines(session, rows), key=lambda state: state.row.region_id):
        lines = tuple(state.line for state in run)
        row = regions.get(region_id or 0)
        if row is None or row.id in named:
            outline = rectangle([point for line in lines for point in line.polygon.points])
            found.append(types.Region(Polygon(outline), lines, kind=_kind_of(row)))
        else:
            named.add(row.id)
            found.append(_named(row, lines))
    if wanted is None:
        found += [_named(region) for region in regions.values() if region.kind == "picture"]
    made = types.Page(
        source=page.source_name,
        number=number,
        width=page.width,
        height=page.height,
        regions=tuple(found),
        notes=tuple(map(str, page.notes)),
        label=page.label,
    )
    return Layout(made, tuple(row.id for row in rows))


def _named(region: Region, lines: tuple[types.Line, ...] = ()) -> types.Region:
    return types.Region(Polygon(unpack_points(region.polygon)), lines, region.xml_id, _kind_of(region))


def _kind_of(region: Region | None) -> RegionKind:
    return cast(RegionKind, region.kind) if region is not None else "text"


def _is_within(word: types.Box, line: types.Box) -> bool:
    x, y = (word.x0 + word.x1) / 2, (word.y0 + word.y1) / 2
    return line.x0 <= x <= line.x1 and line.y0 <= y <= line.y1


def _id(version: LineVersion) -> int:
    return version.id
