"""What a worker does: the pages of a task are read, and written as a part of the data set."""

import dataclasses
import json
import queue
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quillread.batch.cluster.fetching import Sources
from quillread.batch.cluster.ledger import LEDGER, begun_name
from quillread.batch.cluster.rows import RowMaker, from_parquet, schema_of, to_parquet
from quillread.batch.cluster.scratch import Scratch
from quillread.batch.cluster.store import Store, reason_of
from quillread.batch.cluster.tasks import FILES, LONG, Item, Spread, Task
from quillread.batch.cluster.work import Desk, Work, record_of
from quillread.batch.executors import PageJob, PageResult, PageWorker
from quillread.batch.journal import load_page
from quillread.batch.outputs import Tee, file_writer
from quillread.errors import DataError, Fault, QuillreadError
from quillread.formats.export import FORMATS
from quillread.options import ReadOptions
from quillread.pages.deliver import deliver, explain, refuse
from quillread.types import DocumentInfo, Page, Scan

DEADLY = 3
"""Times that a page is begun by workers that are lost with it, before it is parked."""
_FIRST = "first"
"""In the counts of pages begun: that the loss of the first worker is counted."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What all workers of a run share."""

    options: ReadOptions
    target: str
    """Address of the target."""
    provenance: Mapping[str, Any]
    """Of the reading, as the driver knows it."""
    types: Mapping[str, str]
    """Of the user's columns."""
    formats: tuple[str, ...] = ()
    """Of the files of each page or document."""
    abreast: int = 1
    """Pages that a worker reads at the same time: their lines fill the batches of a network together."""


class TaskWorker:
    """Does one task after another.

    Args:
        config: What all workers share.
        pages: Reads pages.
        on_page: Told of each page that was read how many seconds it took, and whether it failed.
    """

    def __init__(
        self, config: WorkerConfig, pages: PageWorker, on_page: Callable[[float, bool], None] = lambda *_: None
    ) -> None:
        self._config = config
        self._on_page = on_page
        self._store = Store(config.target)
        self._rows = RowMaker(config.provenance, config.types)
        self._schema = schema_of(config.types)
        self._scratch = Scratch()
        readers = (pages, *(pages.beside() for _ in range(config.abreast - 1)))
        self._desks = [Desk(one, Sources(self._scratch.path)) for one in readers]
        self._with_images = any(FORMATS[name].shows_images for name in config.formats)

    def __call__(self, task: Task) -> dict[str, Any]:
        """Do a task; return the record of it, with which it counts as done once it is in the ledger."""
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="task-", dir=self._scratch.path) as folder:
            works = self._do_all(self._shared_out(task), Path(folder))
        if not task.joins:
            pages = [page for work in works for page in work.pages]
            if pages:
                self._store.write(_pages_name(task.name), b"\n".join(json.dumps(page).encode() for page in pages))
            self._store.write(task.part, to_parquet([row for work in works for row in work.rows], self._schema))
        return record_of(task, works, time.monotonic() - start)

    def close(self) -> None:
        """Let go of files."""
        for desk in self._desks:
            desk.pages.close()
            desk.sources.close()
        self._scratch.close()

    def _shared_out(self, task: Task) -> list[Work]:
        """What can be read at the same time: the inputs of a task, or parts of a long document."""
        begun, earlier, known = self._begun(task), self._earlier(task), self._known_pages(task)
        parts = [(task, place, item) for place, item in enumerate(task.items)]
        # What an earlier run has read whole is taken as a whole.
        is_read = earlier is not None and not any(row["fault"] for row in earlier)
        if task.pages is not None and not task.careful and not is_read:
            first, stop = task.pages
            size = -(-(stop - first) // self._config.abreast)
            starts = range(first, stop, size)
            parts = [(replace(task, pages=(at, min(at + size, stop))), 0, task.items[0]) for at in starts]
        return [Work(part, place, item, begun, earlier, known) for part, place, item in parts]

    def _do_all(self, works: list[Work], folder: Path) -> list[Work]:
        free: queue.SimpleQueue[Desk] = queue.SimpleQueue()
        for desk in self._desks:
            free.put(desk)

        def do(work: Work, place: Path) -> None:
            desk = free.get()
            try:
                self._do(work, desk, place)
            finally:
                free.put(desk)

        places = [folder / str(number) for number in range(len(works))]
        # A page that kills its worker is found by what is read alone.
        if self._config.abreast == 1 or any(work.task.careful for work in works):
            for work, place in zip(works, places, strict=True):
                do(work, place)
        else:
            with ThreadPoolExecutor(self._config.abreast) as threads:
                list(threads.map(do, works, places))
        return works

    def _do(self, work: Work, desk: Desk, folder: Path) -> None:
        if work.task.joins:
            self._join(work, desk, folder)
        elif not work.is_read():
            self._read(work, desk, folder)
        if not work.is_worse:
            self._send(folder)

    def _begun(self, task: Task) -> dict[str, int]:
        """How often each page was begun by workers that were lost."""
        content = self._store.read(begun_name(task.name)) if task.careful else None
        begun: dict[str, int] = {} if content is None else json.loads(content)
        if begun and _FIRST not in begun:
            # The first worker that was lost noted nothing. It was most likely lost with the page that the second was.
            begun[max(begun, key=lambda key: begun[key])] += 1
            begun[_FIRST] = 1
        return begun

    def _earlier(self, task: Task) -> list[dict[str, Any]] | None:
        """The rows of an earlier run, where those of pages that failed are read again."""
        content = self._store.read(task.part) if task.again else None
        try:
            return None if content is None else from_parquet(content)
        except DataError:  # its pages are all read again, which mends it
            return None

    def _known_pages(self, task: Task) -> dict[int, dict[str, Any]]:
        """What an earlier run has read of the pages of a long document for its files, by their numbers."""
        is_there = task.again and task.pages is not None and self._joins
        content = self._store.read(_pages_name(task.name)) if is_there else None
        found = map(json.loads, (content or b"").splitlines())
        return {known["page"]["number"]: known for known in found}

    def _read(self, work: Work, desk: Desk, folder: Path) -> None:
        task, item, options = work.task, work.item, self._config.options
        opened = self._open(work, desk)
        if isinstance(opened, Fault):
            self._miss(work, opened, folder)
            return
        source, count = opened
        chosen = options.selected(count)
        if task.pages is None and len(chosen) > LONG:
            joins = any(not FORMATS[name].a_file_a_page for name in self._config.formats)
            work.spread.append(Spread(task.name, work.place, task.block, item, len(chosen), joins, count))
            return
        if task.pages is not None:
            chosen = [index for index in self._part_of(task) if index < count]
        writer = self._writer(item, folder, pages_only=task.pages is not None)
        info = DocumentInfo(item.name, count, self._config.provenance)
        try:
            if chosen:
                deliver(self._scans(work, desk, source, count, chosen), writer, info, len(chosen))
        finally:
            writer.abort()
        work.faults += writer.faults
        if task.pages is not None:
            message = "{where}: the document now ends at page " + str(count)
            gone = [index for index in self._part_of(task) if index >= count]
            self._add_missing(work, gone, lambda where: Fault("input", message.format(where=where)))

    def _part_of(self, task: Task) -> list[int]:
        """Indices of the pages of a long document that a task reads."""
        return self._config.options.selected(task.count)[slice(*task.pages or (0, 0))]

    def _miss(self, work: Work, fault: Fault, folder: Path) -> None:
        """Enter an input that cannot be opened; what an earlier run read of it is kept."""
        if work.task.pages is not None:
            self._add_missing(work, self._part_of(work.task), lambda _: fault)
            return
        item = work.item
        known = [row for row in work.earlier_rows() if row["page"] is not None]
        if known:
            work.rows += known
            return
        work.rows.append(self._rows.of_input(item, fault))
        self._on_page(0.0, True)
        writer = self._writer(item, folder)
        refuse(writer, item.name, fault, self._config.provenance)
        writer.abort()

    def _add_missing(self, work: Work, indices: Sequence[int], explain_one: Callable[[str], Fault]) -> None:
        """Enter pages of a long document that are there no more."""
        name = work.item.name
        for number in (index + 1 for index in indices):
            page = Page(name, number, 0, 0, fault=explain_one(f"{name}, page {number}"))
            self._add(work, PageResult(work.task.count, page), page, 0.0)

    def _add(self, work: Work, result: PageResult, page: Page, seconds: float) -> None:
        self._on_page(seconds, page.fault is not None)
        kept = work.kept.get(work.item.page_id(page.number))
        known = None
        if kept is None or page.fault is None:
            work.rows.append(self._rows.of_page(work.item, page, seconds))
        else:  # that a page cannot be read this time is no reason to lose what was read of it
            work.rows.append(kept)
            known = work.known_pages.get(page.number)
            if self._config.formats:
                work.is_worse = True
                work.faults.append(page.fault)
        if work.task.pages is not None and self._joins:
            work.pages.append(known or {"page": dataclasses.asdict(page), "points": result.points})

    def _open(self, work: Work, desk: Desk) -> tuple[Path | str | bytes, int] | Fault:
        """What an input is read from and the number of its pages, or why it cannot be read."""
        item = work.item
        if item.fault is not None:
            return item.fault
        where = item.page_id(None)
        if work.begun.get(where, 0) >= DEADLY:
            return _deadly(item.name)
        self._note(work, where)
        try:
            source = desk.sources.open(item)
        except Exception as error:  # what is wrong with one input must not lose the others
            return _explain(error, item.name)
        found = desk.pages(PageJob(0, item.name, source, None, is_named=item.is_named))
        return found.fault or (source, found.count)

    def _scans(
        self, work: Work, desk: Desk, source: Path | str | bytes, count: int, indices: Sequence[int]
    ) -> Iterator[Scan]:
        item = work.item
        for index in indices:
            key, number = item.page_id(index + 1), index + 1
            if key in work.kept and not self._config.formats:
                work.rows.append(work.kept[key])
                continue
            start = time.monotonic()
            if work.begun.get(key, 0) >= DEADLY:
                where = item.name if count == 1 else f"{item.name}, page {number}"
                result = PageResult(count, Page(item.name, number, 0, 0, fault=_deadly(where)))
            else:
                self._note(work, key)
                job = PageJob(0, item.name, source, index, None, self._with_images, item.is_named)
                result = desk.pages(job)
            page = result.page or Page(item.name, number, 0, 0, fault=result.fault)
            self._add(work, result, page, time.monotonic() - start)
            yield replace(result, page=page).scan()

    @property
    def _joins(self) -> bool:
        return any(not FORMATS[name].a_file_a_page for name in self._config.formats)

    def _join(self, work: Work, desk: Desk, folder: Path) -> None:
        """Write the files of a long document, whose pages were read by several tasks."""
        item = work.item
        opened = self._open(work, desk)
        if isinstance(opened, Fault):  # it was there when its pages were read, and their rows stay
            work.faults.append(opened)
            return
        source, count = opened
        parent = work.task.name.removesuffix("-files")
        names = [f"{parent}-{part * LONG:06}" for part in range(work.task.joins)]
        writer = self._writer(item, folder, documents_only=True)
        info = DocumentInfo(item.name, work.task.count, self._config.provenance)
        try:
            expected = len(self._config.options.selected(work.task.count))
            deliver(self._known(item, desk, source, count, names), writer, info, expected)
        finally:
            writer.abort()
        work.faults += writer.faults

    def _known(
        self, item: Item, desk: Desk, source: Path | str | bytes, count: int, names: Sequence[str]
    ) -> Iterator[Scan]:
        for name in names:
            for line in (self._store.read(_pages_name(name)) or b"").splitlines():
                found = json.loads(line)
                page = load_page(found["page"])
                if self._with_images and page.fault is None and page.number <= count:
                    job = PageJob(0, item.name, source, page.number - 1, page, True, item.is_named)
                    yield desk.pages(job).scan()
                else:
                    yield Scan(page, points=found["points"] and tuple(found["points"]))

    def _note(self, work: Work, key: str) -> None:
        """Note that a page is begun, where a worker was lost: a cost that the others need not bear."""
        if work.task.careful:
            work.begun[key] = work.begun.get(key, 0) + 1
            self._store.write(begun_name(work.task.name), json.dumps(work.begun).encode())
            # That it ends well is noted with the next one: a page that was left behind did not kill.
            work.begun[key] -= 1

    def _writer(self, item: Item, folder: Path, *, pages_only: bool = False, documents_only: bool = False) -> Tee:
        skipped = [True] if documents_only else [False] if pages_only else []
        names = [name for name in self._config.formats if FORMATS[name].a_file_a_page not in skipped]
        return Tee([file_writer(folder / item.stem, name) for name in names])

    def _send(self, folder: Path) -> None:
        """Put the files that were written where they belong."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self._store.put(path, f"{FILES}/{path.relative_to(folder).as_posix()}")


def _explain(error: Exception, name: str) -> Fault:
    if isinstance(error, QuillreadError):
        return explain(error, name)
    if isinstance(error, FileNotFoundError):
        return Fault("image", f"{name}: no such file", "check the path")
    return Fault("input", f"{name}: cannot be read: {reason_of(error)}", "check the address and its permissions")


def _deadly(where: str) -> Fault:
    message = f"{where}: not read: {DEADLY} workers were lost while they read it"
    return Fault("crash", message, "look at the page; --retry-failed reads it once more")


def _pages_name(task: str) -> str:
    return f"{LEDGER}/pages/{task}.jsonl"
