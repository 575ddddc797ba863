"""The process that opens files of others and makes of their pages what an archive keeps: a page at a time.

Whatever a file does to its decoder, the server and the import go on; see `quillread.images.isolated` for those formats
that have a process of their own besides.
"""

import atexit
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from quillread import types
from quillread.errors import DataError, Fault, InputError, WorkerError
from quillread.formats.ground_truth import GroundTruth, fit_page, open_layout
from quillread.formats.outlines import outline_lines
from quillread.images.document import Document, Fetched, ReadConfig
from quillread.images.read import open_document
from quillread.pages.deliver import explain
from quillread.processes import Limits, Worker
from quillread.serve.archive.views import View, make_view

_PAGE_SECONDS = 1800.0
"""For what the decoders' own limits do not hold: an address whose server is slow."""


class Opened(NamedTuple):
    """A file that could be opened."""

    page_count: int
    title: str
    """What it calls itself; mostly nothing."""


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """What becomes of a page."""

    view: View | None = None
    """None if it could not be decoded."""
    is_original: bool = False
    """Whether the JPEG of `view` is the original itself; it is not sent then."""
    label: str = ""
    original: Fetched | None = None
    """The file as the web gave it, if it is from there."""
    layout: types.Page | None = None
    """What its PAGE or ALTO file says, in pixels of the page, each line with an outline."""
    fault: Fault | None = None
    layout_fault: Fault | None = None


class _Job(NamedTuple):
    action: str
    source: Path | str
    name: str
    config: ReadConfig
    arguments: tuple[Any, ...] = ()


class RenderProcess:
    """Opens files in a process of its own, which is kept for the next import. Not to be shared between threads."""

    def __init__(self, memory: int | None = None) -> None:
        limits = Limits(memory=memory, seconds=_PAGE_SECONDS)
        self._worker: Worker[_Job, Any] = Worker(_OpenDocument, _work, limits=limits, threads=1)

    def open(self, source: Path | str, name: str, config: ReadConfig) -> Opened:
        """Open a file or an address and count its pages.

        Raises:
            InputError: If it cannot be opened.
        """
        try:
            opened: Opened = self._ask(_Job("open", source, name, config))
        except WorkerError as error:
            raise InputError(f"{name}: cannot be opened: {error.message}", hint=error.hint) from error
        except InputError as error:
            raise type(error)(_our_names(error.message), hint=_our_names(error.hint or "") or None) from error
        return opened

    def page(self, source: Path | str, name: str, config: ReadConfig, index: int, xml: Path | None) -> RenderedPage:
        """Decode a page; what is wrong with it is in the result.

        Args:
            source: As it was opened.
            name: How faults name it.
            config: Limits.
            index: Of the page, from 0.
            xml: A PAGE or ALTO file about it.
        """
        try:
            rendered: RenderedPage = self._ask(_Job("page", source, name, config, (index, xml)))
        except WorkerError as error:
            return RenderedPage(fault=explain(error, f"{name}, page {index + 1}"))
        return rendered

    def pair(self, folder: Path) -> tuple[dict[tuple[Path, int], Path], list[Fault]]:
        """Find which PAGE or ALTO file of a folder is about which page of which image.

        Returns:
            The files by their images and the numbers of the pages, from 1, and what is wrong with others.
        """
        try:
            found: tuple[dict[tuple[Path, int], Path], list[Fault]] = self._ask(_Job("pair", folder, "", ReadConfig()))
        except WorkerError as error:
            return {}, [explain(error, "the PAGE and ALTO files")]
        return found

    def close(self) -> None:
        """End the process."""
        self._worker.close()

    def _ask(self, job: _Job) -> Any:
        self._worker.submit(job)
        outcome = self._worker.result()
        outcome.log()
        return outcome.result()


class RenderProcesses:
    """Keeps one process while nobody uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[int | None, RenderProcess] | None = None
        atexit.register(self.close)

    def take(self, memory: int | None) -> RenderProcess:
        """Get a process that may take so much memory."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None and kept[0] == memory:
            return kept[1]
        if kept is not None:
            kept[1].close()
        return RenderProcess(memory)

    def give_back(self, memory: int | None, renderer: RenderProcess) -> None:
        """Let go of one."""
        with self._lock:
            before, self._kept = self._kept, (memory, renderer)
        if before is not None:
            before[1].close()

    def close(self) -> None:
        """End the process that is kept."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept[1].close()


render_processes = RenderProcesses()


class _OpenDocument:
    """What the process keeps: the document that is open."""

    def __init__(self) -> None:
        self._open: tuple[Path | str, Document] | None = None

    def document(self, job: _Job, *, anew: bool) -> Document:
        if self._open is not None and (anew or self._open[0] != job.source):
            self._open[1].close()
            self._open = None
        if self._open is None:
            self._open = (job.source, open_document(job.source, job.config, name=job.name))
        return self._open[1]


def _work(opened: _OpenDocument, job: _Job) -> Any:
    if job.action == "pair":
        return _pair(Path(job.source))
    if job.action == "open":
        document = opened.document(job, anew=True)
        return Opened(len(document), document.title)
    return _render(opened, job, *job.arguments)


def _render(opened: _OpenDocument, job: _Job, index: int, xml: Path | None) -> RenderedPage:
    try:
        document = opened.document(job, anew=False)
        image = document.page(index)
        jpeg = document.jpeg(index)
        view = make_view(image, jpeg)
    except Exception as error:
        fault = explain(error, job.name)
        return RenderedPage(
            fault=replace(fault, message=_our_names(fault.message), hint=_our_names(fault.hint or "") or None)
        )
    original = document.fetched(index)
    content = original.content if original is not None else _content(job.source, jpeg)
    is_original = jpeg is not None and jpeg == content
    rendered = RenderedPage(
        replace(view, jpeg=b"") if is_original else view, is_original, document.label(index), original
    )
    if xml is None:
        return rendered
    try:
        return replace(rendered, layout=_read_layout(xml, (view.width, view.height), job.name))
    except Exception as error:
        return replace(rendered, layout_fault=_without(explain(error, xml.name), xml.parent))


def _content(source: Path | str, jpeg: bytes | None) -> bytes | None:
    if jpeg is None or isinstance(source, str) or source.stat().st_size != len(jpeg):
        return None
    return source.read_bytes()


def _read_layout(xml: Path, size: tuple[int, int], image: str) -> types.Page | None:
    page = open_layout(xml)
    return None if page is None else outline_lines(fit_page(page, size, xml, image))


def _pair(folder: Path) -> tuple[dict[tuple[Path, int], Path], list[Fault]]:
    try:
        pairs: Sequence[Any] = GroundTruth(folder).pairs()
    except DataError:
        return {}, []  # there is no XML in it
    whole = (pair for pair in pairs if pair.image is not None and pair.page is not None)
    found = {(pair.image, pair.number): pair.xml for pair in whole}
    return found, [_without(pair.fault, folder) for pair in pairs if pair.fault is not None]


def _our_names(text: str) -> str:
    """A message with the names that settings of the web have here."""
    return text.replace("set read.web.", "start the server with --set web.").replace("read.web.", "web.")


def _without(fault: Fault, folder: Path) -> Fault:
    """A fault that does not tell where the server has its files."""
    return replace(fault, message=fault.message.replace(f"{folder}/", "").replace(str(folder), "the upload"))
