"""Where readings of many inputs go: files, pictures, several places at once."""

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from quillread.batch.inputs import Input
from quillread.errors import Fault, OutputError
from quillread.files import AtomicFile, naming
from quillread.formats.export import FileWriter, Format, find_format
from quillread.types import DocumentInfo, PageWriter, Scan


class Tee:
    """Hands on what was read in one input to several writers."""

    def __init__(self, writers: Sequence[PageWriter]) -> None:
        self._waiting = list(writers)
        self._open: list[PageWriter] = []

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        while self._waiting:
            self._open.append(self._waiting.pop(0))  # one that cannot begin is aborted with the others
            self._open[-1].begin(info)

    def add(self, scan: Scan) -> None:
        """Take the next page."""
        for writer in self._open:
            writer.add(scan)

    def close(self, fault: Fault | None) -> None:
        """End the input; files are then in their places."""
        while self._open:
            self._open[0].close(fault)
            self._open.pop(0)

    def abort(self) -> None:
        """Leave nothing half written, after Ctrl-C or a full disk; what was closed stays."""
        with ExitStack() as stack:  # each has its turn, whatever another one raises
            while self._open:
                stack.callback(self._open.pop(0).abort)


class PageFilesWriter:
    """Writes each page into a file of its own."""

    def __init__(self, stem: Path, output: Format) -> None:
        self._stem = stem
        self._format = output

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._info = info

    def add(self, scan: Scan) -> None:
        """Write a page."""
        path = beside(self._stem, f"-{scan.page.number:04}.{self._format.suffix}")
        writer = FileWriter(path, self._format)
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

    def __init__(self, stem: Path) -> None:
        self._stem = stem

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._count = info.page_count

    def add(self, scan: Scan) -> None:
        """Draw a page; one whose image cannot be decoded has no picture."""
        from PIL import Image

        from quillread.formats.overlay import draw_overlay  # with its font, only where pictures are drawn

        picture = draw_overlay(scan)
        if picture is None:
            return
        path = overlay_path(self._stem, scan.page.number, self._count)
        part = AtomicFile(path)
        try:
            with naming(path):
                Image.fromarray(picture).save(part.file, "PNG")
            part.commit()
        finally:
            part.discard()

    def close(self, fault: Fault | None) -> None:
        """All pages are drawn."""

    def abort(self) -> None:
        """Pictures that were drawn are whole, and stay."""


def overlay_path(stem: Path, number: int, count: int) -> Path:
    """Where the picture of a page is, of a document of `count` pages."""
    return beside(stem, ".png" if count == 1 else f"-{number:04}.png")


def file_writer(stem: Path, name: str) -> PageWriter:
    """Make the writer of a format's file, or of its files if each page has one."""
    output = find_format(name)
    if output.a_file_a_page:
        return PageFilesWriter(stem, output)
    return FileWriter(beside(stem, f".{output.suffix}"), output)


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
    read = {path.resolve() for path in (*sources, *(Path(entry.name) for entry in inputs if not entry.is_address))}
    # Files of a page have its number before the ending.
    taken = read | {path.with_name(re.sub(r"-\d{4,}(\.[^-]*)$", r"\1", path.name)) for path in read}
    for folder, ending in results:
        for entry in inputs:
            result = beside(folder / entry.stem, ending)
            if result.resolve() in taken:
                raise OutputError(
                    f"{result}: is one of the inputs, and would be overwritten", hint="name another folder"
                )


def beside(stem: Path, ending: str, *, hidden: bool = False) -> Path:
    """Add an ending to a name, whatever dots it has."""
    return stem.with_name(f"{'.' if hidden else ''}{stem.name}{ending}")
