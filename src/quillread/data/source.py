"""What a source of lines is, and lines whose images are files or lie in tables."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from quillread.errors import DataError, ImageError
from quillread.images.pictures import read_size
from quillread.images.read import open_document
from quillread.images.tones import as_positive
from quillread.text.normalise import line_text
from quillread.types import Sample, UInt8Image

log = logging.getLogger(__name__)


class Source(Protocol):
    """Lines with random access; safe to use from several worker processes."""

    name: str

    def __len__(self) -> int:
        """Number of lines in one pass."""

    def text(self, index: int) -> str:
        """NFC text of a line, without making its image."""

    def group(self, index: int) -> str:
        """Writer or document of a line; empty if unknown."""

    def aspect(self, index: int) -> float:
        """Width over height of the line image, exact or estimated; batches are made of similar ones."""

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The line with its image; synthetic sources draw the look from `rng`.

        Raises:
            DataError: If the image cannot be read; names the row.
        """


def _warn(fault: DataError) -> None:
    log.warning("%s; the line is skipped", fault.message)


class RewrittenSource:
    """Lines of another source whose texts are written in another way: what one edition marks, another does not.

    Args:
        source: The lines.
        changes: Characters, and what is written in their place, in this order.
    """

    def __init__(self, source: Source, changes: Sequence[tuple[str, str]]) -> None:
        self.lines_of = source
        """As they are."""
        self._changes = changes
        self.name = source.name

    def __len__(self) -> int:
        return len(self.lines_of)

    def text(self, index: int) -> str:
        """NFC text of a line."""
        return self._rewrite(self.lines_of.text(index))

    def group(self, index: int) -> str:
        """Writer or document of a line."""
        return self.lines_of.group(index)

    def aspect(self, index: int) -> float:
        """Width over height of the line image."""
        return self.lines_of.aspect(index)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The line with its image."""
        sample = self.lines_of.sample(index, rng)
        return replace(sample, text=self._rewrite(sample.text))

    def _rewrite(self, text: str) -> str:
        for before, after in self._changes:
            text = text.replace(before, after)
        return line_text(text)


def fixed_sample(source: Source, index: int) -> Sample:
    """A line of a source; synthetic ones look the same whenever they are asked for."""
    return source.sample(index, np.random.default_rng((0, index)))


def readable(
    source: Source, indices: Iterable[int], tell: Callable[[DataError], None] = _warn
) -> Iterator[tuple[int, Sample]]:
    """Lines of a source as `fixed_sample` gives them, with their numbers; without those that cannot be read.

    Args:
        source: The lines.
        indices: Which of them.
        tell: Called for each whose image cannot be read; a warning if not given.

    Raises:
        DataError: If no image can be read: that of the first.
    """
    first: DataError | None = None
    found = False
    for index in indices:
        try:
            sample = fixed_sample(source, index)
        except DataError as error:
            tell(error)
            first = first or error
            continue
        found = True
        yield index, sample
    if first and not found:
        raise first


def find_repeated_id(source: Source) -> str | None:
    """The first id that two lines have; None if there is none, or only the images say what ids the lines have."""
    if isinstance(source, RewrittenSource):
        return find_repeated_id(source.lines_of)
    seen: set[str] = set()
    for line_id in source.ids() if isinstance(source, RowSource) else ():
        if line_id in seen:
            return line_id
        seen.add(line_id)
    return None


class ImageColumn(Protocol):
    """Encoded images by row, fetched when they are needed."""

    def read(self, row: int) -> bytes:
        """The content of an image file.

        Raises:
            DataError: If it cannot be read, or the row has no image.
        """


@dataclass(frozen=True, slots=True)
class Cell:
    """One image of a column."""

    column: ImageColumn
    row: int

    def read(self) -> bytes:
        """The content of an image file; errors as of the column."""
        return self.column.read(self.row)


class TextError(DataError):
    """A file of text cannot be read."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line whose image is a file, the bytes of one, or stored in a table."""

    id: str
    image: Path | bytes | Cell
    text: str
    """As the data has it; the source gives it as `text.normalise.line_text`."""
    group: str = ""
    aspect: float | None = None
    """Width over height, where it is known or estimated without the image."""
    fault: TextError | None = None
    """Why its text cannot be read, which is empty then; such a line fails as one whose image cannot be read."""


class RowSource:
    """Lines whose images are files, or stored in a table."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        if not rows:
            raise DataError(f"{name}: holds no lines")
        self.name = name
        self._rows = [replace(row, text=line_text(row.text)) for row in rows]
        self._aspects: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def text(self, index: int) -> str:
        """NFC text of a line."""
        return self._rows[index].text

    def group(self, index: int) -> str:
        """Writer or document of a line; empty if unknown."""
        return self._rows[index].group

    def aspect(self, index: int) -> float:
        """Width over height as the row says, or from the image's header; 10 if it has none."""
        row = self._rows[index]
        if row.aspect is not None:
            return row.aspect
        if index not in self._aspects:
            try:
                width, height = read_size(_content(row))
                self._aspects[index] = width / height
            except (ImageError, DataError):
                self._aspects[index] = 10.0
        return self._aspects[index]

    def ids(self) -> Iterator[str]:
        """The ids of the lines, in order."""
        return (row.id for row in self._rows)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The line with its decoded image; `rng` is not used."""
        row = self._rows[index]
        try:
            if row.fault:
                raise row.fault
            return Sample(row.id, _decode(row), row.text, row.group)
        except (ImageError, TextError) as error:
            raise DataError(f"{self.name}, row {index} ({row.id}): {error.message}", hint=error.hint) from error

    def stored(self, index: int) -> tuple[bytes, str | None]:
        """The image file of a line as it is, and its name if it lies in a folder.

        Raises:
            DataError: If it cannot be read.
        """
        content = _content(self._rows[index])
        if isinstance(content, bytes):
            return content, None
        try:
            return content.read_bytes(), content.name
        except OSError as error:
            raise DataError(f"{content}: cannot be read: {error.strerror}", hint="check its permissions") from error


def _decode(row: Row) -> UInt8Image:
    with open_document(_content(row), name=row.id) as document:
        return as_positive(document.page(0))  # as when it is read


def _content(row: Row) -> Path | bytes:
    return row.image.read() if isinstance(row.image, Cell) else row.image


def list_few(names: Sequence[str], shown: int = 5) -> str:
    """List the first names for a message, with an ellipsis if there are more."""
    return ", ".join([*names[:shown], *(["…"] if len(names) > shown else [])])
