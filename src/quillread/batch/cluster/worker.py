"""What a worker does: the pages of a task are read, and written as a part of the data set."""

import dataclasses
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quillread.batch.cluster.archives import OpenZip, read_span
from quillread.batch.cluster.ledger import LEDGER, begun_name
from quillread.batch.cluster.rows import RowMaker, from_parquet, schema_of, to_parquet
from quillread.batch.cluster.store import Store, is_local, open_files, patiently, reason_of
from quillread.batch.cluster.tasks import LONG, Item, Spread, Task
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
FILES = "files"
"""Folder of the files of each page or document."""
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
        work = _Work(task, self._begun(task), self._kept(task))
        with tempfile.TemporaryDirectory(prefix="quillread-task-") as folder:
            for place, item in enumerate(task.items):
                if task.joins:
                    self._join(work, item, Path(folder))
                else:
                    self._read(work, place, item, Path(folder))
            self._send(Path(folder))
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

    def _kept(self, task: Task) -> dict[str, dict[str, Any]]:
        """The rows of pages that were read well, where the others are read again."""
        content = self._store.read(task.part) if task.again else None
        return {} if content is None else {row["id"]: row for row in from_parquet(content) if row["fault"] is None}

    def _read(self, work: "_Work", place: int, item: Item, folder: Path) -> None:
        task, options = work.task, self._config.options
        opened = self._open(work, item)
        if isinstance(opened, Fault):
            work.add(self._rows.of_input(item, opened))
            writer = self._writer(item, folder)
            refuse(writer, item.name, opened, self._config.provenance)
            writer.abort()
            return
        source, count = opened
        selected = options.selected(count)
        if task.pages is None and len(selected) > LONG:
            joins = any(not FORMATS[name].a_file_a_page for name in self._config.formats)
            work.spread.append(Spread(task.name, place, task.block, item, len(selected), joins))
            return
        is_part = task.pages is not None
        chosen = selected[slice(*task.pages)] if task.pages else selected
        writer = self._writer(item, folder, pages_only=is_part)
        info = DocumentInfo(item.name, count, self._config.provenance)
        try:
            deliver(self._scans(work, item, source, count, chosen), writer, info, len(chosen))
        finally:
            writer.abort()
        work.faults += [fault.kind for fault in writer.faults]

    def _open(self, work: "_Work", item: Item) -> tuple[Path | str | bytes, int] | Fault:
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
        found = self._pages(PageJob(0, item.name, source, None))
        return found.fault or (source, found.count)

    def _scans(
        self, work: "_Work", item: Item, source: Path | str | bytes, count: int, indices: Sequence[int]
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
                result = self._pages(PageJob(0, item.name, source, index, None, self._with_images))
            page = result.page or Page(item.name, number, 0, 0, fault=result.fault)
            work.add(self._rows.of_page(item, page, time.monotonic() - start))
            if work.task.pages is not None and self._joins:
                work.pages.append({"page": dataclasses.asdict(page), "points": result.points})
            yield replace(result, page=page).scan()

    @property
    def _joins(self) -> bool:
        return any(not FORMATS[name].a_file_a_page for name in self._config.formats)

    def _join(self, work: "_Work", item: Item, folder: Path) -> None:
        """Write the files of a long document, whose pages were read by several tasks."""
        opened = self._open(work, item)
        if isinstance(opened, Fault):  # it was there when its pages were read, and their rows stay
            work.faults.append(opened.kind)
            return
        source, count = opened
        parent = work.task.name.removesuffix("-files")
        names = [f"{parent}-{part * LONG:06}" for part in range(work.task.joins)]
        writer = self._writer(item, folder, documents_only=True)
        info = DocumentInfo(item.name, count, self._config.provenance)
        try:
            expected = len(self._config.options.selected(count))
            deliver(self._known(item, source, names), writer, info, expected)
        finally:
            writer.abort()
        work.faults += [fault.kind for fault in writer.faults]

    def _known(self, item: Item, source: Path | str | bytes, names: Sequence[str]) -> Iterator[Scan]:
        for name in names:
            for line in (self._store.read(_pages_name(name)) or b"").splitlines():
                found = json.loads(line)
                page = load_page(found["page"])
                if self._with_images and page.fault is None:
                    yield self._pages(PageJob(0, item.name, source, page.number - 1, page, True)).scan()
                else:
                    yield Scan(page, points=found["points"] and tuple(found["points"]))

    def _note(self, work: "_Work", key: str) -> None:
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


class _Work:
    """A task on its way."""

    def __init__(self, task: Task, begun: dict[str, int], kept: dict[str, dict[str, Any]]) -> None:
        self.task = task
        self.begun = begun
        self.kept = kept
        self.rows: list[dict[str, Any]] = []
        self.pages: list[dict[str, Any]] = []
        self.spread: list[Spread] = []
        self.faults: list[str] = []
        """Kinds of what could not be written."""

    def add(self, row: dict[str, Any]) -> None:
        """Take a row."""
        self.rows.append(row)

    def record(self, seconds: float) -> dict[str, Any]:
        """What the ledger holds of the task."""
        lines = [line for row in self.rows for line in row["lines"]]
        sure = Counter(min(int(10 * line["confidence"]), 9) for line in lines if line["confidence"] is not None)
        faults = Counter(row["fault"]["kind"] for row in self.rows if row["fault"])
        record: dict[str, Any] = {
            "task": self.task.name,
            "block": self.task.block,
            "rows": len(self.rows),
            "inputs": 0 if self.task.pages or self.task.joins else len(self.task.items),
            "lines": len(lines),
            "seconds": round(seconds, 3),
            "confidence": [sure[bin] for bin in range(10)],
            "faults": dict(faults),
            "unwritten": dict(Counter(self.faults)),
            "deadly": [row["source"] for row in self.rows if row["fault"] and row["fault"]["kind"] == "crash"],
        }
        if self.spread:
            record["spread"] = [
                {"place": s.place, "item": s.item.plain(), "count": s.count, "joins": s.joins} for s in self.spread
            ]
        return {name: value for name, value in record.items() if value or name in ("block", "rows", "inputs")}


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
            self._zip = patiently(lambda: OpenZip(item.place))
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
