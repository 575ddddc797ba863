"""`quill batch` with readers of bars on Ray, which fail where the name of an input says so.

Workers import it by name, so `quill` is started as python -c "import ray_bars; ray_bars.main()".
"""

import os
import re
import sys
import time
from functools import partial
from pathlib import Path

from fakes import bar_recognizer

from quillread.batch.cluster import pool, reading
from quillread.batch.executors import PageJob, PageResult, PageWorker
from quillread.cli import main as command
from quillread.errors import ModelError
from quillread.options import ReadOptions
from quillread.reader import Reader

SECONDS = float(os.environ.get("BARS_SECONDS", "0"))
"""That each page takes."""


class RayBars(PageWorker):
    """Takes `crash-2.pdf` for a file whose second page crashes the process."""

    def __call__(self, job: PageJob) -> PageResult:
        """Read a page, if its name lets it; the process that reads it is noted in the folder `BARS_NOTES`."""
        found = re.search(r"crash-(\d+)", job.name)
        if job.index is not None:
            time.sleep(SECONDS)
            with Path(os.environ["BARS_NOTES"], str(os.getpid())).open("a", encoding="utf-8") as notes:
                notes.write(f"{job.name} {job.index}\n")
            if found and job.index + 1 == int(found[1]):
                os.abort()
        return super().__call__(job)


def make(options: ReadOptions) -> PageWorker:
    """Make what reads bars, of another version of Quillread if the environment says so."""
    if "BARS_FAULT" in os.environ:
        raise ModelError(os.environ["BARS_FAULT"], hint="train one")
    pool.__version__ = os.environ.get("BARS_VERSION", pool.__version__)
    return RayBars(Reader(options, recognizer=bar_recognizer()))


def main() -> None:
    """Run `quill`."""
    version = os.environ.get("BARS_VERSION")
    reading.RayPool = partial(pool.RayPool, make=make)
    assert version is None or version != pool.__version__
    sys.exit(command.main())
