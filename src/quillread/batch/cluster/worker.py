"""What a worker does: the pages of a task are read, and written as a part of the data set."""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quillread.batch.cluster.archives import OpenZip, read_span
from quillread.batch.cluster.ledger import LEDGER, begun_name
from quillread.batch.cluster.rows import RowMaker, from_parquet, schema_of, to_parquet
from quillread.batch.cluster.store import Store, is_local, open_files, patiently, reason_of
from quillread.batch.cluster.tasks import FILES, LONG, Item, Spread, Task
from quillread.batch.cluster.work import Work
from quillread.batch.executors import PageJob, PageResult, PageWorker
from quillread.batch.journal import load_page
from quillread.batch.outputs import Tee, file_writer
from quillread.errors import Fault, ImageError, QuillreadError
from quillread.formats.export import FORMATS
from quillread.images.web import is_address
from quillread.options import ReadOptions
from quillread.pages.deliver import deliver, explain, refuse
from quillread.types import DocumentInfo, Page, Scan

DEADLY = 3
"""Times that a page is begun by workers that are lost with it, before it is parked."""
_MOST_BYTES = 2_000_000_000
"""Of a file of a store."""
_FIRST = "first"
"""In the counts of pages begun: that the loss of the first worker is counted."""
_IN_MEMORY = 64_000_000
"""Bytes of a file beyond which it is fetched to the disk."""


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


class TaskWorker:
    """Does one task after another.

    Args:
        config: What all workers share.
        pages: Reads pages.
    """

    def __init__(self, config: WorkerConfig, pages: PageWorker) -> None:
        self._config = config
        self._pages = pages
        self._store = Store(config.target)
        self._rows = RowMaker(config.provenance, config.types)
        self._schema = schema_of(config.types)
        self._sources = Sources()
        self._with_images = any(FORMATS[name].shows_images for name in config.formats)

    def __call__(self, task: Task) -> dict[str, Any]:
        """Do a task; return the record of it, with which it counts as done once it is in the ledger."""
        start = time.monotonic()
        work = Work(task, self._begun(task), self._earlier(task))
        with tempfile.TemporaryDirectory(prefix="quillread-task-") as folder:
            for work.place, item in enumerate(task.items):
                place = Path(folder, str(work.place))
                if task.joins:
                    self._join(work, item, place)
                elif not work.is_read(item):
                    self._read(work, item, place)
                if work.place not in work.worse:
                    self._send(place)
        if not task.joins:
            if work.pages:
                lines = b"\n".join(json.dumps(page).encode() for page in work.pages)
                self._store.write(_pages_name(task.name), lines)
            self._store.write(task.part, to_parquet(work.rows, self._schema))
        return work.record(time.monotonic() - start)

    def close(self) -> None:
        """Let go of files."""
        self._pages.close()
        self._sources.close()

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
        return None if content is None else from_parquet(content)

    def _read(self, work: Work, item: Item, folder: Path) -> None:
        task, options = work.task, self._config.options
        opened = self._open(work, item)
        if isinstance(opened, Fault):
            self._miss(work, item, opened, folder)
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
                deliver(self._scans(work, item, source, count, chosen), writer, info, len(chosen))
        finally:
            writer.abort()
        work.take_faults(writer.faults)
        if task.pages is not None:
            message = "{where}: the document now ends at page " + str(count)
            gone = [index for index in self._part_of(task) if index >= count]
            self._add_missing(work, item, gone, lambda where: Fault("input", message.format(where=where)))

    def _part_of(self, task: Task) -> list[int]:
        """Indices of the pages of a long document that a task reads."""
        return self._config.options.selected(task.count)[slice(*task.pages or (0, 0))]

    def _miss(self, work: Work, item: Item, fault: Fault, folder: Path) -> None:
        """Enter an input that cannot be opened; what an earlier run read of it is kept."""
        if work.task.pages is not None:
            self._add_missing(work, item, self._part_of(work.task), lambda _: fault)
            return
        known = [row for row in work.earlier_of(item) if row["page"] is not None]
        if known:
            work.rows += known
            return
        work.add(self._rows.of_input(item, fault))
        writer = self._writer(item, folder)
        refuse(writer, item.name, fault, self._config.provenance)
        writer.abort()

    def _add_missing(self, work: Work, item: Item, indices: Sequence[int], explain_one: Callable[[str], Fault]) -> None:
        """Enter pages of a long document that are there no more."""
        for number in (index + 1 for index in indices):
            page = Page(item.name, number, 0, 0, fault=explain_one(f"{item.name}, page {number}"))
            self._add(work, item, PageResult(work.task.count, page), page, 0.0)

    def _add(self, work: Work, item: Item, result: PageResult, page: Page, seconds: float) -> None:
        kept = work.kept.get(item.page_id(page.number))
        if kept is None or page.fault is None:
            work.add(self._rows.of_page(item, page, seconds))
        else:  # that a page cannot be read this time is no reason to lose what was read of it
            work.add(kept)
            if self._config.formats:
                work.worse.add(work.place)
                work.take_faults([page.fault])
        if work.task.pages is not None and self._joins:
            work.pages.append({"page": dataclasses.asdict(page), "points": result.points})

    def _open(self, work: Work, item: Item) -> tuple[Path | str | bytes, int] | Fault:
        """What an input is read from and the number of its pages, or why it cannot be read."""
        if item.fault is not None:
            return item.fault
        where = item.page_id(None)
        if work.begun.get(where, 0) >= DEADLY:
            return _deadly(item.name)
        self._note(work, where)
        try:
            source = self._sources.open(item)
        except Exception as error:  # what is wrong with one input must not lose the others
            return _explain(error, item.name)
        found = self._pages(PageJob(0, item.name, source, None, is_named=item.is_named))
        return found.fault or (source, found.count)

    def _scans(
        self, work: Work, item: Item, source: Path | str | bytes, count: int, indices: Sequence[int]
    ) -> Iterator[Scan]:
        for index in indices:
            key, number = item.page_id(index + 1), index + 1
            if key in work.kept and not self._config.formats:
                work.add(work.kept[key])
                continue
            start = time.monotonic()
            if work.begun.get(key, 0) >= DEADLY:
                where = item.name if count == 1 else f"{item.name}, page {number}"
                result = PageResult(count, Page(item.name, number, 0, 0, fault=_deadly(where)))
            else:
                self._note(work, key)
                job = PageJob(0, item.name, source, index, None, self._with_images, item.is_named)
                result = self._pages(job)
            page = result.page or Page(item.name, number, 0, 0, fault=result.fault)
            self._add(work, item, result, page, time.monotonic() - start)
            yield replace(result, page=page).scan()

    @property
    def _joins(self) -> bool:
        return any(not FORMATS[name].a_file_a_page for name in self._config.formats)

    def _join(self, work: Work, item: Item, folder: Path) -> None:
        """Write the files of a long document, whose pages were read by several tasks."""
        opened = self._open(work, item)
        if isinstance(opened, Fault):  # it was there when its pages were read, and their rows stay
            work.take_faults([opened])
            return
        source, count = opened
        parent = work.task.name.removesuffix("-files")
        names = [f"{parent}-{part * LONG:06}" for part in range(work.task.joins)]
        writer = self._writer(item, folder, documents_only=True)
        info = DocumentInfo(item.name, work.task.count, self._config.provenance)
        try:
            expected = len(self._config.options.selected(work.task.count))
            deliver(self._known(item, source, count, names), writer, info, expected)
        finally:
            writer.abort()
        work.take_faults(writer.faults)

    def _known(self, item: Item, source: Path | str | bytes, count: int, names: Sequence[str]) -> Iterator[Scan]:
        for name in names:
            for line in (self._store.read(_pages_name(name)) or b"").splitlines():
                found = json.loads(line)
                page = load_page(found["page"])
                if self._with_images and page.fault is None and page.number <= count:
                    job = PageJob(0, item.name, source, page.number - 1, page, True, item.is_named)
                    yield self._pages(job).scan()
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


class Sources:
    """Gets the content of inputs, and keeps that of the last one, whose pages may be in several tasks."""

    def __init__(self) -> None:
        self._key: bytes | None = None
        self._found: Path | str | bytes = b""
        self._zip: OpenZip | None = None
        self._fetched = ExitStack()

    def open(self, item: Item) -> Path | str | bytes:
        """What an input is read from: a path, an address of the web, or content.

        Raises:
            ImageError: If it cannot be had.
        """
        if self._key != item.key:
            self._key = None
            self._fetched.close()
            self._found = self._get(item)
            self._key = item.key
        return self._found

    def close(self) -> None:
        """Let go of files."""
        self._fetched.close()
        if self._zip is not None:
            self._zip.close()
            self._zip = None

    def _get(self, item: Item) -> Path | str | bytes:
        if item.span is not None:
            span = item.span
            if span[1] > _MOST_BYTES:
                raise ImageError(f"{item.name}: is larger than {_MOST_BYTES:,} bytes", hint="unpack the archive")
            return patiently(lambda: read_span(item.place, span))
        if item.member:
            return self._unzipped(item)
        if is_address(item.place):
            return item.place
        files, path = open_files(item.place)
        if is_local(files):
            return Path(path)
        size = patiently(lambda: files.size(path))
        if size > _MOST_BYTES:
            raise ImageError(f"{item.name}: is larger than {_MOST_BYTES:,} bytes", hint="split it")
        if size <= _IN_MEMORY:
            content: bytes = patiently(lambda: files.cat_file(path))
            return content
        place = Path(self._fetched.enter_context(tempfile.TemporaryDirectory(prefix="quillread-fetched-")), "file")
        patiently(lambda: files.get_file(path, str(place)))
        return place

    def _unzipped(self, item: Item) -> bytes:
        if self._zip is None or self._zip.address != item.place:
            if self._zip is not None:
                self._zip.close()
                self._zip = None
            self._zip = OpenZip(item.place)
        return self._zip.read(item.member, _MOST_BYTES)


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
