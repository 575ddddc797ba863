"""Readers of bars in worker processes, which fail where the name of an input says so; and `quill` with them.

Workers import them by name, so `quill` is started as python -c "import page_workers; page_workers.main()".
"""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fakes import bar_recognizer

from quillread.batch.executors import Executor, PageJob, PageResult, PageWorker, ProcessExecutor, SerialExecutor
from quillread.cli import main as command
from quillread.cli import read
from quillread.options import ReadOptions
from quillread.reader import Reader

PATIENCE = 120.0
"""Seconds after which a test is taken to hang."""


class FrailWorker(PageWorker):
    """Takes `crash-2.tif` for a file whose second page crashes the process, and waits at the second of `wait-2.tif`."""

    def __call__(self, job: PageJob) -> PageResult:
        """Read a page, if its name lets it."""
        found = re.search(r"(crash|wait)-(\d+)", job.name)
        if found and job.index == int(found[2]) - 1:
            if found[1] == "crash":
                os.abort()
            wait_to_go(Path(job.name))
        return super().__call__(job)


def wait_to_go(path: Path) -> None:
    """Write the id of the process beside a file, once, and wait until it is removed."""
    place = path.with_suffix(".pid")
    if path.with_suffix(".passed").exists():
        return
    path.with_suffix(".passed").touch()
    part = place.with_suffix(".writing")
    part.write_text(str(os.getpid()), encoding="ascii")
    part.rename(place)
    wait(lambda: not place.exists())


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(0.01)


def frail(options: ReadOptions) -> FrailWorker:
    """Make what reads bars, in this process or another one."""
    return FrailWorker(Reader(options, recognizer=bar_recognizer()))


def executor(jobs: int, options: ReadOptions) -> Executor:
    """What `quill read` reads with, in place of its own."""
    if jobs > 1:
        return ProcessExecutor(options, jobs, frail)
    serial = SerialExecutor(Reader(options, recognizer=bar_recognizer()))
    serial._worker = frail(options)
    return serial


def main() -> None:
    """Run `quill`."""
    read._executor = executor
    sys.exit(command.main())
