"""Single files read for whoever waits, beside the archive: what `quill read` writes, from a worker process."""

import queue
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

from quillread.batch.outputs import file_writer
from quillread.errors import Fault, WorkerTimeoutError
from quillread.files import storable_name
from quillread.options import ReadOptions
from quillread.processes import Limits, Worker
from quillread.reader import Reader
from quillread.serve.config import ServeConfig
from quillread.serve.faults import BusyError
from quillread.serve.jobs.reading import PageReaders, ReaderMaker
from quillread.types import PageWriter
from quillread.worker import usable_cores

MOST_WORKERS = 2
_KEPT_SECONDS = 600.0
_ENDING_SECONDS = 2.0
_MOST_STEM = 120
_RESULTS = "results"


@dataclass(frozen=True, slots=True)
class FileTask:
    """A file to read."""

    folder: Path
    """Of this task alone; files that options name lie in it, and results are written below it."""
    path: Path
    name: str
    """How the result names it."""
    format: str
    options: ReadOptions


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file."""

    path: Path | None
    """Of the result; None if nothing could be read."""
    faults: tuple[Fault, ...] = ()
    """What went wrong with the file and its pages."""
    is_zip: bool = False
    """Whether there are several files of one page each."""


class SingleFileReader:
    """Reads files for those who wait.

    Args:
        config: Of the server.
        readers: Makes readers in the processes.
    """

    def __init__(self, config: ServeConfig, readers: ReaderMaker) -> None:
        self._limits = config.limits
        self._places = threading.BoundedSemaphore(self._limits.concurrent_reads)
        count = min(worker_count(config), self._limits.concurrent_reads)
        make = partial(PageReaders, readers)
        limits = Limits(self._limits.worker_memory, jobs=self._limits.recycle_pages)
        self._workers = [Worker(make, read_file, limits=limits, threads=1) for _ in range(count)]
        self._free: queue.LifoQueue[Worker[FileTask, FileResult]] = queue.LifoQueue()  # the warm one first
        self._used = time.monotonic()
        for worker in self._workers:
            self._free.put(worker)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue.

        Raises:
            BusyError: If all are taken.
        """
        if not self._places.acquire(blocking=False):
            message = f"{self._limits.concurrent_reads} files are being read already"
            raise BusyError(message, retry_after=10)
        try:
            yield
        finally:
            self._places.release()

    def read(self, task: FileTask) -> FileResult:
        """Read a file, once a process is free; within the time that is allowed.

        Raises:
            WorkerTimeoutError: If it takes longer.
            WorkerError: If it crashes its process, or takes too much memory.
            QuillreadError: If the options do not go together.
        """
        end = time.monotonic() + self._limits.read_seconds
        late = WorkerTimeoutError(
            f"{task.name}: took longer than the {self._limits.read_seconds:g} seconds allowed",
            hint="upload it to a collection, where pages are read one by one",
        )
        try:
            worker = self._free.get(timeout=self._limits.read_seconds)
        except queue.Empty:
            raise late from None
        timer = threading.Timer(max(0.0, end - time.monotonic()), worker.kill)
        try:
            timer.start()
            worker.submit(task)
            outcome = worker.result()
        finally:
            timer.cancel()
            self._used = time.monotonic()
            self._free.put(worker)
        if outcome.error is not None and time.monotonic() >= end:
            raise late from outcome.error
        outcome.log()
        return outcome.result()

    def rest(self) -> None:
        """End processes that nobody has needed for long."""
        if time.monotonic() - self._used > _KEPT_SECONDS:
            self._end_idle(0.0)

    def close(self) -> None:
        """End all processes, and what they read with them."""
        for worker in self._workers:
            worker.kill()
        self._end_idle(_ENDING_SECONDS)

    def _end_idle(self, seconds: float) -> None:
        """End the processes that are free, or become so within some seconds."""
        idle: list[Worker[FileTask, FileResult]] = []
        with suppress(queue.Empty):
            while len(idle) < len(self._workers):
                idle.append(self._free.get(timeout=seconds) if seconds else self._free.get_nowait())
        for worker in idle:
            worker.close()
            self._free.put(worker)


def worker_count(config: ServeConfig) -> int:
    """How many processes read at a time."""
    return config.workers or min(MOST_WORKERS, usable_cores())


def read_file(readers: PageReaders, task: FileTask) -> FileResult:
    """Read a file and write what was read: the work of a worker process."""
    has_files = task.options.segmentation is not None or bool(task.options.lexicons)
    with chdir(task.folder):  # results name the files of options as they were named
        if not has_files:
            return _read(readers.reader(task.options), task)
        with readers.make(task.options) as reader:  # the files are others the next time
            return _read(reader, task)


def _read(reader: Reader, task: FileTask) -> FileResult:
    results, stem = task.folder / _RESULTS, _stem(task.name)
    writer = _Watched(file_writer(results / stem, task.format))
    try:
        faults = reader.stream(task.path, writer, name=task.name)
    finally:
        writer.abort()
    files = sorted(results.iterdir()) if results.is_dir() else []
    if not files or writer.has_failed:
        return FileResult(None, faults)
    if len(files) == 1:
        return FileResult(files[0], faults)
    packed = task.folder / f"{stem}-{task.format}.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.name)
    return FileResult(packed, faults, is_zip=True)


def _stem(name: str) -> str:
    """The name of a file without its ending, as a name that any file can have."""
    text = re.sub(r"[^\w .()+,=@-]", "_", PurePath(name).stem).strip(" .")
    return storable_name(text).encode(errors="replace")[:_MOST_STEM].decode(errors="ignore") or "file"


class _Watched:
    """Knows whether nothing of an input could be read.

    Args:
        writer: Takes all.
    """

    def __init__(self, writer: PageWriter) -> None:
        self.has_failed = False
        self.begin, self.add, self.abort = writer.begin, writer.add, writer.abort
        self._close = writer.close

    def close(self, fault: Fault | None) -> None:
        """End the input."""
        self.has_failed = fault is not None
        self._close(fault)


MEDIA_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    "page": "application/xml",
    "alto": "application/xml",
    "hocr": "text/html; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pdf": "application/pdf",
}
"""Of each of `FORMATS`."""
