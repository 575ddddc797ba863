"""The pages of a run, read somewhere: a job in, a result out, in this process or in several.

Source of the shape: a pure page function that an executor is handed (OCRmyPDF).
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from quillread.errors import Fault
from quillread.images.document import Document
from quillread.models.catalog import pin
from quillread.options import ReadOptions
from quillread.pages.deliver import explain
from quillread.reader import Reader
from quillread.types import Page, Scan, UInt8Image


@dataclass(frozen=True, slots=True)
class PageJob:
    """A page to read: all that a worker must know, small enough to be sent."""

    document: int
    """Number of its document in the run."""
    name: str
    """The input as the user named it."""
    source: Path | str | bytes
    """Where it is, or its content."""
    index: int | None
    """Of the page, from 0; None to count the pages only."""
    known: Page | None = None
    """The page as it was read before; it is not read again."""
    with_image: bool = False
    """Whether the image of the page must come back, for what shows it."""
    is_named: bool = True
    """Whether somebody named the source: see `Reader.open`."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """What became of a job; with nothing that is tied to a process."""

    count: int
    """Pages of the document."""
    page: Page | None = None
    image: UInt8Image | None = None
    points: tuple[float, float] | None = None
    jpeg: bytes | None = None
    missing: Fault | None = None
    fault: Fault | None = None
    """Why nothing of the input can be read."""

    def scan(self) -> Scan:
        """The page for a writer."""
        page = self.page or Page("", 1, 0, 0)
        return Scan(page, self.image, self.points, lambda: self.jpeg, self.missing)


class PageWorker:
    """Reads pages one by one, and keeps the document of the last one open.

    Args:
        reader: Reads them.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._document: Document | None = None
        self._key: tuple[str, Path | str | bytes] | None = None

    def __call__(self, job: PageJob) -> PageResult:
        """Read a page; whatever is wrong with it is in the result."""
        try:
            document = self._open(job)
        except Exception as error:  # whatever is wrong with one input must not lose the others
            return PageResult(0, fault=explain(error, job.name))
        if job.index is None:
            return PageResult(len(document))
        scan = self.reader.scan(document, job.index, lambda _: job.known)
        jpeg = scan.jpeg() if job.with_image else None
        image = scan.image if job.with_image else None
        return PageResult(len(document), scan.page, image, scan.points, jpeg, scan.missing)

    def beside(self) -> Self:
        """Another one that reads with the same models, in another thread and with a document of its own."""
        other = copy.copy(self)
        other._document = other._key = None
        return other

    def close(self) -> None:
        """Close the document."""
        if self._document is not None:
            self._document.close()
        self._document = self._key = None

    def _open(self, job: PageJob) -> Document:
        key = (job.name, job.source)
        if self._document is None or self._key != key:
            self.close()
            self._document = self.reader.open(job.source, name=job.name, is_named=job.is_named)
            self._key = key
        return self._document


class Outcome(Protocol):
    """What became of a job."""

    @property
    def job(self) -> PageJob:
        """The job."""

    @property
    def value(self) -> PageResult | None:
        """What was read."""

    @property
    def error(self) -> Exception | None:
        """Why there is no value: the process that had the job was lost."""

    def log(self) -> None:
        """Log here what was logged in the process that did the job."""


Outcomes = Iterator[Outcome]


class Executor(Protocol):
    """Does the jobs of a run, somewhere."""

    def run(self, jobs: Iterable[PageJob | None]) -> Outcomes:
        """Do jobs and give what became of each, in their order.

        Args:
            jobs: Taken one at a time, a few beyond the oldest that is not done yet. None says that there is none until
                more of those that were taken are done.
        """

    def close(self) -> None:
        """Let go of processes and files."""


class SerialExecutor:
    """Does one job after another in this process.

    Args:
        reader: Reads the pages.
    """

    def __init__(self, reader: Reader) -> None:
        self._worker = PageWorker(reader)

    def run(self, jobs: Iterable[PageJob | None]) -> Outcomes:
        """Do jobs; see `Executor`."""
        for job in filter(None, jobs):
            yield _Done(job, self._worker(job))

    def close(self) -> None:
        """Close the document that is open."""
        self._worker.close()


@dataclass(frozen=True, slots=True)
class _Done:
    """The `Outcome` of a job that was done here."""

    job: PageJob
    value: PageResult
    error: None = None

    def log(self) -> None:
        """It was logged here already."""


def make_worker(options: ReadOptions) -> PageWorker:
    """Make what reads pages."""
    return PageWorker(Reader(options))


class ProcessExecutor:
    """Does jobs in processes of their own, each with its model: a page that crashes its process is lost alone.

    Args:
        options: What to read with; of threads, one for each process unless they say otherwise.
        processes: How many.
        make: Makes in a process what reads its pages; a function of a module.

    Raises:
        ModelError: If a model of the hub cannot be found.
    """

    def __init__(
        self, options: ReadOptions, processes: int, make: Callable[[ReadOptions], PageWorker] = make_worker
    ) -> None:
        from quillread.processes import WorkerPool  # nobody else waits for it

        # All processes must load the same revision, also of a model that changes meanwhile.
        options = replace(options, threads=options.threads or 1, models=tuple(map(pin, options.models)))
        state = partial(make, options)
        self._pool: WorkerPool[PageJob, PageResult] = WorkerPool(state, _work, processes, threads=options.threads)

    def run(self, jobs: Iterable[PageJob | None]) -> Outcomes:
        """Do jobs; see `Executor`."""
        return self._pool.run(jobs)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


def _work(worker: PageWorker, job: PageJob) -> PageResult:
    return worker(job)
