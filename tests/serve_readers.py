"""Readers for the worker processes of a server under test, which import them by name, and pages for them.

What happens to a page depends on the name of its file.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from quillread.images.document import Document
from quillread.options import ReadOptions
from quillread.pages.transcribe import PageTranscriber
from quillread.serve.archive.home import Archive
from quillread.serve.database.schema import Blob, Collection, Page
from quillread.serve.database.schema import Document as Letter
from quillread.serve.jobs.claims import Claim
from quillread.testing import FakeReader
from quillread.types import Scan

TEXT = "Dear Sir,\nI am, yours"
PATIENCE = 60.0
"""Seconds after which a test is taken to hang."""


class FrailReader(FakeReader):
    """Reads the same on all pages, but for some names.

    `crash` ends the process, `crash-once-at-X` at first, `slow` takes long, `wait-for-X` waits until its mark is gone.
    """

    def _scan(self, transcribe: PageTranscriber, document: Document, *others: Any) -> Scan:
        name = Path(document.name).stem
        if name == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("crash-once-at-"):
            mark = Path(os.environ["TMPDIR_OF_TEST"]) / name
            if not mark.exists():
                mark.touch()
                os.abort()
        if name.startswith("wait-for-"):
            mark = Path(os.environ["TMPDIR_OF_TEST"]) / name
            mark.touch()
            wait_for(lambda: not mark.exists())
        if name == "slow":
            time.sleep(PATIENCE)
        if name == "bug":
            raise ZeroDivisionError
        return super()._scan(transcribe, document, *others)


def frail(options: ReadOptions) -> FrailReader:
    """Make a reader."""
    return FrailReader([TEXT], options)


def picture(width: int = 60, height: int = 80, shade: int = 255) -> bytes:
    """A PNG file."""
    file = BytesIO()
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def add_scans(archive: Archive, names: Sequence[str], content: bytes | None = None) -> list[Page]:
    """Add a document whose pages have images."""
    content = content or picture()
    stored = archive.storage.add(content)
    with archive.database.write() as session:
        if session.get(Blob, stored.sha256) is None:
            session.add(Blob(sha256=stored.sha256, size=stored.size, media_type="image/png"))
        collection = Collection(name="Letters")
        session.add(collection)
        session.flush()
        letter = Letter(name="Letter", collection_id=collection.id)
        session.add(letter)
        session.flush()
        pages = [
            Page(
                document_id=letter.id,
                position=i,
                source=stored.sha256,
                view=stored.sha256,
                source_name=name,
                width=60,
                height=80,
            )
            for i, name in enumerate(names)
        ]
        session.add_all(pages)
    return pages


def wait_for(condition: object) -> None:
    """Wait until something is so."""
    assert callable(condition)
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.02)


def run(
    archive: Archive, claim: Claim, told: Callable[[Mapping[str, Any]], None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """A task that says how far it is."""
    told({"step": 1})
    return {"name": claim.payload["name"]}


def fall(archive: Archive, claim: Claim, told: object, cancelled: object) -> None:
    """A task with a bug."""
    raise ZeroDivisionError


begun = threading.Event()


def wait(archive: Archive, claim: Claim, told: object, cancelled: Callable[[], bool]) -> None:
    """A task that waits until it is stopped."""
    begun.set()
    wait_for(cancelled)
