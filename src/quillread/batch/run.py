"""A run over many inputs: a pure page function, executors that do it, and the order in which pages are written."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from quillread.batch.inputs import Input
from quillread.errors import Fault, WorkerError
from quillread.images.document import Document
from quillread.models.catalog import pin
from quillread.options import ReadOptions
from quillread.pages.deliver import deliver, explain, refuse, tell_kept
from quillread.reader import KnownPages, Reader
from quillread.types import DocumentInfo, Page, PageWriter, Progress, Scan, UInt8Image

log = logging.getLogger(__name__)

KnownOf = Callable[[Input], KnownPages]
"""Gives the pages of an input that were read before."""


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

    def close(self) -> None:
        """Close the document."""
        if self._document is not None:
            self._document.close()
        self._document = self._key = None

    def _open(self, job: PageJob) -> Document:
        key = (job.name, job.source)
        if self._document is None or self._key != key:
            self.close()
            self._document = self.reader.open(job.source, name=job.name)
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


@dataclass(frozen=True, slots=True)
class InputResult:
    """What became of an input."""

    entry: Input
    pages: int
    """Of its document; 0 if it could not be opened."""
    last: int
    """Number of the last page that was to be read."""
    faults: tuple[Fault, ...]


class Run:
    """Reads inputs and writes what was read, input by input and page by page, in order.

    Args:
        options: What is read with.
        provenance: Of the reading, for the results.
        executor: Reads the pages.
        with_images: Whether something that is written shows the images.
        on_page: Told after each page how many are done, and how many are known of so far.
    """

    def __init__(
        self,
        options: ReadOptions,
        provenance: Mapping[str, Any],
        executor: Executor,
        *,
        with_images: bool = False,
        on_page: Progress | None = None,
    ) -> None:
        self._options = options
        self._provenance = provenance
        self._executor = executor
        self._with_images = with_images
        self._on_page = on_page
        self._done = self._known = 0

    def __call__(
        self, inputs: Iterable[Input], writer_of: Callable[[Input], PageWriter], known_of: KnownOf | None = None
    ) -> Iterator[InputResult]:
        """Read inputs; each result comes when all of its input is written.

        Args:
            inputs: Taken a few ahead of what is written.
            writer_of: Makes what the pages of an input go to; what it raises is not caught.
            known_of: Gives the pages of an input that were read before.
        """
        schedule = _Schedule(inputs, self._options, self._with_images, known_of or (lambda _: lambda _: None))
        outcomes = self._executor.run(schedule.jobs())
        while (document := schedule.next_document(outcomes)) is not None:
            start = time.monotonic()
            faults = self._write(document, schedule, outcomes, writer_of(document.entry))
            seconds = time.monotonic() - start
            log.info("%s: pages read: %d, in %.1f s", document.entry.name, len(document.selected), seconds)
            last = document.selected[-1] + 1 if document.selected else 0
            yield InputResult(document.entry, document.count or 0, last, faults)

    def _write(
        self, document: "_Document", schedule: "_Schedule", outcomes: Outcomes, writer: PageWriter
    ) -> tuple[Fault, ...]:
        name = document.entry.name
        try:
            if document.fault is not None or document.count is None:
                return refuse(writer, name, document.fault or Fault("input", name), self._provenance)
            self._known += len(document.selected)
            info = DocumentInfo(name, document.count, self._provenance)
            return deliver(self._scans(document, schedule, outcomes), writer, info, len(document.selected))
        finally:
            writer.abort()  # what is closed already stays

    def _scans(self, document: "_Document", schedule: "_Schedule", outcomes: Outcomes) -> Iterator[Scan]:
        for index in document.selected:
            yield schedule.page(document, index, outcomes).scan()
            self._done += 1
            if self._on_page:
                self._on_page(self._done, self._known)


@dataclass(eq=False)
class _Document:
    """An input on its way."""

    number: int
    entry: Input
    known: KnownPages
    fault: Fault | None
    """Why nothing of it can be read."""
    count: int | None = None
    """Pages; None while nobody has opened it."""
    selected: list[int] = field(default_factory=list)
    """Indices of the pages to read."""
    waiting: deque[int | None] = field(default_factory=deque)
    """What has not been given to an executor: indices of pages, None for counting them."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """What became of pages that are not yet written."""

    @property
    def is_ready(self) -> bool:
        """Whether it is known which pages are to be read, or that there are none."""
        return self.count is not None or self.fault is not None

    def file(self, outcome: Outcome, options: ReadOptions) -> None:
        """Note what became of a job; the first one tells how many pages there are."""
        index, result = outcome.job.index, outcome.value
        if index is not None:
            self.outcomes[index] = outcome
        if self.count is not None:
            return
        if result is None and index is not None:
            self.waiting.append(None)  # the process was lost: the pages must be counted without that one
        elif result is None:
            self.fault = explain(_error_of(outcome), self.entry.name)
        elif result.fault is not None:
            self.fault = result.fault
        else:
            self.count, self.selected = result.count, options.selected(result.count)
            self.waiting.extend(i for i in self.selected if i not in self.outcomes)

    def take_page(self, index: int) -> PageResult:
        """What became of a page; one that was lost has a fault, unless its text is known."""
        outcome = self.outcomes.pop(index)
        outcome.log()
        name, result = self.entry.name, outcome.value
        if result is not None and result.fault is None:
            return result
        fault = explain(_error_of(outcome), name) if result is None or result.fault is None else result.fault
        if self.count != 1:
            fault = replace(fault, message=f"{name}, page {index + 1}: {fault.message.removeprefix(f'{name}: ')}")
        known = outcome.job.known
        page = known or Page(name, index + 1, 0, 0, fault=fault)
        return PageResult(self.count or 0, page, missing=tell_kept(fault) if known else None)


def _error_of(outcome: Outcome) -> Exception:
    return outcome.error or WorkerError("the executor gave neither a page nor an error")


class _Schedule:
    """Which page is read next: the rest of the documents that were begun, in order, then the start of the next input.

    How many pages an input has is only known once its first one was read, so jobs depend on results.
    """

    def __init__(self, inputs: Iterable[Input], options: ReadOptions, with_images: bool, known_of: KnownOf) -> None:
        self._inputs = enumerate(inputs)
        self._options = options
        self._with_images = with_images
        self._known_of = known_of
        self._documents: deque[_Document] = deque()

    def jobs(self) -> Iterator[PageJob | None]:
        """The jobs for an executor, as it asks for them."""
        while True:
            ready = next((d for d in self._documents if d.waiting), None)
            if ready is not None:
                yield self._job(ready, ready.waiting.popleft())
            elif (item := next(self._inputs, None)) is not None:
                number, entry = item
                document = _Document(number, entry, self._known_of(entry), entry.fault)
                document.waiting.extend([] if entry.fault else [self._options.first_page - 1])
                self._documents.append(document)
            elif not all(document.is_ready for document in self._documents):
                yield None
            else:
                return

    def next_document(self, outcomes: Outcomes) -> _Document | None:
        """The next input, once it is known how many pages it has, or that it cannot be read."""
        while not self._documents and self._take(outcomes):
            pass
        if not self._documents:
            return None
        document = self._documents[0]
        while not document.is_ready:
            self._await(outcomes)
        if document.fault is not None:
            self._documents.popleft()
            for outcome in document.outcomes.values():
                outcome.log()
        return document

    def page(self, document: _Document, index: int, outcomes: Outcomes) -> PageResult:
        """What became of a page of the first document."""
        while index not in document.outcomes:
            self._await(outcomes)
        if index == document.selected[-1]:
            self._documents.popleft()
        return document.take_page(index)

    def _job(self, document: _Document, index: int | None) -> PageJob:
        entry = document.entry
        known = None if index is None else document.known(index + 1)
        return PageJob(document.number, entry.name, entry.source, index, known, self._with_images)

    def _await(self, outcomes: Outcomes) -> None:
        if not self._take(outcomes):
            raise WorkerError("the executor ended before it had done all jobs")

    def _take(self, outcomes: Outcomes) -> bool:
        """File what became of the next job; tell whether there was one."""
        outcome = next(outcomes, None)
        if outcome is not None:
            next(d for d in self._documents if d.number == outcome.job.document).file(outcome, self._options)
        return outcome is not None
