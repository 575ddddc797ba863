"""Batches in this process, with readers of bars: pages kill their worker where the name of an input says so."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset
from fakes import bar_line, bar_recognizer, png

from quillread.batch.cluster.pool import Done
from quillread.batch.cluster.progress import Progress
from quillread.batch.cluster.reading import BatchConfig, read_batch
from quillread.batch.cluster.tasks import Task
from quillread.batch.cluster.worker import TaskWorker, WorkerConfig
from quillread.batch.executors import PageJob, PageResult, PageWorker
from quillread.options import ReadOptions
from quillread.reader import Reader

WORDS = ("a bad cab", "dead", "a cab", "bed", "ace", "add", "cab")


class KilledError(BaseException):
    """Stands for the end of a worker's process."""


class FrailBars(PageWorker):
    """Reads bars; the pages of `kill-2.pdf` from the second on kill their worker, and it counts what it reads."""

    def __init__(self) -> None:
        super().__init__(Reader(ReadOptions(lines=True, threads=1), recognizer=bar_recognizer()))
        self.read: list[tuple[str, int]] = []

    def __call__(self, job: PageJob) -> PageResult:
        """Read a page, if its name lets it."""
        found = re.search(r"kill-(\d+)", job.name)
        if job.index is not None:
            self.read.append((job.name, job.index))
            if found and job.index + 1 == int(found[1]):
                raise KilledError
        return super().__call__(job)


class LocalPool:
    """Does one task after another, here.

    Args:
        config: Of the workers.
        pages: Reads pages.
        stop: Told each task that is done; what it raises ends the run, as the death of the driver would.
    """

    def __init__(self, config: WorkerConfig, pages: PageWorker, stop: Callable[[int], None] = lambda _: None) -> None:
        self._worker = TaskWorker(config, pages)
        self._tasks: list[Task] = []
        self._stop = stop
        self._count = 0

    def has_room(self) -> bool:
        """Two tasks wait, as with an actor."""
        return len(self._tasks) < 2

    def give(self, task: Task) -> None:
        """Have a task done."""
        self._tasks.append(task)

    def take(self, seconds: float) -> list[Done]:
        """Do the next task."""
        if not self._tasks:
            return []
        task = self._tasks.pop(0)
        self._count += 1
        self._stop(self._count)
        try:
            return [Done(task, self._worker(task))]
        except KilledError:
            lost, self._tasks = self._tasks, []
            return [Done(task, None, "killed"), *(Done(other, None) for other in lost)]

    def workers(self) -> int:
        """It is one."""
        return 1

    def rest(self) -> None:
        """It stays."""

    def close(self) -> None:
        """Nothing is open."""
        self._worker.close()


def read_bars(
    *sources: str | Path,
    target: str | Path,
    pages: FrailBars | None = None,
    stop: Callable[[int], None] = lambda _: None,
    options: ReadOptions | None = None,
    **changes: Any,
) -> Progress:
    """Read a batch of lines of bars."""
    config = BatchConfig(tuple(map(str, sources)), str(target), options or ReadOptions(lines=True), **changes)
    return read_batch(config, pool=lambda worker: LocalPool(worker, pages or FrailBars(), stop))


def rows(target: str | Path) -> list[dict[str, Any]]:
    """The rows of a data set, by source and page."""
    found = pyarrow.dataset.dataset(str(Path(target) / "pages"), partitioning="hive").to_table().to_pylist()
    return sorted(found, key=lambda row: (row["source"], row["page"] or 0))


def texts(target: str | Path) -> dict[tuple[str, int | None], str]:
    """The text of each page by file name and page; each page once."""
    found = rows(target)
    result = {(Path(row["source"]).name, row["page"]): row["text"] for row in found}
    assert len(found) == len(result) == len({row["id"] for row in found})
    return result


def write_bars(folder: Path, count: int) -> Iterator[Path]:
    """Write images of bars, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"page-{i:03}.png"
        path.write_bytes(png(bar_line(WORDS[i % len(WORDS)])))
        yield path
