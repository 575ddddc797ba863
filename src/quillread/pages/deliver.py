"""How pages get from a reader to a writer, and how what is wrong with one of them becomes a fault that it carries."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from quillread.errors import Fault, QuillreadError
from quillread.images.document import Document
from quillread.types import DocumentInfo, Page, PageWriter, Progress, Reading, Scan

log = logging.getLogger(__name__)


def page_name(document: Document, index: int) -> str:
    """How messages name a page."""
    return document.name if len(document) == 1 else f"{document.name}, page {index + 1}"


def refuse(writer: PageWriter, name: str, fault: Fault, provenance: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Hand on an input of which nothing can be read."""
    writer.begin(DocumentInfo(name, 0, provenance))
    writer.close(fault)
    return (fault,)


def deliver(
    scans: Iterable[Scan], writer: PageWriter, info: DocumentInfo, expected: int, progress: Progress | None = None
) -> tuple[Fault, ...]:
    """Hand the pages of a document to a writer.

    Args:
        scans: Its pages in order; they are taken one at a time, and none is kept.
        writer: What it raises is not caught.
        info: Of the document.
        expected: How many pages will come.
        progress: Called after each page.

    Returns:
        What went wrong with the document and its pages.
    """
    failed = 0
    faults: list[Fault] = []
    writer.begin(info)
    for done, scan in enumerate(scans, 1):
        failed += scan.page.fault is not None
        faults.extend(filter(None, [scan.page.fault or scan.missing]))
        if info.page_count > 1 or scan.page.fault is None:
            writer.add(scan)
        if progress:
            progress(done, expected)
        del scan  # its image must not stay while the next page is decoded
    if failed < expected:
        writer.close(None)
    elif info.page_count == 1:
        writer.close(faults[0])
    else:
        faults.insert(0, Fault(faults[0].kind, f"{info.source}: none of its {expected} pages could be read"))
        writer.close(faults[0])
    return tuple(faults)


def explain(error: Exception, where: str) -> Fault:
    """Tell as data why an input or page could not be read; errors of the reading of files name it themselves."""
    if isinstance(error, QuillreadError):
        named = error.message if error.message.startswith(where) else f"{where}: {error.message}"
        return replace(error.fault, message=named)
    if isinstance(error, MemoryError):
        hint = "lower read.max_pixels or read.pdf_dpi, or scan it smaller"
        return Fault("memory", f"{where}: is too large for the memory", hint)
    if isinstance(error, OSError):
        message = f"{where}: cannot be read: {error.strerror or error}"
        return Fault("input", message, "check the path and its permissions")
    log.info("%s", where, exc_info=error)
    hint = "this is a bug in quillread: please report it with the file"
    return Fault("internal", f"{where}: internal error: {error!r}", hint)


def tell_kept(fault: Fault) -> Fault:
    """Say of a page that its text is known, whatever is wrong with its image."""
    kept = "its text was read before and is kept"
    return replace(fault, hint=f"{fault.hint}; {kept}" if fault.hint else kept)


class Collector:
    """Keeps all pages of an input, without their images."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self._info = DocumentInfo("")
        self._fault: Fault | None = None

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._info = info

    def add(self, scan: Scan) -> None:
        """Keep a page."""
        self._pages.append(scan.page)

    def close(self, fault: Fault | None) -> None:
        """End the input."""
        self._fault = fault

    def abort(self) -> None:
        """Nothing is half written."""

    def reading(self) -> Reading:
        """All that came."""
        return Reading(self._info.source, tuple(self._pages), self._fault, self._info.provenance)


class Stop:
    """Tells between pages whether to stop.

    Args:
        seconds: Time limit from now on.
        cancelled: Asked whether to stop.
    """

    def __init__(self, seconds: float | None, cancelled: Callable[[], bool] | None) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._cancelled = cancelled

    def fault(self, document: Document, index: int) -> Fault | None:
        """Why a page is not to be read; None if it is."""
        where = page_name(document, index)
        if self._cancelled is not None and self._cancelled():
            return Fault("stopped", f"{where}: not read: the reading was cancelled")
        if self._end is not None and time.monotonic() >= self._end:
            limit = f"{self._seconds:g} seconds"
            return Fault("stopped", f"{where}: not read: the time limit of {limit} was reached", "allow more time")
        return None
