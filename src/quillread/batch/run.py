"""A run over many inputs: which page is read next, and the order in which pages are written."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from quillread.batch.executors import Executor, Outcome, Outcomes, PageJob, PageResult
from quillread.batch.inputs import Input
from quillread.batch.outputs import Tee
from quillread.errors import Fault, WorkerError
from quillread.options import ReadOptions
from quillread.pages.deliver import deliver, explain, refuse, tell_kept
from quillread.types import DocumentInfo, Page, PageWriter, Progress, Scan

log = logging.getLogger(__name__)


class Known(PageWriter, Protocol):
    """What an earlier run has read of an input; what this one reads may be written into it."""

    began: datetime | None
    """When it began."""

    def page(self, number: int) -> Page | None:
        """Give a page, if it was read."""


KnownOf = Callable[[Input], Known | None]
WriterOf = Callable[[Input, Known | None], Tee]


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
        began: When the run began, for formats that say when they were made; an input that an earlier run has read in
            part has the time of that one, so that it ends as it would have without the interruption.
    """

    def __init__(
        self,
        options: ReadOptions,
        provenance: Mapping[str, Any],
        executor: Executor,
        *,
        with_images: bool = False,
        on_page: Progress | None = None,
        began: datetime | None = None,
    ) -> None:
        self._options = options
        self._provenance = provenance
        self._executor = executor
        self._with_images = with_images
        self._on_page = on_page
        self._began = began
        self._done = self._known = 0

    def __call__(
        self, inputs: Iterable[Input], writer_of: WriterOf, known_of: KnownOf = lambda _: None
    ) -> Iterator[InputResult]:
        """Read inputs; each result comes when all of its input is written.

        Args:
            inputs: Taken a few ahead of what is written.
            writer_of: Makes what the pages of an input go to, given what is known of it; what it raises is not caught.
            known_of: Gives what an earlier run has read of an input, if that is kept.
        """
        schedule = _Schedule(inputs, self._options, self._with_images, known_of)
        outcomes = self._executor.run(schedule.jobs())
        while (document := schedule.next_document(outcomes)) is not None:
            start = time.monotonic()
            faults = self._write(document, schedule, outcomes, writer_of(document.entry, document.known))
            seconds = time.monotonic() - start
            log.info("%s: pages read: %d, in %.1f s", document.entry.name, len(document.selected), seconds)
            last = document.selected[-1] + 1 if document.selected else 0
            yield InputResult(document.entry, document.count or 0, last, faults)

    def _write(
        self, document: "_Document", schedule: "_Schedule", outcomes: Outcomes, writer: Tee
    ) -> tuple[Fault, ...]:
        name = document.entry.name
        try:
            if document.fault is not None or document.count is None:
                faults = refuse(writer, name, document.fault or Fault("input", name), self._provenance)
            else:
                self._known += len(document.selected)
                began = (document.known and document.known.began) or self._began
                info = DocumentInfo(name, document.count, self._provenance, began)
                faults = deliver(self._scans(document, schedule, outcomes), writer, info, len(document.selected))
        finally:
            writer.abort()  # what is closed already stays
        return (*faults, *writer.faults)

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
    known: Known | None
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
        known = document.known.page(index + 1) if document.known and index is not None else None
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
