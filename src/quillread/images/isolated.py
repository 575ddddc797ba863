"""Pages decoded in a process of their own, with limits: what can crash, hang or swell costs only itself.

PDFs, HEIC and JPEG 2000 always are; other pictures where their header says that they are heavy. One process is kept
when its document is closed, and takes the next one, as starting a process takes as long as rendering a page.
"""

import atexit
import os
import signal
import threading
import weakref
from pathlib import Path
from typing import Any, NamedTuple

from quillread.errors import ImageError, WorkerError, WorkerMemoryError, WorkerTimeoutError
from quillread.images.document import DAMAGED, Pages
from quillread.images.opening import Opening
from quillread.processes import Limits, Worker
from quillread.types import UInt8Image

_CRASHES = [signal.strsignal(number) for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)]
"""Ends of a process that tell of a fault; of others, as of an abort, a lack of memory may be the cause."""


class _Job(NamedTuple):
    """Something to ask the pages of a document for."""

    opening: Opening | None
    """Document to open first, in place of the one that is open."""
    action: str
    arguments: tuple[Any, ...]


class _Desk:
    """What the process keeps: the pages of one document."""

    def __init__(self) -> None:
        self._pages: Pages | None = None

    def __call__(self, job: _Job) -> Any:
        if job.opening is not None:
            self.close()
            self._pages = job.opening.pages()
        if job.action == "close":
            return self.close()
        return getattr(self._pages, job.action)(*job.arguments)

    def close(self) -> None:
        pages, self._pages = self._pages, None
        if pages is not None:
            pages.close()


def _work(desk: _Desk, job: _Job) -> Any:
    return desk(job)


Decoder = Worker[_Job, Any]


class IsolatedPages:
    """The pages of a document that another process decodes; a process that is lost is replaced for the next page."""

    def __init__(self, opening: Opening) -> None:
        """Open it; an ImageError if it cannot be, or any of `FAULTS`."""
        self._opening = opening
        if isinstance(opening.source, Path):  # the process keeps the folder that it was started in
            self._opening = opening._replace(source=opening.source.absolute())
        self._limits = Limits(memory=opening.config.max_memory, seconds=opening.config.max_seconds)
        self._worker = _kept.take(self._limits)
        self._abandon = weakref.finalize(self, self._worker.close)
        self._opened_by: int | None = None
        self._lost: set[int] = set()
        self._lock = threading.Lock()
        try:
            self._count = int(self._ask(opening.name, "__len__"))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """Count the pages."""
        return self._count

    def render(self, index: int, where: str) -> UInt8Image:
        """Decode a page."""
        try:
            image: UInt8Image = self._ask(where, "render", index, where)
            return image
        except ImageError:
            self._lost.add(index)
            raise

    def paper_size(self, index: int) -> tuple[float, float] | None:
        """Width and height in points; a page that could not be decoded is not opened for it again."""
        size: tuple[float, float] | None = None if index in self._lost else self._ask("", "paper_size", index)
        return size

    def jpeg(self, index: int) -> bytes | None:
        """Content of a JPEG file that shows a page just as `render` gives it."""
        content: bytes | None = None if index in self._lost else self._ask("", "jpeg", index)
        return content

    def close(self) -> None:
        """Let the process go; what it is doing is dropped."""
        if not self._abandon.detach():
            return
        if self._worker.is_busy or self._opened_by is None:
            self._worker.close()
        else:
            _kept.give_back(self._limits, self._worker)

    def _ask(self, where: str, action: str, *arguments: Any) -> Any:
        with self._lock:
            self._worker.start()
            is_open = self._opened_by == self._worker.pid
            self._worker.submit(_Job(None if is_open else self._opening, action, arguments))
            try:
                outcome = self._worker.result()
                outcome.log()
                if outcome.error is None:
                    self._opened_by = self._worker.pid
                return outcome.result()
            except WorkerError as error:
                self._opened_by = None
                raise _explain(error, where, self._opening) from error


def _explain(error: WorkerError, where: str, opening: Opening) -> ImageError:
    """Name the page that a process was lost with, and the bound that it passed."""
    config = opening.config
    limits = "raise read.max_memory"
    if opening.kind == "pdf":
        limits = "lower read.pdf_dpi, or raise read.max_memory"
    if isinstance(error, WorkerTimeoutError):
        hint = "raise read.max_seconds if the file is to be trusted"
        return ImageError(f"{where}: takes longer than the {config.max_seconds:g} seconds allowed to decode", hint=hint)
    if crash := next((name for name in _CRASHES if error.message.endswith(f"crashed: {name}")), None):
        return ImageError(f"{where}: its decoder crashed: {crash}", hint=DAMAGED)
    megabytes = f"{config.max_memory / 1e6:,.0f} MB of memory"
    if isinstance(error, WorkerMemoryError):
        message = f"{where}: needs more than the {megabytes} allowed to decode"
        return ImageError(message, hint=f"{limits} if the file is to be trusted")
    message = f"{where}: cannot be decoded within {megabytes}: {error.message}"  # some decoders abort where it ends
    return ImageError(message, hint=f"{DAMAGED}; or {limits}")


class _Kept:
    """At most one process without a document."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: tuple[Limits, Decoder] | None = None
        self._foreign: list[Any] = []
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._disown)

    def take(self, limits: Limits) -> Decoder:
        with self._lock:
            kept, self._worker = self._worker, None
        if kept is not None and kept[0] == limits:
            return kept[1]
        if kept is not None:
            kept[1].close()
        return Worker(_Desk, _work, limits=limits, threads=1)

    def give_back(self, limits: Limits, worker: Decoder) -> None:
        try:
            worker.submit(_Job(None, "close", ()))
            worker.result().result()
        except WorkerError:
            worker.close()
            return
        with self._lock:
            before, self._worker = self._worker, (limits, worker)
        if before is not None:
            before[1].close()

    def close(self) -> None:
        with self._lock:
            kept, self._worker = self._worker, None
        if kept is not None:
            kept[1].close()

    def _disown(self) -> None:
        """Leave the process to the one that was forked: two must not talk to it."""
        self._lock = threading.Lock()
        self._foreign.append(self._worker)  # not let go of: its destructor would complain that the process runs
        self._worker = None


_kept = _Kept()
