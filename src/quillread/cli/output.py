"""Where `quill read` puts what it reads: files and pictures (`stdout` and `show` have the rest)."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from quillread.cli.inputs import Input
from quillread.cli.progress import ProgressLine
from quillread.errors import OutputError
from quillread.files import AtomicFile, naming
from quillread.formats.export import FORMATS, ExportInfo, Format, Scan, Writer


class Sink(Protocol):
    """Takes what was read in one input."""

    def add(self, scan: Scan) -> None:
        """Take the next page."""

    def close(self, error: str | None) -> None:
        """End the input; `error` says why nothing of it could be read."""

    def abort(self) -> None:
        """Leave nothing half written; called in place of `close`."""


@dataclass
class Outputs:
    """Hands on what was read in one input to several places."""

    makers: Sequence[Callable[[ExportInfo], Sink]]
    """Begin the sinks of an input."""
    pages: int = field(default=0, init=False)
    """How many pages came."""
    _sinks: list[Sink] = field(default_factory=list, init=False)

    def begin(self, info: ExportInfo) -> None:
        """Begin an input."""
        self.pages = 0
        for make in self.makers:
            self._sinks.append(make(info))

    def add(self, scan: Scan) -> None:
        """Take the next page."""
        self.pages += 1
        for sink in self._sinks:
            sink.add(scan)

    def close(self, error: str | None) -> None:
        """End the input; files are then in their places."""
        while self._sinks:
            self._sinks[0].close(error)
            self._sinks.pop(0)

    def abort(self) -> None:
        """Leave nothing half written, after Ctrl-C or a full disk."""
        while self._sinks:
            self._sinks.pop().abort()


class FileSink:
    """Writes a document into a file."""

    def __init__(self, path: Path, output: Format, info: ExportInfo) -> None:
        self._path = path
        self._keeps_errors = output.on_error
        self._part = AtomicFile(path)
        with naming(path):
            self._writer: Writer = output.make(self._part.file, info)

    def add(self, scan: Scan) -> None:
        """Write a page."""
        with naming(self._path):
            self._writer.add(scan)

    def close(self, error: str | None) -> None:
        """Put the file in place; one of an input of which nothing could be read only if the format can say so."""
        with naming(self._path):
            self._writer.close(error)
        if error is None or self._keeps_errors:
            self._part.commit()
        self._part.discard()

    def abort(self) -> None:
        """Leave nothing behind."""
        # Writers of archives write when they are closed: let them, before their file goes.
        with suppress(OSError, ValueError, OutputError):
            self._writer.close("aborted")
        self._part.discard()


class PageFilesSink:
    """Writes each page into a file of its own."""

    def __init__(self, stem: Path, output: Format, info: ExportInfo) -> None:
        self._stem = stem
        self._format = output
        self._info = info

    def add(self, scan: Scan) -> None:
        """Write a page."""
        path = beside(self._stem, f"-{scan.page.number:04}.{self._format.suffix}")
        sink = FileSink(path, self._format, self._info)
        try:
            sink.add(scan)
            sink.close(None)
        except BaseException:
            sink.abort()
            raise

    def close(self, error: str | None) -> None:
        """All pages are written."""

    def abort(self) -> None:
        """Pages that were written are whole, and stay."""


class OverlaySink:
    """Draws each page with what was read."""

    def __init__(self, stem: Path, info: ExportInfo) -> None:
        self._stem = stem
        self._count = info.page_count

    def add(self, scan: Scan) -> None:
        """Draw a page; one whose image cannot be decoded has no picture."""
        from PIL import Image

        from quillread.formats.overlay import draw_overlay

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

    def close(self, error: str | None) -> None:
        """All pages are drawn."""

    def abort(self) -> None:
        """Pictures that were drawn are whole, and stay."""


def overlay_path(stem: Path, number: int, count: int) -> Path:
    """Where the picture of a page is, of a document of `count` pages."""
    return beside(stem, ".png" if count == 1 else f"-{number:04}.png")


class PageProgress:
    """Shows how far a document of several pages is."""

    def __init__(self, info: ExportInfo) -> None:
        self._count = info.page_count
        self._progress = ProgressLine("pages")

    def add(self, scan: Scan) -> None:
        """Count a page."""
        if self._count > 1:
            self._progress(scan.page.number, self._count)

    def close(self, error: str | None) -> None:
        """All pages are counted."""

    def abort(self) -> None:
        """The line stays where it is."""


def file_sink(stem: Path, name: str, info: ExportInfo) -> Sink:
    """Begin the file of a format, or its files if each page has one."""
    output = FORMATS[name]
    return (
        PageFilesSink(stem, output, info)
        if output.a_file_a_page
        else FileSink(beside(stem, f".{output.suffix}"), output, info)
    )


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
                raise OutputError(f"{result}: what is read here would be written over", hint="name another folder")


def beside(stem: Path, ending: str, *, hidden: bool = False) -> Path:
    """Add an ending to a name, whatever dots it has."""
    return stem.with_name(f"{'.' if hidden else ''}{stem.name}{ending}")
