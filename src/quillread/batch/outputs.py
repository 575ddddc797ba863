"""Where readings of many inputs go: files, pictures, several places at once."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from quillread.batch.inputs import Input
from quillread.errors import Fault, OutputError
from quillread.files import real_path
from quillread.formats.export import FileWriter, Format, find_format
from quillread.pages.deliver import explain
from quillread.types import DocumentInfo, PageWriter, Scan

Told = Callable[[Path, str], None] | None
"""Told the place and the SHA-256 of each file just before it stands there."""


class Tee:
    """Hands on what was read in one input to several writers; one that fails is dropped, and the others go on.

    An OSError is not caught: files have OutputErrors, and when stdout takes no more, the run is over.

    Args:
        writers: In the order in which they end.
        last: One more, which is aborted in the end if one of them failed: the journal, whose pages are needed again.
    """

    def __init__(self, writers: Sequence[PageWriter], last: PageWriter | None = None) -> None:
        self._waiting = [*writers, *([last] if last else [])]
        self._open: list[PageWriter] = []
        self._last = last
        self._source = ""
        self.faults: list[Fault] = []
        """Why something could not be written."""

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._source = info.source
        while self._waiting:
            self._open.append(self._waiting.pop(0))  # one that cannot begin is aborted with the others
            self._try(self._open[-1], lambda writer: writer.begin(info))

    def add(self, scan: Scan) -> None:
        """Take the next page."""
        for writer in tuple(self._open):
            self._try(writer, lambda writer: writer.add(scan))

    def close(self, fault: Fault | None) -> None:
        """End the input; files are then in their places."""
        while self._open:
            writer = self._open[0]
            if writer is self._last and self.faults:
                writer.abort()
            else:
                self._try(writer, lambda writer: writer.close(fault))
            self._open = [other for other in self._open if other is not writer]

    def abort(self) -> None:
        """Leave nothing half written, after Ctrl-C for instance; what was closed stays."""
        with ExitStack() as stack:  # each has its turn, whatever another one raises
            while self._open:
                stack.callback(self._open.pop(0).abort)

    def _try(self, writer: PageWriter, step: Callable[[PageWriter], None]) -> None:
        try:
            step(writer)
        except OSError:
            raise
        except Exception as error:  # what cannot be written must not lose what can
            self.faults.append(explain(error, self._source))
            self._open.remove(writer)
            writer.abort()


class PageFilesWriter:
    """Writes each page into a file of its own."""

    def __init__(self, stem: Path, output: Format, told: Told = None) -> None:
        self._stem = stem
        self._format = output
        self._told = told

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._info = info

    def add(self, scan: Scan) -> None:
        """Write a page."""
        path = beside(self._stem, f"-{scan.page.number:04}.{self._format.suffix}")
        writer = FileWriter(path, self._format, self._told)
        try:
            writer.begin(self._info)
            writer.add(scan)
            writer.close(None)
        finally:
            writer.abort()

    def close(self, fault: Fault | None) -> None:
        """All pages are written."""

    def abort(self) -> None:
        """Pages that were written are whole, and stay."""


class OverlayWriter:
    """Draws each page with what was read."""

    def __init__(self, stem: Path, told: Told = None) -> None:
        self._stem = stem
        self._told = told

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._count = info.page_count

    def add(self, scan: Scan) -> None:
        """Draw a page; one whose image cannot be decoded has no picture."""
        from quillread.formats.overlay import draw_overlay  # with its font, only where pictures are drawn
        from quillread.images.pictures import write_png

        picture = draw_overlay(scan)
        if picture is not None:
            write_png(picture, overlay_path(self._stem, scan.page.number, self._count), self._told)

    def close(self, fault: Fault | None) -> None:
        """All pages are drawn."""

    def abort(self) -> None:
        """Pictures that were drawn are whole, and stay."""


def overlay_path(stem: Path, number: int, count: int) -> Path:
    """Where the picture of a page is, of a document of `count` pages."""
    return beside(stem, ".png" if count == 1 else f"-{number:04}.png")


def file_writer(stem: Path, name: str, told: Told = None) -> PageWriter:
    """Make the writer of a format's file, or of its files if each page has one; see `AtomicFile` for `told`."""
    output = find_format(name)
    if output.a_file_a_page:
        return PageFilesWriter(stem, output, told)
    return FileWriter(beside(stem, f".{output.suffix}"), output, told)


def refuse_overwriting(inputs: Iterable[Input], sources: Iterable[Path], results: Iterable[tuple[Path, str]]) -> None:
    """Refuse to write where something is read, such as a searchable `scan.pdf` in the folder of `scan.pdf`.

    Args:
        inputs: What is read.
        sources: Other files that are read.
        results: Folders that are written into, each with the ending of its files.

    Raises:
        OutputError: If a file that is read would be written over.
    """
    inputs = list(inputs)
    named = (Path(entry.name) for entry in inputs if not entry.is_address)
    read = {real_path(path) for path in (*sources, *named)}
    taken = read | {path.with_name(without_page(path.name)) for path in read}
    for folder, ending in results:
        for entry in inputs:
            result = beside(folder / entry.stem, ending)
            if real_path(result) in taken:
                raise OutputError(
                    f"{result}: is one of the inputs, and would be overwritten", hint="name another folder"
                )


def beside(stem: Path, ending: str) -> Path:
    """Add an ending to a name, whatever dots it has."""
    return stem.with_name(f"{stem.name}{ending}")


def without_page(name: str) -> str:
    """Take the number of a page out of the name of its file, where it stands before the ending."""
    return re.sub(r"-\d{4,}(\.[^-]*)$", r"\1", name)
